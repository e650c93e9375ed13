#include "api/teller.h"

#include "api/openai.h"
#include "api/vigil.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"
#include "format/text.h"
#include "http/later.h"

#include <errno.h>

#define TEXT_MAX_BYTES ((size_t)64 << 20)
/* A line that says nothing keeps proxies from closing a stream; and every stream is
 * looked after then, should an event have been lost. */
#define QUIET_SECONDS 15

struct telling {
    struct teller *teller; /* borrowed */
    struct vigil *vigil;   /* borrowed */
    struct vigil_post post;
    struct telling *next;
    struct http_stream *stream; /* valid until `gone` */
    char job_id[ID_SIZE];
    int subscription;
    int64_t position; /* windows that were read */
    struct buf told;  /* the text so far, without blanks in front */
    bool logprobs;    /* of the tokens of each text */
    size_t n_tokens;  /* of which that was told */
    bool over;        /* the last event is sent */
    /* Under the teller's lock: */
    bool due, quiet, gone;
    bool withdrawn; /* the caller's key is none any more */
};

struct teller {
    struct jobs *jobs; /* borrowed */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t bell;
    pthread_cond_t silent;
    struct telling *list;     /* under lock */
    struct telling *speaking; /* under lock: a call with its stream is under way */
    int64_t leave_ns; /* under lock: who still waits then is sent away; 0: never */
    bool stopping;    /* under lock */
};

/* ---- other threads ----------------------------------------------------------------- */

static void on_event(void *arg, const struct job_event *event)
{
    (void)event;
    struct telling *x = arg;
    pthread_mutex_lock(&x->teller->lock);
    x->due = true;
    pthread_cond_signal(&x->teller->bell);
    pthread_mutex_unlock(&x->teller->lock);
}

/* On the vigil's thread. */
static void on_withdrawn(void *arg)
{
    struct telling *x = arg;
    pthread_mutex_lock(&x->teller->lock);
    x->withdrawn = x->due = true;
    pthread_cond_signal(&x->teller->bell);
    pthread_mutex_unlock(&x->teller->lock);
}

/* The stream is nobody's when this returns: a call with it must have ended, unless it is
 * that very call which brought us here. */
static void on_closed(void *state)
{
    struct telling *x = state;
    struct teller *t = x->teller;
    pthread_mutex_lock(&t->lock);
    while (t->speaking == x && !pthread_equal(t->thread, pthread_self()))
        pthread_cond_wait(&t->silent, &t->lock);
    x->gone = true;
    pthread_cond_signal(&t->bell);
    pthread_mutex_unlock(&t->lock);
}

static void telling_free(struct telling *x)
{
    vigil_remove(x->vigil, &x->post);
    if (x->subscription > 0)
        jobs_unsubscribe(x->teller->jobs, x->subscription);
    buf_release(&x->told);
    free(x);
}

int teller_stream(struct teller *t, struct http_request *r, const char *job_id,
                  bool logprobs, struct err *e)
{
    struct telling *x = calloc(1, sizeof *x);
    if (!x)
        return err_set(e, ERR_NOMEM, "out of memory");
    const struct api *api = r->app;
    x->teller = t;
    x->logprobs = logprobs;
    x->vigil = api->vigil;
    x->post = (struct vigil_post){
        .pass = access_pass_of(r), .withdrawn = on_withdrawn, .arg = x};
    memcpy(x->job_id, job_id, ID_SIZE);
    buf_init(&x->told, TEXT_MAX_BYTES);
    x->subscription = jobs_subscribe(t->jobs, x->job_id, on_event, x);
    if (x->subscription < 0) {
        telling_free(x);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    http_response_header(&r->response, "X-Accel-Buffering", "no");
    x->stream =
        http_respond_stream(r, 200, "text/event-stream; charset=utf-8", on_closed, x);
    if (!x->stream) { /* that has been answered */
        telling_free(x);
        return 0;
    }
    http_stream_hold(x->stream);
    vigil_add(x->vigil, &x->post);
    pthread_mutex_lock(&t->lock);
    x->due = true;
    x->next = t->list;
    t->list = x;
    pthread_cond_signal(&t->bell);
    pthread_mutex_unlock(&t->lock);
    return 0;
}

/* ---- the thread: what is said ------------------------------------------------------ */

/* Bytes, and whether they are the last, to a stream that may be gone. */
static void say(struct telling *x, const char *bytes, size_t length, bool last)
{
    struct teller *t = x->teller;
    pthread_mutex_lock(&t->lock);
    bool gone = x->gone;
    if (!gone)
        t->speaking = x;
    pthread_mutex_unlock(&t->lock);
    if (gone)
        return;
    http_stream_send(x->stream, bytes, length);
    if (last)
        http_stream_end(x->stream);
    pthread_mutex_lock(&t->lock);
    t->speaking = NULL;
    pthread_cond_broadcast(&t->silent);
    pthread_mutex_unlock(&t->lock);
}

/* Takes the reference. */
static void say_event(struct telling *x, json_t *event, bool last)
{
    char *text = event ? json_text(event, JSON_COMPACT) : NULL;
    struct buf frame;
    buf_init(&frame, 2 * TEXT_MAX_BYTES);
    if (text)
        buf_printf(&frame, "data: %s\n\n", text);
    say(x, buf_cstr(&frame), buf_failed(&frame) ? 0 : frame.length, last);
    x->over = last;
    buf_release(&frame);
    free(text);
    json_decref(event);
}

/* An event without what memory lacks for is none: the list belongs to it. */
static json_t *with_logprobs(const struct telling *x, json_t *event, json_t *logprobs)
{
    if (!x->logprobs)
        return event;
    if (event && logprobs && !json_object_set(event, "logprobs", logprobs))
        return event;
    json_decref(event);
    return NULL;
}

/* `logprobs`: of its tokens, borrowed. */
static void say_delta(struct telling *x, const char *text, json_t *logprobs)
{
    if (!*text)
        return;
    buf_str(&x->told, text);
    x->n_tokens += json_array_size(logprobs);
    json_t *event =
        json_pack("{s:s, s:s}", "type", "transcript.text.delta", "delta", text);
    say_event(x, with_logprobs(x, event, logprobs), false);
}

static void say_error(struct telling *x, int status, const char *code,
                      const char *sentence)
{
    say_event(x, openai_error(status, code, NULL, sentence), true);
}

/* Windows that were not told of yet. The first text begins with a blank, which the whole
 * does not have. */
static void tell_news(struct telling *x)
{
    struct transcript heard;
    struct buf text;
    struct err e;
    transcript_init(&heard);
    buf_init(&text, TEXT_MAX_BYTES);
    if (jobs_heard(x->teller->jobs, x->job_id, &x->position, &heard, &e))
        log_event(LOG_WARNING, x->job_id, "its text is told later: %s", e.message);
    transcript_untrimmed(&heard, &text);
    const char *news = buf_cstr(&text);
    while (!x->told.length && *news) {
        const char *next = news;
        if (!text_is_space(text_next(&next)))
            break;
        news = next;
    }
    json_t *logprobs = x->logprobs ? openai_logprobs(&heard) : NULL;
    say_delta(x, news, logprobs);
    json_decref(logprobs);
    buf_release(&text);
    transcript_release(&heard);
}

/* NULL where none were asked for, or memory is out. */
static json_t *all_logprobs(const struct telling *x)
{
    struct transcript t;
    struct err e;
    json_t *list = NULL;
    if (!x->logprobs)
        return NULL;
    if (jobs_transcript(x->teller->jobs, x->job_id, &t, &e)) {
        log_event(LOG_WARNING, x->job_id, "its tokens cannot be told: %s", e.message);
        return NULL;
    }
    list = openai_logprobs(&t);
    transcript_release(&t);
    return list;
}

/* What was not told of a list. */
static json_t *rest_of(const struct telling *x, json_t *logprobs)
{
    json_t *rest = logprobs ? json_array() : NULL;
    for (size_t i = x->n_tokens; i < json_array_size(logprobs); i++)
        (void)json_array_append(rest, json_array_get(logprobs, i));
    return rest;
}

/* The whole text begins with what was told; what is missing of it comes first. */
static void tell_end(struct telling *x, const struct job *job)
{
    const char *whole = job->transcript_text ? job->transcript_text : "";
    size_t told = x->told.length;
    json_t *logprobs = all_logprobs(x), *rest = rest_of(x, logprobs);
    if (!strncmp(whole, buf_cstr(&x->told), told))
        say_delta(x, whole + told, rest);
    json_t *event = json_pack("{s:s, s:s, s:o}", "type", "transcript.text.done", "text",
                              whole, "usage", openai_usage(job->duration_seconds));
    say_event(x, with_logprobs(x, event, logprobs), true);
    json_decref(rest);
    json_decref(logprobs);
}

static void tell(struct telling *x)
{
    struct job job = {0};
    struct err e;
    int status = jobs_get(x->teller->jobs, x->job_id, &job, &e);
    if (status == ERR_NOT_FOUND) {
        say_error(x, 409, "deleted", "The job of this request was deleted");
    } else if (status) {
        log_event(LOG_WARNING, x->job_id, "its text is told later: %s", e.message);
    } else if (!job_has_ended(&job)) {
        tell_news(x);
    } else if (job.status == JOB_COMPLETED) {
        tell_end(x, &job);
    } else {
        struct intake_failure f = intake_failure(&job);
        say_error(x, f.status, f.code, f.sentence);
    }
    job_release(&job);
}

/* ---- the thread -------------------------------------------------------------------- */

/* What is to be done for one. */
struct turn {
    bool gone, quiet, withdrawn, leaving;
};

/* Take the next one that needs something out of the line; NULL: none does. */
static struct telling *next_of(struct teller *t, struct turn *turn)
{
    bool leaving = t->leave_ns && clock_monotonic_ns() >= t->leave_ns;
    for (struct telling **p = &t->list; *p; p = &(*p)->next) {
        struct telling *x = *p;
        *turn = (struct turn){x->gone, x->quiet, x->withdrawn, leaving};
        if (x->gone)
            *p = x->next;
        if (x->gone || x->due || (leaving && !x->over)) {
            x->due = x->quiet = false;
            return x;
        }
    }
    return NULL;
}

static void wait_for_bell(struct teller *t)
{
    struct timespec until;
    int64_t now = clock_monotonic_ns(), at = now + QUIET_SECONDS * INT64_C(1000000000);
    bool leaves = t->leave_ns > now && t->leave_ns < at;
    if (leaves)
        at = t->leave_ns;
    until.tv_sec = at / 1000000000;
    until.tv_nsec = at % 1000000000;
    if (pthread_cond_timedwait(&t->bell, &t->lock, &until) == ETIMEDOUT && !leaves)
        for (struct telling *x = t->list; x; x = x->next)
            x->due = x->quiet = true;
}

static void serve(struct telling *x, const struct turn *turn)
{
    if (turn->withdrawn) {
        say_error(x, 401, "invalid_api_key",
                  "The key of this request was revoked, or has expired");
        return;
    }
    if (turn->quiet)
        say(x, ":\n\n", 3, false);
    tell(x);
    if (turn->leaving && !x->over)
        say_error(x, 503, "stopping",
                  "The server is stopping; send the same recording again in a moment: "
                  "what was done of it is kept");
}

static void *run(void *arg)
{
    struct teller *t = arg;
    struct turn turn;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        struct telling *x = next_of(t, &turn);
        if (!x && t->stopping)
            break;
        if (!x) {
            wait_for_bell(t);
            continue;
        }
        pthread_mutex_unlock(&t->lock);
        if (turn.gone)
            telling_free(x);
        else if (!x->over)
            serve(x, &turn);
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

static void teller_free(struct teller *t)
{
    while (t->list) { /* none: the server has closed them all */
        struct telling *x = t->list;
        t->list = x->next;
        telling_free(x);
    }
    pthread_cond_destroy(&t->bell);
    pthread_cond_destroy(&t->silent);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

int teller_start(struct teller **out, struct jobs *jobs, struct err *e)
{
    struct teller *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "out of memory");
    t->jobs = jobs;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->bell, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&t->silent, NULL);
    errno = pthread_create(&t->thread, NULL, run, t);
    if (errno) {
        int status = err_errno(e, "cannot start a thread");
        teller_free(t);
        return status;
    }
    *out = t;
    return 0;
}

void teller_leave(struct teller *t, int seconds)
{
    pthread_mutex_lock(&t->lock);
    t->leave_ns = clock_monotonic_ns() + seconds * INT64_C(1000000000) + 1;
    pthread_cond_signal(&t->bell);
    pthread_mutex_unlock(&t->lock);
}

void teller_stop(struct teller *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->bell);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    teller_free(t);
}
