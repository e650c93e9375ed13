#include "wyoming/talk.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/params.h"
#include "wyoming/info.h"
#include "wyoming/server.h"
#include "wyoming/utterance.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_MS    300000 /* without an event, between utterances */
#define EVENT_MS   30000  /* for the rest of an event, or the next one of an utterance */
#define SEND_MS    10000  /* for the client to take what it is sent */
#define LOOK_MS    5000   /* look at a job even if nothing was told of it */
#define LINGER_MS  2000   /* for what a client still sends when all has been said */
#define OUT_MAX    ((size_t)64 << 20)
#define READ_BYTES 16384

struct talk {
    int fd; /* borrowed */
    const struct talk_options *options;
    struct wyoming_parser parser;
    struct utterance utterance;
    char in[READ_BYTES]; /* bytes that the parser has not taken */
    size_t in_at, in_length;
};

/* ---- the socket ---- */

/* 1: `events` have come; 0: the server stops. ERR_TIMEOUT when nothing has. */
static int wait_for(int fd, short events, int stop_fd, int timeout_ms, struct err *e)
{
    struct pollfd p[2] = {{.fd = fd, .events = events},
                          {.fd = stop_fd, .events = POLLIN}};
    int n;
    do
        n = poll(p, 2, timeout_ms);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, "cannot wait for the client");
    if (n == 0)
        return err_set(e, ERR_TIMEOUT, "the client is too slow");
    return p[1].revents ? 0 : 1;
}

static int send_all(int fd, int stop_fd, const struct buf *out, struct err *e)
{
    int64_t until_ns = clock_monotonic_ns() + SEND_MS * INT64_C(1000000);
    for (size_t at = 0; at < out->length;) {
        ssize_t n =
            send(fd, out->data + at, out->length - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            at += (size_t)n;
        if (n >= 0 || errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return err_set(e, ERR_NETWORK, "the client has gone");
        int64_t left_ms = (until_ns - clock_monotonic_ns()) / 1000000;
        int status = wait_for(fd, POLLOUT, stop_fd, left_ms > 0 ? (int)left_ms : 0, e);
        if (status <= 0)
            return status ? status : err_set(e, ERR_CANCELLED, "the server stops");
    }
    return 0;
}

/* Takes `data` over. */
static int say(struct talk *t, const char *type, json_t *data, struct err *e)
{
    struct buf out;
    buf_init(&out, OUT_MAX);
    int status = wyoming_event_write(&out, type, data);
    status = status ? err_set(e, status, "out of memory")
                    : send_all(t->fd, t->options->stop_fd, &out, e);
    buf_release(&out);
    return status;
}

/* A sentence may quote the client, cut within a character. */
static json_t *error_data(const char *code, const char *sentence)
{
    struct buf clean;
    buf_init(&clean, 4096);
    http_utf8_repair(&clean, sentence, strlen(sentence));
    json_t *data = json_pack("{s:s, s:s}", "text", buf_cstr(&clean), "code", code);
    buf_release(&clean);
    return data;
}

/* A socket that is closed with bytes unread sends a reset, at which a client that is
 * still sending loses what it was told last: our side ends first, and what comes is
 * dropped for a moment. */
static void linger(int fd, int stop_fd)
{
    char dropped[READ_BYTES];
    int64_t until_ns = clock_monotonic_ns() + LINGER_MS * INT64_C(1000000);
    shutdown(fd, SHUT_WR);
    for (;;) {
        ssize_t n = recv(fd, dropped, sizeof dropped, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return;
        int64_t left_ms = (until_ns - clock_monotonic_ns()) / 1000000;
        if (left_ms <= 0 || wait_for(fd, POLLIN, stop_fd, (int)left_ms, NULL) != 1)
            return;
    }
}

void talk_refuse(int fd, int stop_fd, const char *code, const char *sentence)
{
    struct buf out;
    buf_init(&out, 4096);
    if (!wyoming_event_write(&out, "error", error_data(code, sentence)))
        (void)!send(fd, out.data, out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_release(&out);
    linger(fd, stop_fd);
}

/* The client's next event. 1: there is one; 0: it has gone, or the server stops. */
static int hear_event(struct talk *t, struct wyoming_event *out, struct err *e)
{
    bool within = wyoming_parser_within(&t->parser) || t->utterance.begun;
    int64_t until_ns =
        clock_monotonic_ns() + (within ? EVENT_MS : IDLE_MS) * INT64_C(1000000);
    for (;;) {
        size_t used;
        int status = wyoming_parser_feed(&t->parser, t->in + t->in_at,
                                         t->in_length - t->in_at, &used, out, e);
        t->in_at += used;
        if (status)
            return status;
        if (!within && wyoming_parser_within(&t->parser)) {
            within = true;
            until_ns = clock_monotonic_ns() + EVENT_MS * INT64_C(1000000);
        }
        int64_t left_ms = (until_ns - clock_monotonic_ns()) / 1000000;
        status = wait_for(t->fd, POLLIN, t->options->stop_fd,
                          left_ms > 0 ? (int)left_ms : 0, e);
        if (status <= 0)
            return status;
        ssize_t n = recv(t->fd, t->in, sizeof t->in, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return 0;
        t->in_at = 0;
        t->in_length = n > 0 ? (size_t)n : 0;
    }
}

/* ---- a job ---- */

/* On the job service's thread. */
static void ring(void *arg, const struct job_event *event)
{
    (void)event;
    uint64_t one = 1;
    (void)!write(*(const int *)arg, &one, sizeof one);
}

/* What a client was told of a job so far. */
struct told {
    int64_t position; /* windows that were read */
    size_t segments;
    bool begun;
};

/* {"text", "language"}; the language only when it is known. */
static json_t *spoken(const char *text, const char *language)
{
    json_t *o = json_object();
    int failed = 0;
    if (text)
        failed |= json_object_set_new(o, "text", json_string(text));
    if (language && *language)
        failed |= json_object_set_new(o, "language", json_string(language));
    if (o && !failed)
        return o;
    json_decref(o);
    return NULL;
}

/* The segments from the `from`th on; the first text of all begins with a blank, which the
 * whole does not have. */
static int say_segments(struct talk *t, struct told *told, const struct transcript *heard,
                        size_t from, const char *language, struct err *e)
{
    int status = 0;
    if (!told->begun)
        status = say(t, "transcript-start", spoken(NULL, language), e);
    told->begun = true;
    for (size_t i = from; !status && i < heard->n_segments; i++) {
        const char *piece = heard->segments[i].text;
        while (told->segments == 0 && *piece == ' ')
            piece++;
        status = say(t, "transcript-chunk", spoken(piece, NULL), e);
        told->segments++;
    }
    return status;
}

/* Tell what a job that goes on has heard; 1 when it has ended. The windows are read
 * before the job: its language is then known. What cannot be read now is told later. */
static int look(struct talk *t, struct told *told, struct job *job, struct err *e)
{
    struct transcript news;
    struct job now = {0};
    struct err why;
    transcript_init(&news);
    if (jobs_heard(t->options->jobs, job->id, &told->position, &news, &why))
        log_event(LOG_WARNING, job->id, "its text is told later: %s", why.message);
    int status = jobs_get(t->options->jobs, job->id, &now, e);
    if (!status) {
        job_release(job);
        *job = now;
        status = job->status != JOB_PENDING && job->status != JOB_PROCESSING;
    }
    if (!status && news.n_segments)
        status = say_segments(t, told, &news, 0, job->language, e);
    transcript_release(&news);
    return status;
}

/* Until the job has ended (1), or nobody waits for it any more (0). *job is what it came
 * to. */
static int await_end(struct talk *t, int bell, struct told *told, struct job *job,
                     struct err *e)
{
    for (;;) {
        int status = look(t, told, job, e);
        if (status)
            return status;
        struct pollfd p[3] = {{.fd = bell, .events = POLLIN},
                              {.fd = t->fd, .events = POLLRDHUP},
                              {.fd = t->options->stop_fd, .events = POLLIN}};
        (void)poll(p, 3, LOOK_MS);
        uint64_t rings;
        (void)!read(bell, &rings, sizeof rings);
        if (p[1].revents || p[2].revents)
            return 0;
    }
}

static int watch(struct talk *t, struct told *told, struct job *job, struct err *e)
{
    int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bell < 0)
        return err_errno(e, "cannot make a doorbell");
    int handle = jobs_subscribe(t->options->jobs, job->id, ring, &bell);
    int status = handle > 0 ? await_end(t, bell, told, job, e)
                            : err_set(e, handle, "the job cannot be watched");
    if (handle > 0)
        jobs_unsubscribe(t->options->jobs, handle);
    close(bell);
    return status;
}

/* ---- the answer ---- */

/* As the published servers that stream: the beginning, the pieces that were not told yet,
 * the whole, the end. A client that knows only `transcript` passes over the others. */
static int say_transcript(struct talk *t, struct told *told,
                          const struct transcript *heard, struct err *e)
{
    struct buf text;
    buf_init(&text, OUT_MAX);
    transcript_text(heard, &text);
    int status = say_segments(t, told, heard, told->segments, heard->language, e);
    if (!status)
        status = say(t, "transcript", spoken(buf_cstr(&text), heard->language), e);
    if (!status)
        status = say(t, "transcript-stop", NULL, e);
    buf_release(&text);
    return status;
}

static int answer(struct talk *t, struct told *told, const struct job *job, struct err *e)
{
    struct transcript heard;
    if (job->status != JOB_COMPLETED)
        return err_set(e, ERR_STATE, "%s",
                       job->error_message ? job->error_message : "it was cancelled");
    int status = jobs_transcript(t->options->jobs, job->id, &heard, e);
    if (status)
        return status;
    status = say_transcript(t, told, &heard, e);
    transcript_release(&heard);
    return status;
}

/* Nothing of it is kept, however it ends. */
static int on_stop(struct talk *t, struct err *e)
{
    struct job job = {0};
    struct told told = {0};
    int status = utterance_submit(&t->utterance, WYOMING_CALLER, &job, e);
    if (status)
        return status;
    status = watch(t, &told, &job, e);
    if (status == 1)
        status = answer(t, &told, &job, e);
    else if (!status)
        status = err_set(e, ERR_NETWORK, "the client has gone");
    struct err why;
    if (jobs_delete(t->options->jobs, job.id, &why) && why.code != ERR_NOT_FOUND)
        log_event(LOG_WARNING, job.id, "an utterance is kept for now: %s", why.message);
    job_release(&job);
    return status;
}

/* ---- events ---- */

static int on_chunk(struct talk *t, const struct wyoming_event *event, struct err *e)
{
    int status = utterance_format(&t->utterance, event->data, e);
    return status
               ? status
               : utterance_add(&t->utterance, event->payload, event->payload_length, e);
}

static int on_transcribe(struct talk *t, const struct wyoming_event *event, struct err *e)
{
    return utterance_ask(&t->utterance, event->data, e);
}

static int on_ping(struct talk *t, const struct wyoming_event *event, struct err *e)
{
    json_t *text = json_object_get(event->data, "text");
    return say(t, "pong", json_pack("{s:O?}", "text", text), e);
}

/* Of unknown types a client may send any: they belong to services that this one is not.
 */
static int on_event(struct talk *t, const struct wyoming_event *event, struct err *e)
{
    if (!strcmp(event->type, "audio-chunk"))
        return on_chunk(t, event, e);
    if (!strcmp(event->type, "audio-start"))
        return utterance_format(&t->utterance, event->data, e);
    if (!strcmp(event->type, "audio-stop"))
        return on_stop(t, e);
    if (!strcmp(event->type, "transcribe"))
        return on_transcribe(t, event, e);
    if (!strcmp(event->type, "describe"))
        return say(t, "info", wyoming_info(t->options->config), e);
    return strcmp(event->type, "ping") ? 0 : on_ping(t, event, e);
}

/* A published client waits for a transcript, and passes over an error; only the end of
 * the connection tells it that none will come. */
static void tell(struct talk *t, const struct err *e)
{
    if (e->code == ERR_NETWORK || e->code == ERR_CANCELLED)
        return;
    log_info("Wyoming: %s", e->message);
    (void)say(t, "error", error_data(err_name(e->code), e->message), NULL);
}

void talk_run(int fd, const struct talk_options *options)
{
    struct err e = {0};
    struct wyoming_event event = {0};
    struct talk *t = mem_array(1, sizeof *t);
    if (!t)
        return;
    t->fd = fd;
    t->options = options;
    wyoming_parser_init(&t->parser);
    utterance_init(&t->utterance, options->jobs);
    int status;
    while ((status = hear_event(t, &event, &e)) == 1) {
        status = on_event(t, &event, &e);
        wyoming_event_release(&event);
        if (status)
            break;
    }
    if (status < 0)
        tell(t, &e);
    utterance_reset(&t->utterance);
    linger(fd, options->stop_fd);
    wyoming_parser_release(&t->parser);
    free(t);
}
