#include "fake_worker.h"

#include "format/transcript.h"
#include "job/protocol.h"

#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <unistd.h>

#define WINDOW_FRAMES 3000

static void tell(int fd, const struct message *job, struct message *m)
{
    memcpy(m->job_id, job->job_id, ID_SIZE);
    m->attempt = job->attempt;
    if (message_send(fd, m, true, NULL))
        _exit(9);
}

static void body_of(const struct transcript *t, struct buf *body, struct message *m)
{
    buf_init(body, 10000);
    if (format_write(FORMAT_JSON, t, body) < 0)
        _exit(8);
    m->body = body->data;
    m->body_length = body->length;
}

/* What is in `t` goes before the message that it belongs to. */
static void send_part(int fd, const struct message *job, struct transcript *t)
{
    struct message m = {.type = MESSAGE_PART};
    struct buf body;
    body_of(t, &body, &m);
    tell(fd, job, &m);
    buf_release(&body);
    transcript_release(t);
}

static void add_note(struct transcript *t, enum quality_kind kind, double start)
{
    const struct quality_note note = {.kind = kind, .start = start, .end = start + 1};
    if (quality_add_note(&t->quality, &note))
        _exit(8);
}

/* A text, a note, and in the first window a vote; every second window comes in parts. */
static void send_window(int fd, const struct message *job, int64_t window, int64_t all)
{
    char text[32];
    struct buf body;
    struct transcript t;
    int32_t token = (int32_t)window;
    (void)snprintf(text, sizeof text, " w%d", (int)window);
    struct transcript_segment s = {.id = (int)window,
                                   .seek = window * WINDOW_FRAMES,
                                   .start = (double)window * 30,
                                   .end = (double)window * 30 + 30,
                                   .text = text,
                                   .tokens = &token,
                                   .n_tokens = 1,
                                   .avg_logprob = -1.0f / 3};
    const struct quality_vote vote = {.language = "en", .probability = 0.5f, .end = 30};
    transcript_init(&t);
    if (transcript_add(&t, &s))
        _exit(8);
    if (window % 2)
        send_part(fd, job, &t);
    add_note(&t, QUALITY_NO_TEXT, s.start);
    if (window == 0 && quality_add_vote(&t.quality, &vote))
        _exit(8);
    struct message m = {.type = MESSAGE_WINDOW,
                        .language = "en",
                        .probability = 0.5,
                        .next_frame = (window + 1) * WINDOW_FRAMES,
                        .total_frames = all * WINDOW_FRAMES};
    body_of(&t, &body, &m);
    tell(fd, job, &m);
    transcript_release(&t);
    buf_release(&body);
}

static bool told_to_stop(int fd)
{
    struct message m;
    int n = message_receive(fd, &m, false, NULL);
    if (n < 0)
        _exit(0);
    if (n)
        message_release(&m);
    return n && m.type == MESSAGE_CANCEL;
}

static void finish(int fd, const struct message *job, int64_t all)
{
    struct message m = {.type = MESSAGE_FINISHED,
                        .language = "en",
                        .probability = 0.5,
                        .seconds = (double)all * 30};
    struct transcript t;
    struct buf body;
    transcript_init(&t);
    add_note(&t, QUALITY_LOW_CONFIDENCE, 5);
    send_part(fd, job, &t);
    t.quality = (struct quality){.known = true,
                                 .audio_seconds = m.seconds,
                                 .speech_seconds = m.seconds,
                                 .detector = "silero"};
    body_of(&t, &body, &m);
    tell(fd, job, &m);
    buf_release(&body);
}

static void fail_with(int fd, const struct message *job, int code, const char *text)
{
    struct message m = {.type = MESSAGE_FAILED, .code = code};
    (void)snprintf(m.text, sizeof m.text, "%s", text);
    tell(fd, job, &m);
}

static void windows(int fd, const struct message *job, int64_t all, bool slow)
{
    for (int64_t w = job->next_frame / WINDOW_FRAMES; w < all; w++) {
        send_window(fd, job, w, all);
        struct timespec pause = {.tv_nsec = 20000000};
        if (slow)
            nanosleep(&pause, NULL);
        if (slow && told_to_stop(fd)) {
            fail_with(fd, job, ERR_CANCELLED, "cancelled");
            return;
        }
    }
    finish(fd, job, all);
}

/* What was asked for stays apart from what an earlier attempt has found. */
static bool is_told_of_languages(const struct message *job)
{
    bool goes_on = job->next_frame > 0;
    return !strcmp(job->language, "auto") &&
           !strcmp(job->known_language, goes_on ? "en" : "") &&
           job->probability == (goes_on ? 0.5 : 0);
}

static void misbehave(int fd, const struct message *job, const char *verb, int n)
{
    if (!strcmp(verb, "hang")) {
        for (;;)
            pause();
    } else if (!strcmp(verb, "garbage")) {
        (void)!send(fd, "garbage", 7, 0);
        pause();
    } else if (!strcmp(verb, "quit")) {
        close(fd);
        pause();
    } else if (!strcmp(verb, "foreign")) {
        struct message other = *job;
        id_new(other.job_id);
        finish(fd, &other, 1);
        pause();
    } else if (!strcmp(verb, "backwards")) {
        send_window(fd, job, 1, 3);
        send_window(fd, job, 0, 3);
        pause();
    } else if (!strcmp(verb, "stumble")) {
        int64_t w = job->next_frame / WINDOW_FRAMES;
        if (!is_told_of_languages(job)) {
            fail_with(fd, job, ERR_CORRUPT, "told of another language");
            return;
        }
        send_window(fd, job, w, n);
        if (w + 1 < n)
            raise(SIGKILL);
        finish(fd, job, n);
    } else if (!strcmp(verb, "crash") || !strcmp(verb, "killed")) {
        if (job->attempt <= n)
            raise(*verb == 'c' ? SIGABRT : SIGKILL);
        windows(fd, job, 2, false);
    }
}

/* It is the first: what it has packed goes to the others. */
static void hand_over_model(int fd, const struct message *job)
{
    struct message m = {.type = MESSAGE_MODEL, .serial = job->serial, .n_fds = 1};
    m.fds[0] = memfd_create("model", MFD_CLOEXEC);
    if (m.fds[0] < 0 || message_send(fd, &m, true, NULL))
        _exit(6);
    close(m.fds[0]);
}

static void obey(int fd, const struct message *job)
{
    char order[100] = {0}, verb[32] = {0};
    int n = 0;
    if (read(job->fds[0], order, sizeof order - 1) <= 0 ||
        sscanf(order + 1, "%31s %d", verb, &n) < 1)
        _exit(7);
    if (!(job->attached & ATTACHED_MODEL))
        hand_over_model(fd, job);
    struct message decoded = {.type = MESSAGE_DECODED, .seconds = n * 30.0};
    tell(fd, job, &decoded);
    if (!strcmp(verb, "windows") || !strcmp(verb, "slow"))
        windows(fd, job, n, *verb == 's');
    else if (!strcmp(verb, "fail"))
        fail_with(fd, job, ERR_NOT_MEDIA, "this is not audio");
    else if (!strcmp(verb, "umlauts"))
        fail_with(
            fd, job, ERR_NOT_MEDIA,
            "xäääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää"
            "ääääääääääääääääääääääääääääääääääääääää");
    else
        misbehave(fd, job, verb, n);
}

int fake_worker(int fd)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct message m = {.type = MESSAGE_READY};
    if (message_send(fd, &m, true, NULL))
        return 1;
    while (message_receive(fd, &m, true, NULL) == 1) {
        if (m.type == MESSAGE_JOB)
            obey(fd, &m);
        message_release(&m);
    }
    return 0;
}
