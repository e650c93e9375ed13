#include "job/stranded.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "job/service.h"
#include "job/workers.h"

#define SECOND_NS INT64_C(1000000000)
/* A list is read page by page and polled by many: not each time for each job. */
#define FRESH_NS (2 * SECOND_NS)
/* Longer than a worker that starts anew is away. */
#define WATCH_NS  (10 * SECOND_NS)
#define NAMES_MAX ((size_t)4 << 20)
/* A row of workers that is so full may have been cut. */
#define FULL_ROW (STORE_WORKER_MODELS - 130)

void stranded_release(struct stranded *st)
{
    free(st->names);
    *st = (struct stranded){0};
}

int stranded_look(struct store *s, struct stranded *out, struct err *e)
{
    struct store_worker_list l;
    struct buf names;
    *out = (struct stranded){0};
    if (!store_is_shared(s)) {
        out->all = out->anybody = true;
        return 0;
    }
    int status = store_worker_list(s, clock_now_ms(), &l, e);
    if (status)
        return status;
    buf_init(&names, NAMES_MAX);
    buf_str(&names, ",");
    for (size_t i = 0; i < l.count; i++) {
        const struct store_worker *w = &l.workers[i];
        if (!worker_is_alive(w))
            continue;
        out->anybody = true;
        out->all |= strlen(w->models) >= FULL_ROW;
        buf_printf(&names, "%s,", w->models);
    }
    store_worker_list_release(&l);
    out->names = buf_failed(&names) ? NULL : mem_strdup(buf_cstr(&names));
    buf_release(&names);
    return out->names ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

/* Whether a name stands between two commas. */
static bool is_among(const char *names, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = names; n && (p = strstr(p, name)); p++)
        if (p > names && p[-1] == ',' && p[n] == ',')
            return true;
    return false;
}

const char *stranded_reason(const struct stranded *st, const char *model,
                            char out[STRANDED_SIZE])
{
    if (!st->anybody)
        (void)snprintf(out, STRANDED_SIZE,
                       "no worker is alive: start `whisper-transcriber worker`");
    else if (st->all || !*model || strchr(model, ',') || is_among(st->names, model))
        return NULL;
    else
        (void)snprintf(out, STRANDED_SIZE,
                       "no worker that is alive has the model %.120s, or the memory for "
                       "it",
                       model);
    return out;
}

int64_t stranded_count(const struct stranded *st, const struct store_queue_figures *f)
{
    char reason[STRANDED_SIZE];
    int64_t sum = 0;
    if (!st->anybody)
        return f->jobs[JOB_PENDING];
    for (size_t i = 0; i < f->n_models; i++)
        if (stranded_reason(st, f->models[i].name, reason))
            sum += f->models[i].jobs;
    return sum;
}

/* ---- of a service ------------------------------------------------------------------ */

/* With the lock. */
static void refresh(struct stranded_cache *c, struct store *s)
{
    struct stranded now;
    struct err e;
    int64_t now_ns = clock_monotonic_ns();
    if (c->known.names && now_ns < c->fresh_until_ns)
        return;
    c->fresh_until_ns = now_ns + FRESH_NS;
    if (stranded_look(s, &now, &e))
        return; /* what was known will do */
    stranded_release(&c->known);
    c->known = now;
}

const char *jobs_stranded(struct jobs *s, const struct job *j, char out[STRANDED_SIZE])
{
    if (j->status != JOB_PENDING || !store_is_shared(s->store))
        return NULL;
    pthread_mutex_lock(&s->stranded.lock);
    refresh(&s->stranded, s->store);
    const char *reason = s->stranded.known.names
                             ? stranded_reason(&s->stranded.known, j->model, out)
                             : NULL;
    pthread_mutex_unlock(&s->stranded.lock);
    return reason;
}

/* Each model once, until somebody has it again. */
static void warn(struct stranded_watch *w, const struct stranded *st,
                 const struct store_queue_figures *f)
{
    char reason[STRANDED_SIZE];
    struct buf names;
    buf_init(&names, NAMES_MAX);
    buf_str(&names, ",");
    for (size_t i = 0; i < f->n_models; i++) {
        const char *name = f->models[i].name;
        if (!stranded_reason(st, name, reason))
            continue;
        buf_printf(&names, "%s,", name);
        if (!w->warned || !is_among(w->warned, name))
            log_warning("%lld job(s) of the model %s wait: %s",
                        (long long)f->models[i].jobs, name, reason);
    }
    free(w->warned);
    w->warned = buf_failed(&names) ? NULL : mem_strdup(buf_cstr(&names));
    buf_release(&names);
}

void stranded_mind(struct stranded_watch *w, struct jobs *s, int64_t now_ns)
{
    struct store_queue_figures figures;
    struct stranded st;
    struct err e;
    if (!s->has_doors || !store_is_shared(s->store) || now_ns < w->look_at_ns)
        return;
    bool first = !w->look_at_ns;
    w->look_at_ns = now_ns + WATCH_NS;
    if (first) /* workers may be about to start, too */
        return;
    if (stranded_look(s->store, &st, &e))
        return; /* that the database is away is said elsewhere */
    if (!store_queue_figures(s->store, clock_now_ms(), &figures, &e))
        warn(w, &st, &figures);
    stranded_release(&st);
}

void stranded_watch_release(struct stranded_watch *w)
{
    free(w->warned);
    *w = (struct stranded_watch){0};
}
