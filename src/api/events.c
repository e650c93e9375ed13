/* What is sent comes from the log in the database alone; the changes that the job service
 * tells of are only a bell. So a stream has no gaps, whether it lives through a restart
 * or reads what other processes wrote, and the number of a line in the log is the id of
 * its event. */
#include "api/events.h"

#include "api/access.h"
#include "api/errors.h"
#include "api/present.h"
#include "api/vigil.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/later.h"

#include <errno.h>
#include <pthread.h>

#define HEARTBEAT_NS INT64_C(15000000000)
#define LINES        200                 /* sent to one stream at once … */
#define BETWEEN_NS   INT64_C(50000000)   /* … and so long is waited before the next */
#define LOOK_NS      INT64_C(1000000000) /* for what rings no bell: a deletion */

struct listener {
    struct api_events *hub;     /* borrowed */
    struct http_stream *stream; /* borrowed; valid while the listener is */
    char *caller;               /* owned; NULL: everybody's jobs */
    struct access *access;      /* borrowed */
    struct vigil *vigil;        /* borrowed */
    struct vigil_post post;     /* its pass may be withdrawn while it listens */
    int64_t at;                 /* the log is sent up to here */
    int64_t sent_ns;            /* when something was sent last */
    /* Under the hub's lock: */
    bool used; /* a thread is sending; then only that one may free it … */
    pthread_t user;
    bool gone; /* … when the stream was closed meanwhile by that very thread */
    bool withdrawn;
};

struct api_events {
    struct jobs *jobs; /* borrowed */
    int subscription;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t rung, unused;
    /* Under lock: */
    struct listener **listeners; /* owned [count] */
    size_t count, capacity;
    bool ringing, closing;
};

/* ---- listeners ---- */

static void listener_free(struct listener *l)
{
    free(l->caller);
    free(l);
}

/* Call with the lock held. */
static void leave(struct api_events *v, const struct listener *l)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->listeners[i] == l) {
            v->listeners[i] = v->listeners[--v->count];
            return;
        }
}

/* Call with the lock held. */
static void use(struct listener *l)
{
    l->used = true;
    l->user = pthread_self();
}

/* Call with the lock held; the listener may be gone behind it. */
static void unuse(struct listener *l)
{
    l->used = false;
    pthread_cond_broadcast(&l->hub->unused);
    if (l->gone)
        listener_free(l);
}

/* The stream's last word, from whichever thread. */
static void on_closed(void *state)
{
    struct listener *l = state;
    struct api_events *v = l->hub;
    vigil_remove(l->vigil, &l->post); /* not under our lock: the vigil takes it, too */
    pthread_mutex_lock(&v->lock);
    leave(v, l);
    while (l->used && !pthread_equal(l->user, pthread_self()))
        pthread_cond_wait(&v->unused, &v->lock);
    if (l->used)
        l->gone = true;
    else
        listener_free(l);
    pthread_mutex_unlock(&v->lock);
}

/* On the vigil's thread. */
static void on_withdrawn(void *arg)
{
    struct listener *l = arg;
    struct api_events *v = l->hub;
    pthread_mutex_lock(&v->lock);
    l->withdrawn = v->ringing = true;
    pthread_cond_signal(&v->rung);
    pthread_mutex_unlock(&v->lock);
}

/* ---- sending ---- */

static void send_text(struct listener *l, const char *text, size_t length)
{
    http_stream_send(l->stream, text, length);
    l->sent_ns = clock_monotonic_ns();
}

static void send_event(struct listener *l, const char *type, int64_t number,
                       const char *data)
{
    struct buf b;
    buf_init(&b, 65536);
    buf_printf(&b, "id: %lld\nevent: %s\ndata: %s\n\n", (long long)number, type, data);
    if (!buf_failed(&b))
        send_text(l, buf_cstr(&b), b.length);
    buf_release(&b);
}

/* The service stops: what comes next is told by another, or by the next start, from the
 * last id on; so whoever listens should come again at once. */
static void send_away(struct listener *l)
{
    static const char retry[] = "retry: 100\n:\n\n";
    http_stream_send(l->stream, retry, sizeof retry - 1);
    http_stream_end(l->stream);
}

static bool is_open(struct api_events *v, const struct listener *l)
{
    pthread_mutex_lock(&v->lock);
    bool open = !l->gone;
    pthread_mutex_unlock(&v->lock);
    return open;
}

/* What the log has for one listener. Returns whether there is more. */
static bool feed(struct api_events *v, struct listener *l, int64_t newest)
{
    struct store_event_list list;
    struct err e;
    if (jobs_log_read(v->jobs, l->at, l->caller, LINES, &list, &e)) {
        log_warning("the stream of events waits: %s", e.message);
        return false;
    }
    for (size_t i = 0; i < list.count && is_open(v, l); i++) {
        const struct store_event *event = &list.events[i];
        char *data = present_event(event);
        if (!data)
            break; /* is tried again */
        send_event(l, event->deleted ? "deleted" : "job", event->number, data);
        l->at = event->number;
        free(data);
    }
    bool more = list.count == LINES;
    /* Lines of other callers need not be looked at again. */
    if (!more && list.count == 0 && newest > l->at)
        l->at = newest;
    store_event_list_release(&list);
    return more;
}

static bool is_withdrawn(struct api_events *v, const struct listener *l)
{
    pthread_mutex_lock(&v->lock);
    bool withdrawn = l->withdrawn;
    pthread_mutex_unlock(&v->lock);
    return withdrawn;
}

static bool tend(struct api_events *v, struct listener *l, int64_t newest)
{
    if (is_withdrawn(v, l) ||
        (l->at < newest && !access_pass_holds(l->access, &l->post.pass))) {
        http_stream_end(l->stream);
        return false;
    }
    bool more = l->at < newest && feed(v, l, newest);
    if (is_open(v, l) && clock_monotonic_ns() >= l->sent_ns + HEARTBEAT_NS)
        send_text(l, ":\n\n", 3);
    return more;
}

static bool tend_all(struct api_events *v)
{
    struct store_log_extent extent = {0};
    struct err e;
    bool more = false;
    if (jobs_log_extent(v->jobs, &extent, &e))
        log_warning("the stream of events waits: %s", e.message);
    pthread_mutex_lock(&v->lock);
    /* Backwards, for one that closes moves the last into its place. */
    for (size_t i = v->count; i-- > 0 && !v->closing;) {
        struct listener *l = i < v->count ? v->listeners[i] : NULL;
        if (!l || l->used)
            continue; /* its handler greets it */
        use(l);
        pthread_mutex_unlock(&v->lock);
        more |= tend(v, l, extent.newest);
        pthread_mutex_lock(&v->lock);
        unuse(l);
    }
    pthread_mutex_unlock(&v->lock);
    return more;
}

/* ---- the thread ---- */

static void on_change(void *arg, const struct job_event *event)
{
    struct api_events *v = arg;
    (void)event;
    pthread_mutex_lock(&v->lock);
    v->ringing = true;
    pthread_cond_signal(&v->rung);
    pthread_mutex_unlock(&v->lock);
}

/* Call with the lock held. */
static void wait_for_bell(struct api_events *v, int64_t most_ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t at = until.tv_nsec + most_ns;
    until.tv_sec += at / 1000000000;
    until.tv_nsec = at % 1000000000;
    int late = 0;
    while (!v->ringing && !v->closing && late != ETIMEDOUT)
        late = v->count ? pthread_cond_timedwait(&v->rung, &v->lock, &until)
                        : pthread_cond_wait(&v->rung, &v->lock);
    v->ringing = false;
}

static void *run(void *arg)
{
    struct api_events *v = arg;
    bool more = false;
    pthread_mutex_lock(&v->lock);
    while (!v->closing) {
        if (more)
            v->ringing = false;
        wait_for_bell(v, more ? BETWEEN_NS : LOOK_NS);
        pthread_mutex_unlock(&v->lock);
        more = tend_all(v);
        pthread_mutex_lock(&v->lock);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

int api_events_start(struct api_events **out, struct jobs *jobs, struct err *e)
{
    *out = NULL;
    struct api_events *v = calloc(1, sizeof *v);
    if (!v)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    v->jobs = jobs;
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->rung, &monotonic);
    pthread_cond_init(&v->unused, NULL);
    pthread_condattr_destroy(&monotonic);
    int status = 0;
    v->subscription = jobs_subscribe(jobs, NULL, on_change, v);
    if (v->subscription <= 0)
        status = err_set(e, ERR_NOMEM, "out of memory");
    errno = status ? 0 : pthread_create(&v->thread, NULL, run, v);
    v->started = !status && !errno;
    if (!status && errno)
        status = err_errno(e, "cannot start a thread");
    if (status) {
        api_events_free(v);
        return status;
    }
    *out = v;
    return 0;
}

void api_events_stop(struct api_events *v)
{
    pthread_mutex_lock(&v->lock);
    bool was_closing = v->closing;
    v->closing = true;
    pthread_cond_signal(&v->rung);
    pthread_mutex_unlock(&v->lock);
    if (was_closing || !v->started)
        return;
    pthread_join(v->thread, NULL);
    pthread_mutex_lock(&v->lock);
    /* Backwards, for one that closes moves the last into its place. */
    for (size_t i = v->count; i-- > 0;) {
        struct listener *l = i < v->count ? v->listeners[i] : NULL;
        if (!l || l->used)
            continue; /* its handler ends it */
        use(l);
        pthread_mutex_unlock(&v->lock);
        send_away(l);
        pthread_mutex_lock(&v->lock);
        unuse(l);
    }
    pthread_mutex_unlock(&v->lock);
}

void api_events_free(struct api_events *v)
{
    if (!v)
        return;
    api_events_stop(v);
    if (v->subscription > 0)
        jobs_unsubscribe(v->jobs, v->subscription);
    pthread_cond_destroy(&v->rung);
    pthread_cond_destroy(&v->unused);
    pthread_mutex_destroy(&v->lock);
    free(v->listeners);
    free(v);
}

/* ---- the handler ---- */

/* The id that the client heard last; false when it said none. Nonsense is -1. */
static bool last_id(const struct http_request *r, int64_t *out)
{
    const char *text = http_request_header(r, "Last-Event-ID");
    if (!text || !*text)
        text = http_request_query(r, "last_event_id");
    if (!text || !*text)
        return false;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *out = *end || errno || value < 0 ? -1 : value;
    return true;
}

/* The first words: where the stream stands. */
static void greet(struct listener *l, bool said, int64_t last,
                  const struct store_log_extent *extent)
{
    static const char retry[] = "retry: 2000\n:\n\n";
    send_text(l, retry, sizeof retry - 1);
    l->at = extent->newest;
    if (!said)
        send_event(l, "ready", l->at, "{}");
    else if (last < extent->floor || last > extent->newest)
        send_event(l, "reset", l->at,
                   "{\"detail\":\"What happened in between is not known any more: "
                   "ask for the jobs again.\"}");
    else
        l->at = last;
}

static struct listener *add_listener(struct api_events *v, const char *caller)
{
    struct listener *l = calloc(1, sizeof *l);
    bool good = l && (!caller || (l->caller = strdup(caller)));
    pthread_mutex_lock(&v->lock);
    good = good && !mem_grow(&v->listeners, &v->capacity, v->count + 1,
                             sizeof(struct listener *));
    if (good) {
        l->hub = v;
        use(l);
        v->listeners[v->count++] = l;
    }
    pthread_mutex_unlock(&v->lock);
    if (good)
        return l;
    if (l)
        listener_free(l);
    return NULL;
}

static void begin(struct http_request *r, struct listener *l,
                  const struct store_log_extent *extent)
{
    struct api_events *v = l->hub;
    int64_t last = 0;
    bool said = last_id(r, &last);
    http_response_header(&r->response, "X-Accel-Buffering", "no");
    vigil_add(l->vigil, &l->post);
    l->stream = http_respond_stream(r, 200, "text/event-stream", on_closed, l);
    if (l->stream)
        greet(l, said, last, extent);
    else
        vigil_remove(l->vigil, &l->post);
    pthread_mutex_lock(&v->lock);
    bool end = l->stream && v->closing;
    if (!l->stream)
        leave(v, l);
    pthread_mutex_unlock(&v->lock);
    if (end)
        send_away(l);
    pthread_mutex_lock(&v->lock);
    l->gone |= !l->stream;
    unuse(l);
    v->ringing = true;
    pthread_cond_signal(&v->rung);
    pthread_mutex_unlock(&v->lock);
}

void api_events_stream(struct http_request *r)
{
    struct api *api = r->app;
    struct store_log_extent extent;
    struct err e;
    struct listener *l;
    if (jobs_log_extent(api->jobs, &extent, &e)) {
        api_error(&r->response, &e);
    } else if ((l = add_listener(api->events, api_viewer(r)))) {
        l->access = api->access;
        l->vigil = api->vigil;
        l->post = (struct vigil_post){
            .pass = access_pass_of(r), .withdrawn = on_withdrawn, .arg = l};
        begin(r, l, &extent);
    } else {
        http_response_header(&r->response, "Retry-After", "10");
        http_respond_error(&r->response, 503, "out_of_memory",
                           "the server is out of memory; try again");
    }
}
