#include "http/host.h"

#include "base/mem.h"
#include "http/address.h"
#include "http/head.h"

#include <strings.h>
#include <unistd.h>

#define NAME_MAX_BYTES 256

/* The name alone, without its port and a dot at its end; false when it is too long or no
 * name at all. */
static bool name_of(const char *host, char out[NAME_MAX_BYTES])
{
    bool bracket = *host == '[';
    size_t length = strcspn(host + bracket, bracket ? "]" : ":");
    const char *rest = host + bracket + length;
    if (bracket && *rest++ != ']')
        return false;
    if (*rest == ':')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (*rest || length >= NAME_MAX_BYTES)
        return false;
    memcpy(out, host + bracket, length);
    out[length] = '\0';
    if (length && !bracket && out[length - 1] == '.')
        out[length - 1] = '\0';
    return true;
}

/* Whether it ends with ".example.org", or is "example.org". */
static bool is_under(const char *name, const char *domain, size_t length)
{
    size_t n = strlen(name);
    return (n + 1 == length && !strncasecmp(name, domain + 1, length - 1)) ||
           (n > length && !strncasecmp(name + n - length, domain, length));
}

static bool is_private(const char *name)
{
    static const char *const domains[] = {".localhost", ".local", ".internal",
                                          ".home.arpa"};
    char own[NAME_MAX_BYTES] = "";
    struct http_address address;
    if (!strchr(name, '.') || http_address_parse(name, &address))
        return true;
    for (size_t i = 0; i < ARRAY_LENGTH(domains); i++)
        if (is_under(name, domains[i], strlen(domains[i])))
            return true;
    return !gethostname(own, sizeof own - 1) && !strcasecmp(name, own);
}

static bool is_listed(const char *name, const char *allowed)
{
    for (const char *p = allowed; *p;) {
        p += strspn(p, ", ");
        size_t n = strcspn(p, ", ");
        if ((n == 1 && *p == '*') ||
            (n && n == strlen(name) && !strncasecmp(name, p, n)) ||
            (n > 1 && *p == '.' && is_under(name, p, n)))
            return true;
        p += n;
    }
    return false;
}

bool http_host_is_ours(const char *host, const char *allowed)
{
    char name[NAME_MAX_BYTES];
    if (!host || !*host)
        return true;
    if (!name_of(host, name))
        return allowed && is_listed("*", allowed);
    return is_private(name) || (allowed && is_listed(name, allowed));
}

bool http_request_from_browser(const struct http_request *r)
{
    if (http_request_header(r, "Origin") || http_request_header(r, "Accept-Language"))
        return true;
    for (size_t i = 0; r->head && i < r->head->count; i++)
        if (!strncasecmp(r->head->list[i].name, "Sec-Fetch-", 10))
            return true;
    return false;
}
