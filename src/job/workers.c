#include "job/workers.h"

#include "base/clock.h"
#include "job/service.h"

#include <limits.h>

int jobs_workers(struct jobs *s, struct store_worker_list *out, struct err *e)
{
    return store_worker_list(s->store, clock_now_ms(), out, e);
}

int workers_at_once(struct store *s)
{
    struct store_worker_list l;
    int sum = 0;
    if (store_worker_list(s, clock_now_ms(), &l, NULL))
        return 0;
    for (size_t i = 0; i < l.count; i++)
        if (worker_is_alive(&l.workers[i]) && l.workers[i].concurrency < INT_MAX - sum)
            sum += l.workers[i].concurrency;
    store_worker_list_release(&l);
    return sum;
}

/* With one service on a file, whose word is rare, it is that service itself that asks. */
bool worker_is_alive(const struct store_worker *w)
{
    return w->silent_ms < (w->embedded ? WORKER_GONE_MS : WORKER_DEAD_MS);
}

int jobs_any_worker(struct jobs *s, struct err *e)
{
    struct store_worker_list l;
    int status = jobs_workers(s, &l, e);
    if (status)
        return status;
    bool any = false;
    for (size_t i = 0; i < l.count; i++)
        any |= worker_is_alive(&l.workers[i]);
    store_worker_list_release(&l);
    return any ? 0
               : err_set(e, ERR_NOT_FOUND,
                         "none is alive: start `whisper-transcriber worker` on a machine "
                         "that shares this database and the storage, or unset "
                         "EMBEDDED_WORKERS");
}

static json_t *models_json(const char *names)
{
    json_t *list = json_array();
    while (*names) {
        size_t n = strcspn(names, ",");
        (void)json_array_append_new(list, json_stringn(names, n));
        names += n + (names[n] == ',');
    }
    return list;
}

json_t *worker_json(const struct store_worker *w)
{
    char started[CLOCK_ISO_SIZE];
    double silent = (double)(w->silent_ms > 0 ? w->silent_ms : 0) / 1000;
    json_t *factor =
        w->real_time_factor > 0 ? json_real(w->real_time_factor) : json_null();
    return json_pack("{s:s, s:s, s:I, s:s, s:b, s:b, s:o, s:i, s:i, s:i, s:o, s:s, s:f}",
                     "id", w->id, "host", w->host, "pid", (json_int_t)w->pid, "version",
                     w->version, "embedded", (int)w->embedded, "alive",
                     (int)worker_is_alive(w), "models", models_json(w->models), "threads",
                     w->threads, "concurrency", w->concurrency, "jobs", w->jobs,
                     "real_time_factor", factor, "started_at",
                     clock_iso(w->started_ms, started), "silent_seconds", silent);
}
