/* A decoder that has been taken over: it stands where the real one would and does what
 * its input says. */
#include "media/decode_child.h"
#include "media/record.h"
#include "media/sandbox.h"
#include "base/err.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void say(const void *bytes, size_t length)
{
    if (write(CHILD_RECORD, bytes, length) != (ssize_t)length)
        _exit(9);
}

static void give(const float *samples, size_t count)
{
    if (write(CHILD_SAMPLES, samples, count * 4) != (ssize_t)(count * 4))
        _exit(9);
}

static void answer(int code, uint64_t samples, const char *message)
{
    struct record r;
    record_init(&r);
    r.code = code;
    r.samples = samples;
    r.channels = 1;
    r.rate = 16000;
    snprintf(r.container, sizeof r.container, "wav");
    snprintf(r.codec, sizeof r.codec, "pcm_s16le");
    snprintf(r.message, sizeof r.message, "%s", message);
    say(&r, sizeof r);
}

static void sleep_for_ever(void)
{
    for (;;)
        pause();
}

/* Nothing of our parent may have come along: no environment, no descriptor, no group. */
static void look_around(void)
{
    int extra = 0;
    for (char **at = environ; *at; at++)
        if (strncmp(*at, "LD_LIBRARY_PATH=", 16) && strncmp(*at, "ASAN_OPTIONS=", 13) &&
            strncmp(*at, "UBSAN_OPTIONS=", 14))
            extra++;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *entry; d && (entry = readdir(d));)
        if (entry->d_name[0] != '.' && strtol(entry->d_name, NULL, 10) != dirfd(d) &&
            strtol(entry->d_name, NULL, 10) > CHILD_RECORD)
            extra++;
    if (d)
        closedir(d);
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    if (getpgrp() != getpid() || sigismember(&blocked, SIGTERM) ||
        (fcntl(CHILD_INPUT, F_GETFL) & O_ACCMODE) != O_RDONLY)
        extra++;
    const float one = 0.25f;
    give(&one, 1);
    if (extra)
        answer(ERR_CORRUPT, 1, "something came along");
    else
        answer(0, 1, "");
}

static void hold_pipes_open(void)
{
    const float one = 0.5f;
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sleep(20);
        _exit(0);
    }
    give(&one, 1);
    answer(0, 1, "");
    usleep(200000); /* let the grandchild ask for its signal */
}

static void lock_and(char **argv, void (*act)(void))
{
    struct sandbox s = {.cpu_seconds = 1,
                        .memory_bytes = 1 << 26,
                        .parent = (pid_t)strtol(argv[2], NULL, 10),
                        .input = CHILD_INPUT,
                        .output = {CHILD_SAMPLES, CHILD_RECORD}};
    struct err e;
    if (sandbox_lock(&s, &e))
        _exit(8);
    act();
}

static void wait_on_futex(void)
{
    static int word;
    for (;;)
        syscall(SYS_futex, &word, 0, 0, NULL, NULL, 0);
}

static void spin(void)
{
    for (volatile unsigned i = 0;; i++)
        ;
}

static void flood(void)
{
    static const float zeros[4096];
    for (;;)
        give(zeros, 4096);
}

static void wild_samples(void)
{
    const float samples[] = {NAN, INFINITY, -INFINITY, 2.5f, -1e30f, 0.5f};
    give(samples, 6);
    answer(0, 6, "");
}

static void bad_records(char mode)
{
    struct record r;
    record_init(&r);
    memset(r.message, 'x', sizeof r.message);
    r.code = ERR_CORRUPT;
    switch (mode) {
    case '1':
        say("I am a record", 13);
        break;
    case '2':
        say(&r, sizeof r); /* a sentence without end */
        break;
    case '3':
        answer(-9999, 0, "no such code");
        break;
    case '4':
        answer(ERR_CORRUPT, 0, "\x1B[31mred\n");
        break;
    case '5':
        answer(0, 1000, ""); /* samples that never came */
        break;
    case '6':
        answer(ERR_CORRUPT, 0, "once");
        answer(ERR_CORRUPT, 0, "twice");
        break;
    case '7':
        give(&(const float){0}, 1);
        if (write(CHILD_SAMPLES, "abc", 3) != 3)
            _exit(9);
        answer(0, 1, "");
        break;
    case '8':
        answer(0, 0, "");
        break;
    default:
        answer(0, 1, "success with a complaint");
    }
}

int main(int argc, char **argv)
{
    char mode[16] = {0};
    if (argc < 6 || pread(CHILD_INPUT, mode, sizeof mode - 1, 0) <= 0)
        return 7;
    if (!strcmp(mode, "sleep"))
        sleep_for_ever();
    else if (!strcmp(mode, "close")) {
        close(CHILD_SAMPLES);
        close(CHILD_RECORD);
        sleep_for_ever();
    } else if (!strcmp(mode, "flood"))
        flood();
    else if (!strcmp(mode, "wild"))
        wild_samples();
    else if (!strcmp(mode, "look"))
        look_around();
    else if (!strcmp(mode, "hold"))
        hold_pipes_open();
    else if (!strcmp(mode, "locked"))
        lock_and(argv, wait_on_futex);
    else if (!strcmp(mode, "spin"))
        lock_and(argv, spin);
    else if (!strncmp(mode, "record", 6))
        bad_records(mode[6]);
    else if (!strncmp(mode, "signal", 6)) {
        int number = (int)strtol(mode + 6, NULL, 10);
        signal(number, SIG_DFL);
        raise(number);
    } else if (!strcmp(mode, "exit"))
        return 3;
    return 0;
}
