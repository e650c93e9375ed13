#include "store/backup_state.h"

#include <inttypes.h>
#include <jansson.h>

static int64_t number(const json_t *o, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(o, key));
    return n > 0 ? n : 0;
}

static void newer(int64_t *mine, int64_t other)
{
    if (other > *mine)
        *mine = other;
}

void backup_state_merge(struct backup_state *s, const char *text)
{
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (number(o, "success_ms") > s->success_ms)
        s->bytes = number(o, "bytes");
    newer(&s->success_ms, number(o, "success_ms"));
    newer(&s->failure_ms, number(o, "failure_ms"));
    newer(&s->drill_success_ms, number(o, "drill_success_ms"));
    newer(&s->drill_failure_ms, number(o, "drill_failure_ms"));
    json_decref(o);
}

void backup_state_compose(const struct backup_state *s, struct buf *out)
{
    buf_printf(
        out,
        "{\"success_ms\": %" PRId64 ", \"failure_ms\": %" PRId64 ", \"bytes\": %" PRId64
        ", \"drill_success_ms\": %" PRId64 ", \"drill_failure_ms\": %" PRId64 "}\n",
        s->success_ms, s->failure_ms, s->bytes, s->drill_success_ms, s->drill_failure_ms);
}
