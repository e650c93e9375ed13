#include "http/admit.h"

#include "http/head.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

struct framing {
    int lengths, codings, hosts;
    const char *length, *coding, *content_encoding;
};

static void look_at_header(struct framing *f, const struct http_field *field)
{
    if (!strcasecmp(field->name, "Content-Length")) {
        f->lengths++;
        f->length = field->value;
    } else if (!strcasecmp(field->name, "Transfer-Encoding")) {
        f->codings++;
        f->coding = field->value;
    } else if (!strcasecmp(field->name, "Host")) {
        f->hosts++;
    } else if (!strcasecmp(field->name, "Content-Encoding")) {
        f->content_encoding = field->value;
    }
}

static int refuse(struct http_request *r, int status, const char *sentence)
{
    http_respond_error(&r->response, status,
                       status == 415 ? "unsupported" : "bad_request", "%s", sentence);
    return ERR_INVALID;
}

/* Digits only: no sign, no list, no space. */
static bool parse_length(const char *text, int64_t *out)
{
    if (!text || !isdigit((unsigned char)*text))
        return false;
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return !*end && !errno;
}

int http_admit_framing(struct http_request *r, bool *chunked)
{
    struct framing f = {0};
    for (size_t i = 0; i < r->head->count; i++)
        look_at_header(&f, &r->head->list[i]);
    *chunked = f.codings > 0;
    r->content_length = -1;
    if (f.lengths > 1 || f.codings > 1 || (f.lengths && f.codings))
        return refuse(r, 400,
                      "the request says twice how long its body is (Content-Length, "
                      "Transfer-Encoding)");
    if (f.hosts > 1)
        return refuse(r, 400, "the request has more than one Host");
    if (f.lengths && !parse_length(f.length, &r->content_length))
        return refuse(r, 400, "Content-Length is not a number");
    if (f.codings && (!f.coding || strcasecmp(f.coding, "chunked") != 0))
        return refuse(r, 501,
                      "the only Transfer-Encoding that this server takes is chunked");
    if (f.content_encoding && strcasecmp(f.content_encoding, "identity") != 0)
        return refuse(r, 415, "send the body without Content-Encoding");
    return 0;
}

bool http_same_origin(const char *origin, const char *host)
{
    const char *authority = strstr(origin, "://");
    return authority && host && !strcasecmp(authority + 3, host);
}

int http_admit_origin(struct http_request *r)
{
    const char *origin = http_request_header(r, "Origin");
    if (!origin || http_same_origin(origin, http_request_header(r, "Host")))
        return 0;
    /* A proxy may have put its own name into Host. A page cannot set this header on a
     * request that goes out without a preflight, which we never answer. */
    const char *outer = http_request_header(r, "X-Forwarded-Host");
    if (outer && http_same_origin(origin, outer))
        return 0;
    http_respond_error(&r->response, 403, "cross_origin",
                       "this request comes from a page of another site (%.100s)", origin);
    return ERR_DENIED;
}

bool http_request_id_valid(const char *id)
{
    size_t length = strlen(id);
    if (length < 1 || length > 64)
        return false;
    for (; *id; id++)
        if (!isalnum((unsigned char)*id) && !strchr("-_.", *id))
            return false;
    return true;
}
