#include "queue/redis_scripts.h"

static int call(struct redis_link *l, const char *how, const char *what,
                const char *prefix, const struct redis_words *args, int64_t timeout_ms,
                redisReply **out, struct err *e)
{
    struct redis_words w = {0};
    redis_words_begin(&w, how);
    redis_words_add(&w, what);
    redis_words_add(&w, "1");
    redis_words_add(&w, prefix);
    if (args->text.length)
        buf_add(&w.text, args->text.data, args->text.length);
    w.count += args->count;
    w.text.failed |= buf_failed(&args->text);
    int status = redis_link_ask(l, &w, timeout_ms, out, e);
    redis_words_release(&w);
    return status;
}

int redis_script_run(struct redis_link *l, const struct redis_script *s,
                     const char *prefix, const struct redis_words *args,
                     int64_t timeout_ms, redisReply **out, struct err *e)
{
    struct err own;
    e = e ? e : &own;
    int status = call(l, "EVALSHA", s->sha, prefix, args, timeout_ms, out, e);
    if (status == ERR_NOT_FOUND)
        status = call(l, "EVAL", s->text, prefix, args, timeout_ms, out, e);
    if (status)
        (void)err_prefix(e, "%s", s->name);
    return status;
}
