#include "api/errors.h"

#include "base/log.h"
#include "base/mem.h"

static const struct mapping {
    int code;
    int status;
    const char *hidden; /* said instead of the sentence; NULL: the sentence itself */
} mappings[] = {
    {ERR_INVALID, 400, NULL},
    {ERR_DENIED, 403, NULL},
    {ERR_NOT_FOUND, 404, NULL},
    {ERR_EXISTS, 409, NULL},
    {ERR_STATE, 409, NULL},
    {ERR_CANCELLED, 409, NULL},
    {ERR_HELD, 409, NULL},
    {ERR_TOO_LARGE, 413, NULL},
    {ERR_UNSUPPORTED, 415, NULL},
    {ERR_NOT_MEDIA, 415, NULL},
    {ERR_NO_AUDIO, 415, NULL},
    {ERR_QUOTA, 429, NULL},
    {ERR_NOMEM, 503, "The server is short of memory; try again later."},
    {ERR_TIMEOUT, 503, "The server took too long; try again later."},
    {ERR_IO, 503,
     "The server's storage cannot be used just now; its log says why. Try again later."},
    {ERR_CORRUPT, 503,
     "What the server has stored is damaged; its log says what to do. Tell its "
     "operator."},
    {ERR_AWAY, 503, "The server's database cannot be reached now; try again later."},
    {ERR_UNSURE, 503,
     "The server's database broke off; look whether it was done before trying again."},
    {ERR_FULL, 507, "The server's disk is full; tell its operator, or try again later."},
};

static const struct mapping *find(int code)
{
    static const struct mapping other = {
        0, 500, "Something went wrong on the server; its log says what."};
    for (size_t i = 0; i < ARRAY_LENGTH(mappings); i++)
        if (mappings[i].code == code)
            return &mappings[i];
    return &other;
}

int api_status(int code)
{
    return find(code)->status;
}

void api_error_as(struct http_response *r, int status, const char *error_code,
                  const struct err *e)
{
    const char *hidden = find(e->code)->hidden;
    if (e->code == ERR_QUOTA)
        http_response_header(r, "Retry-After", "60"); /* others may be measured by then */
    if (status >= 500)
        log_error("%s", e->message);
    if (hidden && status >= 500) {
        if (status == 503 || status == 507)
            http_response_header(r, "Retry-After", "30");
        http_respond_error(r, status, error_code, "%s", hidden);
        return;
    }
    http_respond_error(r, status, error_code, "%s", e->message);
}

void api_error(struct http_response *r, const struct err *e)
{
    int status = api_status(e->code);
    const char *name = status == 500            ? "internal"
                       : e->code == ERR_IO      ? "storage_error"
                       : e->code == ERR_CORRUPT ? "not_ready"
                                                : err_name(e->code);
    api_error_as(r, status, name, e);
}
