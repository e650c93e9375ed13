/* What this machine gives: memory, descriptors, ports, a sandbox, folders. */
#include "command/checks.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "engine/threads.h"
#include "engine/whisper.h"
#include "http/listen.h"
#include "job/room.h"
#include "media/decode.h"
#include "net/fetch.h"

#include <arpa/inet.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES_OF_OURS 256 /* descriptors beside the connections */
#define TONE_RATE     8000
#define TONE_SAMPLES  4000
#define WAV_HEAD      44

/* ---- settings -------------------------------------------------------------------- */

void check_settings_file(struct checks *k)
{
    const struct config *c = k->c;
    if (*c->file_problem)
        check_say(k, CHECK_WARN, "settings",
                  "%s: %s; run this as root or as the "
                  "service's user to see what it sees",
                  CONFIG_DEFAULT_FILE, c->file_problem);
    else if (*c->warning)
        check_say(k, CHECK_WARN, "settings", "%s", c->warning);
    else
        check_say(k, CHECK_OK, "settings", "%s%s",
                  *c->file ? "read from " : "no file; the environment and the defaults",
                  c->file);
}

bool check_is_loopback(const char *host)
{
    return !strncmp(host, "127.", 4) || !strcmp(host, "localhost") ||
           !strcmp(host, "::1") || !strcmp(host, "[::1]");
}

void check_callers(struct checks *k)
{
    const struct config *c = k->c;
    static const char *const modes[] = {"auto", "off", "key", "proxy"};
    if (c->auth == AUTH_OFF && !check_is_loopback(c->host))
        check_say(k, CHECK_WARN, "callers",
                  "AUTH is off and HOST is %s: whoever reaches it may read every "
                  "transcript; unset AUTH and make keys (`keys create`)",
                  c->host);
    else if (c->wyoming_port &&
             !check_is_loopback(c->wyoming_host ? c->wyoming_host : c->host))
        check_say(k, CHECK_WARN, "callers",
                  "the Wyoming door (port %lld) asks nobody for a password: let the "
                  "firewall admit Home Assistant alone",
                  (long long)c->wyoming_port);
    else
        check_say(k, CHECK_OK, "callers", "AUTH is %s", modes[c->auth]);
}

void check_retention(struct checks *k)
{
    long long uploads = (long long)k->c->upload_retention_days,
              jobs = (long long)k->c->transcript_retention_days;
    if (jobs > 0 && (uploads == 0 || uploads > jobs))
        check_say(k, CHECK_WARN, "retention",
                  "recordings go with their transcripts, after %lld days, and not when "
                  "UPLOAD_RETENTION_DAYS says: make that %lld or less",
                  jobs, jobs);
    else
        check_say(k, CHECK_OK, "retention",
                  "recordings %lld days, transcripts %lld (0: for ever)", uploads, jobs);
}

/* ---- models ---------------------------------------------------------------------- */

void check_sums(struct checks *k)
{
    char name[64];
    struct err e = {0};
    if (catalog_default(k->c, name, NULL))
        return; /* said already */
    int status = catalog_verify(k->c, name, &e);
    if (status == ERR_UNSUPPORTED)
        check_say(k, CHECK_OK, "checksum",
                  "%s is published nowhere, so there is nothing to compare it with",
                  name);
    else if (status)
        check_say(k, CHECK_FAIL, "checksum",
                  "%s: remove the file and get it again with `models pull %s`", e.message,
                  name);
    else
        check_say(k, CHECK_OK, "checksum", "%s is as it was published", name);
}

void check_memory(struct checks *k)
{
    const struct config *c = k->c;
    char name[64];
    struct err e = {0};
    struct whisper_memory need;
    int threads = c->worker_threads ? (int)c->worker_threads : threads_available();
    if (catalog_default(c, name, NULL))
        return;
    if (room_check(c, threads, name, NULL, &need, &e))
        check_say(k, CHECK_FAIL, "memory", "%s", e.message);
    else
        check_say(k, CHECK_OK, "memory",
                  "%s needs %.2f GB, and %.2f GB more for each transcription at once",
                  name, (double)need.weights / 1e9, (double)need.session / 1e9);
}

/* ---- decoding -------------------------------------------------------------------- */

static void put(unsigned char *at, unsigned value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

/* Half a second of a tone, at a rate that FFmpeg has to change. A file in memory. */
static int make_tone(struct err *e)
{
    unsigned char wav[WAV_HEAD + 2 * TONE_SAMPLES] = "RIFF....WAVEfmt ";
    put(wav + 4, sizeof wav - 8, 4);
    put(wav + 16, 16, 4);
    put(wav + 20, 1, 2);
    put(wav + 22, 1, 2);
    put(wav + 24, TONE_RATE, 4);
    put(wav + 28, 2 * TONE_RATE, 4);
    put(wav + 32, 2, 2);
    put(wav + 34, 16, 2);
    memcpy(wav + 36, "data", 4);
    put(wav + 40, 2 * TONE_SAMPLES, 4);
    for (int i = 0; i < TONE_SAMPLES; i++) {
        int sample = (int)(8000 * sin(2 * M_PI * 440 * i / TONE_RATE));
        put(wav + WAV_HEAD + 2 * (size_t)i, (unsigned)sample & 0xFFFF, 2);
    }
    int fd = memfd_create("tone.wav", MFD_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot make a file in memory");
    int status = fs_write_all(fd, wav, sizeof wav, e);
    if (!status)
        return fd;
    close(fd);
    return status;
}

static bool is_tone(const struct pcm *p)
{
    double sum = 0;
    for (size_t i = 0; i < p->count; i++)
        sum += (double)p->samples[i] * (double)p->samples[i];
    return p->count > TONE_SAMPLES && sum / (double)p->count > 0.01;
}

void check_decoder(struct checks *k)
{
    struct media_limits limits;
    struct media_info info;
    struct pcm pcm = {0};
    struct err e = {0};
    media_limits_init(&limits);
    limits.wall_seconds = 30;
    int fd = make_tone(&e), status = fd;
    if (fd >= 0) {
        status = media_decode(fd, &limits, &pcm, &info, &e);
        close(fd);
    }
    if (status < 0)
        check_say(k, CHECK_FAIL, "decoder", "%s", e.message);
    else if (!is_tone(&pcm))
        check_say(k, CHECK_FAIL, "decoder",
                  "a tone came out of it as something else: "
                  "install FFmpeg's libraries of this system anew");
    else
        check_say(k, CHECK_OK, "decoder", "a tone went through it, in its sandbox");
    pcm_release(&pcm);
#ifdef SYS_landlock_create_ruleset
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1U);
    if (version < 1)
        check_say(k, CHECK_WARN, "sandbox",
                  "this kernel has no Landlock, so the decoder has a wall less: seccomp "
                  "and its limits remain; add landlock to the kernel's lsm= for it");
    else
        check_say(k, CHECK_OK, "sandbox", "seccomp, and Landlock version %ld", version);
#endif
}

/* ---- limits, ports, folders ------------------------------------------------------ */

void check_descriptors(struct checks *k)
{
    struct rlimit limit;
    unsigned long long wanted = (unsigned long long)k->c->max_connections + FILES_OF_OURS;
    if (getrlimit(RLIMIT_NOFILE, &limit)) {
        check_say(k, CHECK_WARN, "descriptors", "the limit cannot be read");
        return;
    }
    unsigned long long most = (unsigned long long)limit.rlim_max;
    if (most < wanted)
        check_say(k, CHECK_WARN, "descriptors",
                  "%llu files may be open here, and MAX_CONNECTIONS needs %llu: raise "
                  "LimitNOFILE= (`ulimit -Hn`), or lower MAX_CONNECTIONS",
                  most, wanted);
    else
        check_say(k, CHECK_OK, "descriptors", "%llu, of which %llu may be needed", most,
                  wanted);
}

static int hear_name(void *arg, const void *bytes, size_t length, struct err *e)
{
    (void)e;
    buf_add(arg, bytes, length);
    return 0;
}

/* Whether the one who has our port is a service like us. */
static bool is_ours(const char *host, long long port)
{
    static const char *const json[] = {"Accept: application/json"};
    char url[300];
    struct net_guard *guard;
    struct net_answer answer = {0};
    struct buf body;
    bool any = !strcmp(host, "0.0.0.0") || !strcmp(host, "::");
    const char *name = any ? "127.0.0.1" : host;
    bool bare = strchr(name, ':') && *name != '[';
    (void)snprintf(url, sizeof url, "http://%s%s%s:%lld/", bare ? "[" : "", name,
                   bare ? "]" : "", port);
    if (net_guard_new(&guard, check_is_loopback(name) ? "loopback" : name, NULL))
        return false;
    buf_init(&body, 1 << 20);
    const struct net_request request = {.guard = guard,
                                        .url = url,
                                        .headers = json,
                                        .n_headers = 1,
                                        .stall_seconds = 3,
                                        .total_seconds = 3,
                                        .data = hear_name,
                                        .arg = &body};
    bool ours = !net_fetch(&request, &answer, NULL) &&
                strstr(buf_cstr(&body), "Whisper Transcriber");
    net_guard_free(guard);
    buf_release(&body);
    return ours;
}

static void try_port(struct checks *k, const char *name, const char *host, int port,
                     bool http)
{
    struct err e = {0};
    bool loopback;
    int bound, fd = http_listen(host, port, &bound, &loopback, &e);
    if (fd >= 0) {
        close(fd);
        check_say(k, CHECK_OK, name, "%s port %d is free", host, port);
    } else if (fd == ERR_EXISTS && http && is_ours(host, port)) {
        check_say(k, CHECK_OK, name, "%s port %d: a service of ours answers", host, port);
    } else if (fd == ERR_EXISTS) {
        check_say(k, http ? CHECK_FAIL : CHECK_WARN, name,
                  "%s port %d is taken%s: `ss -ltnp` says by whom; stop that, or set %s",
                  host, port, http ? ", and by no service of ours" : "", name);
    } else {
        check_say(k, CHECK_FAIL, name, "%s", e.message);
    }
}

void check_port(struct checks *k)
{
    const struct config *c = k->c;
    try_port(k, "PORT", c->host, (int)c->port, true);
    if (c->wyoming_port)
        try_port(k, "WYOMING_PORT", c->wyoming_host ? c->wyoming_host : c->host,
                 (int)c->wyoming_port, false);
}
