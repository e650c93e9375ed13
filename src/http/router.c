#include "http/router.h"

#include "http/server.h"

#define SEGMENT_MAX 512 /* bytes, undecoded; no route needs more */

/* One segment of each; captures its value when the pattern is "{name}". */
static enum http_match match_segment(const char *pattern, size_t pattern_length,
                                     const char *path, size_t path_length,
                                     struct http_params *captures)
{
    char value[SEGMENT_MAX + 1];
    if (path_length > SEGMENT_MAX)
        return HTTP_NO_PATH;
    if (http_percent_decode(path, path_length, false, value))
        return HTTP_BAD_PATH;
    bool capture = pattern_length > 2 && pattern[0] == '{';
    if (!capture)
        return strlen(value) == pattern_length && !memcmp(value, pattern, pattern_length)
                   ? HTTP_MATCH
                   : HTTP_NO_PATH;
    if (!value[0])
        return HTTP_NO_PATH;
    char name[32];
    (void)snprintf(name, sizeof name, "%.*s", (int)pattern_length - 2, pattern + 1);
    return http_params_add(captures, name, value) ? HTTP_NO_MEMORY : HTTP_MATCH;
}

enum http_match http_path_match(const char *pattern, const char *path,
                                struct http_params *captures)
{
    struct http_params found = {0};
    enum http_match result = HTTP_MATCH;
    for (;;) {
        size_t n = strcspn(pattern, "/"), m = strcspn(path, "/");
        result = match_segment(pattern, n, path, m, &found);
        pattern += n;
        path += m;
        if (result != HTTP_MATCH || !*pattern || !*path)
            break;
        pattern++;
        path++;
    }
    if (result == HTTP_MATCH && (*pattern || *path))
        result = HTTP_NO_PATH;
    for (size_t i = 0; result == HTTP_MATCH && i < found.count; i++)
        if (http_params_add(captures, found.list[i].name, found.list[i].value))
            result = HTTP_NO_MEMORY;
    http_params_release(&found);
    return result;
}

static void add_allowed(struct buf *allow, const char *method)
{
    if (strstr(buf_cstr(allow), method))
        return;
    buf_printf(allow, "%s%s", allow->length ? ", " : "", method);
    if (!strcmp(method, "GET"))
        buf_str(allow, ", HEAD");
}

enum http_match http_router_find(const struct http_route *routes, size_t count,
                                 const char *method, const char *path,
                                 const struct http_route **route,
                                 struct http_params *captures, struct buf *allow)
{
    const char *wanted = strcmp(method, "HEAD") ? method : "GET";
    enum http_match result = HTTP_NO_PATH;
    for (size_t i = 0; i < count; i++) {
        struct http_params found = {0};
        enum http_match match = http_path_match(routes[i].pattern, path, &found);
        bool hit = match == HTTP_MATCH && !strcmp(routes[i].method, wanted);
        if (hit) {
            http_params_release(captures);
            *captures = found;
            *route = &routes[i];
            return HTTP_MATCH;
        }
        http_params_release(&found);
        if (match == HTTP_NO_MEMORY)
            return match;
        if (match == HTTP_BAD_PATH)
            result = HTTP_BAD_PATH;
        if (match == HTTP_MATCH) {
            result = HTTP_NO_METHOD;
            add_allowed(allow, routes[i].method);
        }
    }
    return result;
}
