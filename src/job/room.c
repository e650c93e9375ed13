#include "job/room.h"

#include "base/config_checks.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "job/options.h"
#include "job/worker.h"

#include <pthread.h>

#define SECOND_NS INT64_C(1000000000)
#define MIB       (UINT64_C(1) << 20)

/* A model that a worker has open. */
struct held {
    int64_t serial; /* 0: none */
    struct whisper_memory need;
    int running;     /* jobs */
    int64_t used_ns; /* when the last one began or ended */
};

struct room {
    const struct config *config; /* borrowed */
    struct models *models;       /* borrowed */
    int threads;
    uint64_t limit; /* bytes */
    int64_t idle_ns;
    room_unload_fn unload;
    void *arg; /* borrowed */
    struct held held[ROOM_SLOTS][WORKER_MODELS];

    pthread_mutex_t shared;   /* guards what follows */
    char forgotten[PATH_MAX]; /* a model that shall go; "": none */
    struct published {
        char path[PATH_MAX];
        bool in_use;
    } loaded[MODELS_MAX];
    size_t n_loaded;
};

/* ---- the limit ---- */

static uint64_t limit_of(const struct config *c)
{
    if (c->memory_limit_mb > 0)
        return (uint64_t)c->memory_limit_mb * MIB;
    uint64_t machine = machine_memory_bytes();
    return machine ? machine / 5 * 4 : UINT64_MAX;
}

int room_new(struct room **out, const struct config *c, struct models *models,
             int threads, room_unload_fn unload, void *arg, struct err *e)
{
    struct room *r = mem_array(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_NOMEM, "out of memory");
    r->config = c;
    r->models = models;
    r->threads = threads;
    r->limit = limit_of(c);
    r->idle_ns = c->model_idle_seconds * SECOND_NS;
    r->unload = unload;
    r->arg = arg;
    pthread_mutex_init(&r->shared, NULL);
    *out = r;
    return 0;
}

void room_free(struct room *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->shared);
    free(r);
}

/* Windows that the options ask for, or what a worker has in any case. */
static int windows_of(const char *options_json, int *out, struct err *e)
{
    struct job_options options;
    int status = job_options_parse(&options, options_json, e);
    if (status)
        return status;
    int batch = options.params.batch_size;
    *out = batch > WORKER_BATCH ? batch : WORKER_BATCH;
    job_options_release(&options);
    return 0;
}

int room_check(const struct config *c, int threads, const char *model,
               const char *options_json, struct whisper_memory *need, struct err *e)
{
    struct whisper_memory own;
    struct whisper_session_options options = {
        .threads = threads, .exact = compute_type_is_exact(c->compute_type)};
    char path[PATH_MAX];
    need = need ? need : &own;
    *need = (struct whisper_memory){0};
    int status = catalog_path(c, model, path, e);
    if (!status)
        status = windows_of(options_json, &options.max_batch, e);
    if (!status)
        status = whisper_memory_needed(path, &options, need, e);
    if (status)
        return status;
    uint64_t limit = limit_of(c), all = need->weights + need->session;
    if (all <= limit)
        return 0;
    return err_set(
        e, ERR_TOO_LARGE,
        "the model %s needs %.1f GB of memory (%.1f for its weights, %.1f for a "
        "transcription); this server may use %.1f GB: choose a smaller model, "
        "or let its operator raise MEMORY_LIMIT_MB",
        model, (double)all / 1e9, (double)need->weights / 1e9,
        (double)need->session / 1e9, (double)limit / 1e9);
}

/* ---- what is taken ---- */

static struct held *find(struct room *r, int slot, int64_t serial)
{
    for (int k = 0; k < WORKER_MODELS; k++)
        if (serial && r->held[slot][k].serial == serial)
            return &r->held[slot][k];
    return NULL;
}

static bool is_held(const struct room *r, int64_t serial)
{
    for (int i = 0; i < ROOM_SLOTS; i++)
        for (int k = 0; k < WORKER_MODELS; k++)
            if (r->held[i][k].serial == serial)
                return true;
    return false;
}

static bool is_listed(const struct model_state *states, size_t count, int64_t serial)
{
    for (size_t i = 0; i < count; i++)
        if (states[i].serial == serial)
            return true;
    return false;
}

/* Weights count once, wherever they are mapped. Those that only workers still have (their
 * file has changed, or others took the place) count for each: too much rather than too
 * little. */
static uint64_t taken(const struct room *r)
{
    struct model_state states[MODELS_MAX];
    size_t count = models_states(r->models, states);
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += states[i].bytes;
    for (int i = 0; i < ROOM_SLOTS; i++)
        for (int k = 0; k < WORKER_MODELS; k++) {
            const struct held *h = &r->held[i][k];
            if (!h->serial)
                continue;
            bytes += h->need.session;
            if (!is_listed(states, count, h->serial))
                bytes += h->need.weights;
        }
    return bytes;
}

/* ---- letting go ---- */

/* Weights that no worker has open, and nobody is loading, but for those of `kept`. */
static bool drop_unheld(struct room *r, int64_t kept, int64_t before_ns)
{
    struct model_state states[MODELS_MAX];
    size_t count = models_states(r->models, states);
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        const struct model_state *m = &states[i];
        if (m->loading || m->serial == kept || m->used_ns > before_ns ||
            is_held(r, m->serial))
            continue;
        log_info("the weights %s leave the memory", m->path);
        models_drop(r->models, m->serial);
        any = true;
    }
    return any;
}

/* Whether it was let go. */
static bool let_go(struct room *r, int slot, struct held *h)
{
    if (!r->unload(r->arg, slot, h->serial))
        return false;
    log_debug("worker %d lets a model go", slot);
    *h = (struct held){0};
    return true;
}

/* A worker that has something to do is not told to let go of something else. */
static bool is_at_work(const struct room *r, int slot)
{
    for (int k = 0; k < WORKER_MODELS; k++)
        if (r->held[slot][k].running)
            return true;
    return false;
}

/* The one that has been idle for longest, but for that of the asking slot. */
static bool let_oldest_go(struct room *r, int slot, int64_t wanted)
{
    struct held *oldest = NULL;
    int at = 0;
    for (int i = 0; i < ROOM_SLOTS; i++)
        for (int k = 0; k < WORKER_MODELS; k++) {
            struct held *h = &r->held[i][k];
            if (!h->serial || is_at_work(r, i) || (i == slot && h->serial == wanted) ||
                (oldest && oldest->used_ns <= h->used_ns))
                continue;
            oldest = h;
            at = i;
        }
    return oldest && let_go(r, at, oldest);
}

static void let_idle_go(struct room *r, int64_t before_ns)
{
    for (int i = 0; i < ROOM_SLOTS; i++)
        for (int k = 0; k < WORKER_MODELS; k++) {
            struct held *h = &r->held[i][k];
            if (h->serial && !h->running && h->used_ns <= before_ns)
                (void)let_go(r, i, h);
        }
    (void)drop_unheld(r, 0, before_ns);
}

static void forget(struct room *r, const char *path)
{
    int64_t serial = models_serial(r->models, path);
    for (int i = 0; serial && i < ROOM_SLOTS; i++) {
        struct held *h = find(r, i, serial);
        if (h && !h->running)
            (void)let_go(r, i, h);
    }
    if (serial && !is_held(r, serial))
        models_drop(r->models, serial);
}

static int count_users(const struct room *r, int64_t serial)
{
    int users = 0;
    for (int i = 0; i < ROOM_SLOTS; i++)
        for (int k = 0; k < WORKER_MODELS; k++)
            if (r->held[i][k].serial == serial)
                users += r->held[i][k].running;
    return users;
}

/* ---- other threads ---- */

void room_forget(struct room *r, const char *path)
{
    pthread_mutex_lock(&r->shared);
    (void)snprintf(r->forgotten, sizeof r->forgotten, "%s", path);
    pthread_mutex_unlock(&r->shared);
}

bool room_has(struct room *r, const char *path, bool *in_use)
{
    bool found = false;
    *in_use = false;
    pthread_mutex_lock(&r->shared);
    for (size_t i = 0; i < r->n_loaded; i++)
        if (!strcmp(r->loaded[i].path, path)) {
            found = true;
            *in_use = r->loaded[i].in_use;
        }
    pthread_mutex_unlock(&r->shared);
    return found;
}

static void publish(struct room *r)
{
    struct model_state states[MODELS_MAX];
    size_t count = models_states(r->models, states);
    pthread_mutex_lock(&r->shared);
    r->n_loaded = 0;
    for (size_t i = 0; i < count; i++) {
        if (states[i].loading)
            continue;
        struct published *p = &r->loaded[r->n_loaded++];
        (void)snprintf(p->path, sizeof p->path, "%s", states[i].path);
        p->in_use = count_users(r, states[i].serial) > 0;
    }
    pthread_mutex_unlock(&r->shared);
}

void room_mind(struct room *r, int64_t now_ns)
{
    char path[PATH_MAX];
    pthread_mutex_lock(&r->shared);
    (void)snprintf(path, sizeof path, "%s", r->forgotten);
    r->forgotten[0] = '\0';
    pthread_mutex_unlock(&r->shared);
    if (path[0])
        forget(r, path);
    if (r->idle_ns)
        let_idle_go(r, now_ns - r->idle_ns);
    publish(r);
}

/* ---- jobs ---- */

int room_ask(struct room *r, int slot, const char *model, const char *options_json,
             struct whisper_memory *need, struct err *e)
{
    char path[PATH_MAX];
    int status = room_check(r->config, r->threads, model, options_json, need, e);
    if (!status)
        status = catalog_path(r->config, model, path, e);
    if (status)
        return status;
    for (;;) {
        int64_t serial = models_serial(r->models, path);
        uint64_t wanted = taken(r) + (serial ? 0 : need->weights) +
                          (find(r, slot, serial) ? 0 : need->session);
        if (wanted <= r->limit)
            return 1;
        if (!drop_unheld(r, serial, INT64_MAX) && !let_oldest_go(r, slot, serial))
            return 0;
    }
}

/* The worker puts the model where it has it, or where it has nothing, or in the place of
 * the one that it has not used for longest. */
void room_begin(struct room *r, int slot, int64_t serial,
                const struct whisper_memory *need, int64_t now_ns)
{
    struct held *place = find(r, slot, serial);
    for (int k = 0; !place && k < WORKER_MODELS; k++)
        if (!r->held[slot][k].serial)
            place = &r->held[slot][k];
    for (int k = 0; k < WORKER_MODELS && (!place || place->serial != serial); k++) {
        struct held *h = &r->held[slot][k];
        if (!h->running && (!place || (place->serial && h->used_ns < place->used_ns)))
            place = h;
    }
    if (!place)
        return;
    if (place->serial != serial)
        *place = (struct held){.serial = serial, .need = *need};
    if (need->session > place->need.session)
        place->need = *need;
    place->running++;
    place->used_ns = now_ns;
    models_expect(r->models, serial, need->weights);
}

void room_end(struct room *r, int slot, int64_t serial, int64_t now_ns)
{
    struct held *h = find(r, slot, serial);
    if (!h || !h->running)
        return;
    h->running--;
    h->used_ns = now_ns;
}

void room_slot_gone(struct room *r, int slot)
{
    memset(r->held[slot], 0, sizeof r->held[slot]);
}
