#include "support.h"

#include "base/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

int support_setup(void **state)
{
    (void)state;
    const char *binary = getenv("WT_BINARY");
    if (!binary) {
        puts("WT_BINARY must name the whisper-transcriber binary");
        return -1;
    }
    media_set_program(binary);
    snprintf(folder, sizeof folder, "/tmp/test-media-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

int support_teardown(void **state)
{
    (void)state;
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && (entry = readdir(d));)
        unlinkat(dirfd(d), entry->d_name, 0);
    if (d)
        closedir(d);
    return rmdir(folder);
}

const char *support_path(const char *name)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

void support_write(const char *name, const void *bytes, size_t length)
{
    int fd = open(support_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fs_write_all(fd, bytes, length, NULL), 0);
    close(fd);
}

void support_read(const char *name, struct buf *out)
{
    buf_init(out, 64 << 20);
    assert_int_equal(fs_read(support_path(name), out, NULL), 0);
}

double support_signal(double t)
{
    static const double hz[] = {180, 410, 730, 1130, 1720, 2650};
    double sum = 0;
    for (int i = 0; i < 6; i++)
        sum +=
            sin(2 * M_PI * hz[i] * t) * (0.5 + 0.5 * sin(2 * M_PI * (1.1 + 0.7 * i) * t));
    return 0.8 / 6 * sum;
}

static void add_le(struct buf *b, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        buf_char(b, (char)(value >> (8 * i)));
}

static void add_sample(struct buf *b, enum support_sample sample, double v)
{
    float f = (float)v;
    uint32_t bits;
    switch (sample) {
    case SAMPLE_U8:
        add_le(b, (uint64_t)lrint(v * 127 + 128), 1);
        break;
    case SAMPLE_S16:
        add_le(b, (uint64_t)lrint(v * 32767), 2);
        break;
    case SAMPLE_S24:
        add_le(b, (uint64_t)lrint(v * 8388607), 3);
        break;
    case SAMPLE_S32:
        add_le(b, (uint64_t)llrint(v * 2147483647), 4);
        break;
    case SAMPLE_F32:
        memcpy(&bits, &f, sizeof bits);
        add_le(b, bits, 4);
        break;
    }
}

void support_wav(const struct support_wav *w, struct buf *out)
{
    static const int sizes[] = {1, 2, 3, 4, 4};
    int size = sizes[w->sample], format = w->sample == SAMPLE_F32 ? 3 : 1;
    long count = lrint(w->seconds * w->rate);
    uint32_t bytes = (uint32_t)(count * w->channels * size), header = w->layout ? 40 : 16;
    buf_init(out, 64 << 20);
    buf_str(out, "RIFF");
    add_le(out, w->claim ? w->claim : bytes + header + 20, 4);
    buf_str(out, "WAVEfmt ");
    add_le(out, header, 4);
    add_le(out, w->layout ? 0xFFFE : (uint64_t)format, 2);
    add_le(out, (uint64_t)w->channels, 2);
    add_le(out, (uint64_t)w->rate, 4);
    add_le(out, (uint64_t)(w->rate * w->channels * size), 4);
    add_le(out, (uint64_t)(w->channels * size), 2);
    add_le(out, (uint64_t)size * 8, 2);
    if (w->layout) {
        add_le(out, 22, 2);
        add_le(out, (uint64_t)size * 8, 2);
        add_le(out, w->layout, 4);
        add_le(out, (uint64_t)format, 2);
        buf_add(out, "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xAA\x00\x38\x9B\x71", 14);
    }
    buf_str(out, "data");
    add_le(out, w->claim ? w->claim : bytes, 4);
    for (long i = 0; i < count; i++)
        for (int c = 0; c < w->channels; c++)
            add_sample(out, w->sample,
                       w->only_channel < 0 || w->only_channel == c
                           ? support_signal((double)i / w->rate)
                           : 0);
    assert_false(buf_failed(out));
}

static int run(char *const *arguments)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        if (chdir(folder))
            _exit(126);
        unsetenv("LD_PRELOAD");
        execvp(arguments[0], arguments);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool support_has_ffmpeg(void)
{
    char name[] = "ffmpeg", version[] = "-version";
    char *arguments[] = {name, version, NULL};
    return run(arguments) == 0;
}

bool support_ffmpeg(const char *words)
{
    if (access(support_path("speech.wav"), F_OK)) {
        struct support_wav w = {SAMPLE_S16, 48000, 1, 3, -1, 0, 0};
        struct buf wav;
        support_wav(&w, &wav);
        support_write("speech.wav", wav.data, wav.length);
        buf_release(&wav);
    }
    char line[600];
    snprintf(line, sizeof line, "ffmpeg -y -v error -i speech.wav %s", words);
    char *arguments[60], *rest = line;
    size_t count = 0;
    while (count < 59 && (arguments[count] = strsep(&rest, " ")))
        count++;
    arguments[count] = NULL;
    return run(arguments) == 0;
}

static void decode_fd(int fd, const struct media_limits *limits, struct decoded *d)
{
    struct media_limits defaults;
    media_limits_init(&defaults);
    memset(d, 0, sizeof *d);
    assert_true(fd >= 0);
    d->code = media_decode(fd, limits ? limits : &defaults, &d->pcm, &d->info, &d->err);
    close(fd);
    if (d->code)
        assert_null(d->pcm.samples);
    else
        assert_non_null(d->pcm.samples);
}

void support_decode(const char *name, const struct media_limits *limits,
                    struct decoded *d)
{
    decode_fd(open(support_path(name), O_RDONLY | O_CLOEXEC), limits, d);
}

void support_decode_bytes(const void *bytes, size_t length,
                          const struct media_limits *limits, struct decoded *d)
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fs_write_all(fd, bytes, length, NULL), 0);
    decode_fd(fd, limits, d);
}

double support_likeness(const struct pcm *pcm, int reach, int *shift)
{
    double best = -1, *expected = malloc((pcm->count + 1) * sizeof *expected);
    assert_non_null(expected);
    for (size_t i = 0; i < pcm->count; i++)
        expected[i] = support_signal((double)i / 16000);
    *shift = 0;
    for (int lag = -reach; lag <= reach; lag++) {
        double xy = 0, xx = 0, yy = 0;
        for (size_t i = (size_t)reach; i + (size_t)reach < pcm->count; i++) {
            double x = pcm->samples[(long)i + lag], y = expected[i];
            xy += x * y;
            xx += x * x;
            yy += y * y;
        }
        double likeness = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
        if (likeness > best) {
            best = likeness;
            *shift = lag;
        }
    }
    free(expected);
    return best;
}

void support_expect(struct decoded *d, int code, const char *words)
{
    if (d->code != code || !strstr(d->err.message, words))
        print_error("got %s: %s\n", err_name(d->code), d->err.message);
    assert_int_equal(d->code, code);
    assert_non_null(strstr(d->err.message, words));
    pcm_release(&d->pcm);
}
