/* The parent's side: start the child, take what it writes, believe none of it, and say in
 * one sentence what went wrong. */
#include "media/decode.h"

#include "media/decode_child.h"
#include "media/record.h"
#include "media/scratch.h"
#include "media/launch.h"
#include "base/clock.h"
#include "base/fs.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK_BYTES 262144
/* How often somebody who wants to stop us is asked, and the clocks are looked at. */
#define TICK_MS        100
#define LAST_MOMENT_MS 500

static const char *program; /* NULL: our own binary */

void media_set_program(const char *path)
{
    program = path;
}

void media_limits_init(struct media_limits *l)
{
    *l = (struct media_limits){
        .max_seconds = 8 * 3600,
        .cpu_seconds = 1800,
        .wall_seconds = 7200,
        .stall_seconds = 120,
        .memory_bytes = (size_t)1 << 30,
    };
}

struct decoding {
    struct media_limits limits; /* what it points to is borrowed */
    struct launched child;
    int scratch; /* owned: the samples */
    uint64_t max_samples, samples;
    unsigned char *block; /* owned [BLOCK_BYTES] */
    size_t pending;       /* bytes of an incomplete sample at its start */
    unsigned char record[sizeof(struct record) + 1];
    size_t record_length;
    bool samples_ended, record_ended;
    bool is_ours;          /* its death: it was still alive when it had said all */
    double started, moved; /* seconds: of the start, of the last sample */
    double asked;          /* seconds: of the last question whether to stop */
};

/* The child is not trusted to have kept to the range. */
static void tame(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float v = x[i];
        v = v < -1.0f ? -1.0f : v > 1.0f ? 1.0f : v;
        x[i] = v == v ? v : 0.0f;
    }
}

static int store_samples(struct decoding *p, size_t bytes, struct err *e)
{
    size_t total = p->pending + bytes, count = total / sizeof(float);
    if (count > p->max_samples - p->samples)
        return err_set(e, ERR_TOO_LARGE,
                       "the recording is longer than the limit of %.0f "
                       "seconds: cut it into parts",
                       p->limits.max_seconds);
    tame((float *)(void *)p->block, count);
    int rc = fs_write_all(p->scratch, p->block, count * sizeof(float), e);
    if (rc)
        return err_prefix(e, "the scratch file for the samples in %s",
                          p->limits.scratch_dir ? p->limits.scratch_dir
                                                : scratch_default());
    p->samples += count;
    p->pending = total % sizeof(float);
    memmove(p->block, p->block + count * sizeof(float), p->pending);
    p->moved = clock_monotonic_seconds();
    return 0;
}

/* Everything that is in the pipe now. */
static int take_samples(struct decoding *p, struct err *e)
{
    while (!p->samples_ended) {
        ssize_t n =
            read(p->child.samples, p->block + p->pending, BLOCK_BYTES - p->pending);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return err_errno(e, "cannot read from the decoder");
        p->samples_ended = n == 0;
        int rc = n > 0 ? store_samples(p, (size_t)n, e) : 0;
        if (rc)
            return rc;
        if (n < BLOCK_BYTES / 2) /* look around before the next read */
            break;
    }
    return 0;
}

static int take_record(struct decoding *p, struct err *e)
{
    while (!p->record_ended) {
        ssize_t n = read(p->child.record, p->record + p->record_length,
                         sizeof p->record - p->record_length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return err_errno(e, "cannot read from the decoder");
        p->record_length += (size_t)n;
        p->record_ended = n == 0 || p->record_length == sizeof p->record;
    }
    return 0;
}

static int check_patience(struct decoding *p, struct err *e)
{
    const struct media_limits *l = &p->limits;
    double now = clock_monotonic_seconds();
    if (now - p->asked >= TICK_MS / 1000.0) {
        p->asked = now;
        if (l->cancelled && l->cancelled(l->cancelled_arg))
            return err_set(e, ERR_CANCELLED, "decoding was cancelled");
    }
    if (l->wall_seconds && now - p->started > l->wall_seconds)
        return err_set(e, ERR_TIMEOUT,
                       "decoding took longer than the limit of %u seconds",
                       l->wall_seconds);
    if (l->stall_seconds && now - p->moved > l->stall_seconds)
        return err_set(e, ERR_TIMEOUT, "decoding made no progress for %u seconds",
                       l->stall_seconds);
    return 0;
}

/* Until the child has ended, or must. A process that inherited our pipe's other end by
 * chance would keep it open: hence the pidfd. */
static int pump_all(struct decoding *p, struct err *e)
{
    bool ended = false;
    while (!ended && !(p->samples_ended && p->record_ended)) {
        struct pollfd fds[] = {
            {p->samples_ended ? -1 : p->child.samples, POLLIN, 0},
            {p->record_ended ? -1 : p->child.record, POLLIN, 0},
            {p->child.exited, POLLIN, 0},
        };
        if (poll(fds, 3, TICK_MS) < 0 && errno != EINTR)
            return err_errno(e, "cannot wait for the decoder");
        /* Seen before the last read, so that what it wrote before it ended is in the
         * pipe. */
        bool exited = p->child.exited >= 0 && fds[2].revents;
        uint64_t before = p->samples;
        int rc = take_samples(p, e);
        if (!rc)
            rc = take_record(p, e);
        if (!rc)
            rc = check_patience(p, e);
        if (rc)
            return rc;
        ended = exited && p->samples == before;
    }
    return 0;
}

/* The child is dead and left no record that makes sense. */
static int explain_death(const struct decoding *p, int status, struct err *e)
{
    int signal_number = status != -1 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (p->is_ours && signal_number == SIGKILL)
        signal_number = 0;
    switch (signal_number) {
    case SIGXCPU:
        return err_set(
            e, ERR_TIMEOUT,
            "decoding took more than the limit of %u seconds of processor time",
            p->limits.cpu_seconds);
    case SIGSYS:
        return err_set(
            e, ERR_CRASH,
            "the decoder was stopped, because on this file it tried a system call "
            "that it may not use: the file may be an attack");
    case SIGKILL:
        /* Not the file's doing for sure: it may be tried again. */
        return err_set(e, ERR_AWAY,
                       "the decoder was killed from outside, most likely "
                       "because the machine ran out of memory");
    case 0:
        return err_set(e, ERR_CRASH, "the decoder gave no answer on this file");
    default:
        return err_set(e, ERR_CRASH, "the decoder crashed on this file (%s)",
                       strsignal(signal_number));
    }
}

static void copy_info(struct media_info *info, const struct record *r)
{
    memcpy(info->container, r->container, sizeof info->container);
    memcpy(info->codec, r->codec, sizeof info->codec);
    info->channels = r->channels;
    info->rate = r->rate;
    info->truncated = r->flags & RECORD_TRUNCATED;
}

static int judge(const struct decoding *p, int status, struct media_info *info,
                 struct err *e)
{
    struct record r;
    if (!record_check(p->record, p->record_length, &r))
        return explain_death(p, status, e);
    copy_info(info, &r);
    if (r.code)
        return err_set(e, r.code, "%s", r.message);
    if (r.samples != p->samples || p->pending)
        return err_set(e, ERR_CRASH,
                       "the decoder's answer on this file contradicts itself");
    info->seconds = (double)p->samples / MEDIA_RATE;
    return 0;
}

static int map_samples(const struct decoding *p, struct pcm *out, struct err *e)
{
    size_t bytes = (size_t)p->samples * sizeof(float);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, p->scratch, 0);
    if (at == MAP_FAILED)
        return err_errno(e, "cannot map the samples");
    *out =
        (struct pcm){.samples = at, .count = (size_t)p->samples, .mapped_bytes = bytes};
    return 0;
}

static int check_request(int fd, const struct media_limits *l, struct err *e)
{
    struct stat st;
    if (!(l->max_seconds > 0) || l->max_seconds > 1e7)
        return err_set(e, ERR_INVALID,
                       "the limit for the length of audio makes no sense");
    if (!l->cpu_seconds || !l->memory_bytes)
        return err_set(e, ERR_INVALID, "the decoder's limits make no sense");
    int rc = media_formats_check(l->formats, e);
    if (rc)
        return rc;
    if (fstat(fd, &st))
        return err_errno(e, "cannot look at the input");
    if (S_ISDIR(st.st_mode))
        return err_set(e, ERR_NOT_MEDIA, "this is a folder, not a recording");
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID, "the input is not a file");
    if (st.st_size == 0)
        return err_set(e, ERR_NOT_MEDIA, "the file is empty");
    return 0;
}

static int start(struct decoding *p, int fd, struct err *e)
{
    char numbers[4][24];
    snprintf(numbers[0], sizeof numbers[0], "%d", (int)getpid());
    snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)p->max_samples);
    snprintf(numbers[2], sizeof numbers[2], "%u", p->limits.cpu_seconds);
    snprintf(numbers[3], sizeof numbers[3], "%zu", p->limits.memory_bytes);
    char name[] = "whisper-transcriber", role[] = "decode";
    char *arguments[] = {name,       role,       numbers[0], numbers[1],
                         numbers[2], numbers[3], NULL,       NULL};
    char *formats = NULL;
    if (p->limits.formats) {
        formats = strdup(p->limits.formats);
        if (!formats)
            return err_set(e, ERR_NOMEM, "no memory to start the decoder");
        arguments[6] = formats;
    }
    int rc = launch_child(&p->child, program, arguments, fd, e);
    free(formats);
    if (rc)
        p->child.pid = 0;
    return rc;
}

/* What the system refused us is not the file's fault, and must not look like it. */
static int blame_us(int code, struct err *e)
{
    if (code != ERR_NOT_FOUND && code != ERR_DENIED && code != ERR_EXISTS)
        return code;
    if (e)
        e->code = ERR_IO;
    return ERR_IO;
}

void media_abandon(struct decoding *p)
{
    if (!p)
        return;
    if (p->child.pid > 0)
        (void)launch_finish(&p->child);
    if (p->scratch >= 0)
        close(p->scratch);
    free(p->block);
    free(p);
}

static int open_decoding(struct decoding *p, int fd, struct err *e)
{
    p->scratch = scratch_open(p->limits.scratch_dir, e);
    if (p->scratch < 0)
        return blame_us(p->scratch, e);
    p->block = malloc(BLOCK_BYTES);
    if (!p->block)
        return err_set(e, ERR_NOMEM, "no memory to decode");
    int rc = start(p, fd, e);
    return rc ? blame_us(rc, e) : 0;
}

int media_start(struct decoding **out, int fd, const struct media_limits *limits,
                struct err *e)
{
    *out = NULL;
    int rc = check_request(fd, limits, e);
    if (rc)
        return rc;
    struct decoding *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "no memory to decode");
    p->limits = *limits;
    p->scratch = -1;
    p->max_samples = (uint64_t)ceil(limits->max_seconds * MEDIA_RATE);
    rc = open_decoding(p, fd, e);
    if (rc)
        media_abandon(p);
    else
        *out = p;
    return rc;
}

/* It has closed its pipes, as it does when it dies: that takes a moment. One that goes on
 * living is killed, and its death by it says nothing. */
static bool ends_by_itself(const struct launched *c)
{
    struct pollfd end = {.fd = c->exited, .events = POLLIN};
    return c->exited >= 0 && poll(&end, 1, LAST_MOMENT_MS) > 0;
}

int media_finish(struct decoding *p, struct pcm *out, struct media_info *info,
                 struct err *e)
{
    *out = (struct pcm){0};
    *info = (struct media_info){0};
    p->started = p->moved = clock_monotonic_seconds();
    int rc = pump_all(p, e);
    if (!rc && !p->record_length)
        p->is_ours = !ends_by_itself(&p->child);
    int status = launch_finish(&p->child);
    p->child.pid = 0;
    if (!rc)
        rc = judge(p, status, info, e);
    if (!rc)
        rc = map_samples(p, out, e);
    media_abandon(p);
    return rc;
}

int media_decode(int fd, const struct media_limits *limits, struct pcm *out,
                 struct media_info *info, struct err *e)
{
    struct decoding *p;
    *out = (struct pcm){0};
    *info = (struct media_info){0};
    int rc = media_start(&p, fd, limits, e);
    return p ? media_finish(p, out, info, e) : rc;
}
