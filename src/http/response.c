#include "http/response.h"

#include "base/clock.h"
#include "base/json_text.h"

#include <ctype.h>
#include <stdarg.h>
#include <strings.h>
#include <unistd.h>

void http_response_init(struct http_response *r)
{
    *r = (struct http_response){.fd = -1};
    buf_init(&r->body, HTTP_BODY_MAX);
}

/* Whatever was to be the body. */
static void drop(struct http_response *r)
{
    buf_release(&r->body);
    r->fixed = NULL;
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

void http_response_release(struct http_response *r)
{
    http_params_release(&r->headers);
    drop(r);
}

void http_response_header(struct http_response *r, const char *name, const char *value)
{
    if (strpbrk(value, "\r\n"))
        value = "";
    if (http_params_add(&r->headers, name, value)) {
        r->lacking = true;
        return;
    }
    struct http_param *last = &r->headers.list[r->headers.count - 1];
    for (struct http_param *h = r->headers.list; h < last; h++)
        if (!strcasecmp(h->name, name)) {
            char *old = h->value;
            h->value = last->value;
            free(old);
            free(last->name);
            r->headers.count--;
            return;
        }
}

static void out_of_memory(struct http_response *r)
{
    static const char text[] =
        "{\"detail\":\"The server is out of memory.\",\"error_code\":\"out_of_memory\"}";
    drop(r);
    r->status = 500;
    r->fixed = text;
    r->fixed_length = sizeof text - 1;
    http_response_header(r, "Content-Type", "application/json");
}

void http_respond_bytes(struct http_response *r, int status, const char *content_type,
                        struct buf *body)
{
    if (buf_failed(body)) {
        buf_release(body);
        out_of_memory(r);
        return;
    }
    drop(r);
    r->body = *body;
    buf_init(body, body->maximum);
    r->status = status;
    http_response_header(r, "Content-Type", content_type);
}

void http_respond_fixed(struct http_response *r, int status, const char *content_type,
                        const void *bytes, size_t length)
{
    drop(r);
    r->status = status;
    r->fixed = bytes;
    r->fixed_length = length;
    http_response_header(r, "Content-Type", content_type);
}

void http_respond_file(struct http_response *r, int status, const char *content_type,
                       int fd, int64_t offset, int64_t length)
{
    drop(r);
    r->status = status;
    r->fd = fd;
    r->offset = offset;
    r->length = length;
    http_response_header(r, "Content-Type", content_type);
}

void http_respond_json(struct http_response *r, int status, json_t *body)
{
    char *text = body ? json_text(body, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(body);
    if (!text) {
        out_of_memory(r);
        return;
    }
    struct buf b;
    buf_init(&b, HTTP_BODY_MAX);
    buf_str(&b, text);
    free(text);
    http_respond_bytes(r, status, "application/json", &b);
}

static json_t *usual_shape(const char *error_code, const char *detail)
{
    char when[CLOCK_ISO_SIZE];
    return json_pack("{s:s, s:s, s:s}", "detail", detail, "error_code", error_code,
                     "timestamp", clock_iso(clock_now_ms(), when));
}

void http_respond_error(struct http_response *r, int status, const char *error_code,
                        const char *format, ...)
{
    char detail[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    /* Our messages begin like the middle of a sentence; callers show them alone. */
    detail[0] = (char)toupper((unsigned char)detail[0]);
    struct buf clean;
    buf_init(&clean, 3 * sizeof detail);
    http_utf8_repair(&clean, detail, strlen(detail));
    (void)snprintf(r->error_code, sizeof r->error_code, "%s", error_code);
    http_response_header(r, "Cache-Control", "no-store");
    json_t *body = r->shape ? r->shape(r, &status, error_code, buf_cstr(&clean))
                            : usual_shape(error_code, buf_cstr(&clean));
    http_respond_json(r, status, body);
    buf_release(&clean);
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {206, "Partial Content"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {460, "Checksum Mismatch"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}
