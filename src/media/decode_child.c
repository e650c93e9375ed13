/* The child's side: read the arguments, lock the door, decode, leave one record.
 *
 * Descriptors are fixed: 0 the input, 1 the samples, 2 /dev/null, 3 the record. */
#include "media/decode_child.h"

#include "media/decode.h"
#include "media/extract.h"
#include "media/sandbox.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 16384 }; /* samples that are written at once */

struct child {
    float samples[BLOCK];
    size_t count;
};

static int read_input(void *arg, int64_t offset, uint8_t *out, int size)
{
    (void)arg;
    for (;;) {
        ssize_t n = pread(CHILD_INPUT, out, (size_t)size, offset);
        if (n >= 0)
            return (int)n;
        if (errno != EINTR)
            return -errno;
    }
}

static int write_fully(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t n = write(fd, at, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += n;
        length -= (size_t)n;
    }
    return 0;
}

static int flush_samples(struct child *c)
{
    size_t length = c->count * sizeof *c->samples;
    c->count = 0;
    return write_fully(CHILD_SAMPLES, c->samples, length);
}

static int write_samples(void *arg, const float *samples, size_t count)
{
    struct child *c = arg;
    while (count > 0) {
        size_t n = BLOCK - c->count < count ? BLOCK - c->count : count;
        memcpy(c->samples + c->count, samples, n * sizeof *samples);
        c->count += n;
        samples += n;
        count -= n;
        if (c->count == BLOCK && flush_samples(c))
            return -1;
    }
    return 0;
}

static bool parse_number(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

/* decode PARENT MAX_SAMPLES CPU_SECONDS MEMORY_BYTES [FORMATS] */
static bool parse_arguments(int argc, char **argv, struct sandbox *s,
                            struct extract_job *job)
{
    uint64_t parent, cpu, memory;
    if (argc < 5 || argc > 6 || !parse_number(argv[1], &parent) ||
        !parse_number(argv[2], &job->max_samples) || !parse_number(argv[3], &cpu) ||
        !parse_number(argv[4], &memory) || parent > INT32_MAX || cpu > UINT32_MAX ||
        memory > SIZE_MAX)
        return false;
    *s = (struct sandbox){
        .cpu_seconds = (unsigned)cpu,
        .memory_bytes = (size_t)memory,
        .parent = (pid_t)parent,
        .input = CHILD_INPUT,
        .output = {CHILD_SAMPLES, CHILD_RECORD},
    };
    job->formats = argc == 6 ? argv[5] : NULL;
    return true;
}

static void decode(struct child *c, struct extract_job *job, const struct sandbox *s,
                   struct record *r)
{
    struct err e = {0};
    struct stat st;
    if (fstat(CHILD_INPUT, &st)) {
        r->code = err_errno(&e, "cannot look at the input");
    } else {
        job->io = (struct source_io){.read_at = read_input, .size = st.st_size};
        r->code = extract_prepare(job, &e);
    }
    if (!r->code)
        r->code = sandbox_lock(s, &e);
    if (r->code) {
        snprintf(r->message, sizeof r->message, "%s", e.message);
        return;
    }
    job->write = write_samples;
    job->write_arg = c;
    extract_audio(job, r);
    /* A parent that is gone is told nothing; it has killed us anyway. */
    (void)flush_samples(c);
}

int media_child_main(int argc, char **argv)
{
    static struct child child;
    struct sandbox sandbox;
    struct extract_job job = {0};
    if (!parse_arguments(argc, argv, &sandbox, &job)) {
        fputs("whisper-transcriber: \"decode\" is started by the other commands, not by "
              "hand\n",
              stderr);
        return 2;
    }
    struct record r;
    record_init(&r);
    decode(&child, &job, &sandbox, &r);
    /* Not exit(3): nothing that runs at exit is worth a system call on the list. */
    _exit(write_fully(CHILD_RECORD, &r, sizeof r) ? 1 : 0);
}
