/* GET /audit: what happened to the doors, newest first. */
#include "api/access.h"
#include "api/api.h"
#include "api/errors.h"

#include "base/clock.h"

#include <errno.h>

#define LIST_DEFAULT 100
#define LIST_MAX     1000

static bool read_number(struct http_request *r, const char *name, int64_t high,
                        int64_t *out)
{
    const char *text = http_request_query(r, name);
    if (!text || !*text)
        return true;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (!*end && !errno && value >= 1 && value <= high) {
        *out = value;
        return true;
    }
    http_respond_error(&r->response, 400, "invalid",
                       "\"%s\" must be a whole number from 1 to %lld, not \"%.40s\"",
                       name, (long long)high, text);
    return false;
}

static json_t *present(const struct store_audit_entry *x)
{
    char when[CLOCK_ISO_SIZE];
    struct buf caller, detail;
    buf_init(&caller, 1024);
    buf_init(&detail, 1024);
    /* A text that was cut to fit may end in the middle of a character. */
    http_utf8_repair(&caller, x->caller, strlen(x->caller));
    http_utf8_repair(&detail, x->detail, strlen(x->detail));
    json_t *o =
        json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "id", (json_int_t)x->id, "time",
                  clock_iso(x->time_ms, when), "event", x->event, "caller",
                  buf_cstr(&caller), "client", x->client, "detail", buf_cstr(&detail));
    buf_release(&caller);
    buf_release(&detail);
    return o;
}

void api_audit(struct http_request *r)
{
    struct api *api = r->app;
    struct store_audit_list list;
    struct err e;
    int64_t limit = LIST_DEFAULT, before = 0;
    if (!read_number(r, "limit", LIST_MAX, &limit) ||
        !read_number(r, "before", INT64_MAX, &before))
        return;
    if (store_audit_list(access_store(api->access), before, limit, &list, &e)) {
        api_error(&r->response, &e);
        return;
    }
    json_t *events = json_array();
    for (size_t i = 0; i < list.count; i++)
        (void)json_array_append_new(events, present(&list.entries[i]));
    bool more = list.count == (size_t)limit;
    json_t *next = more ? json_integer(list.entries[list.count - 1].id) : json_null();
    http_respond_json(&r->response, 200,
                      json_pack("{s:o, s:o}", "events", events, "next_before", next));
    store_audit_list_release(&list);
}
