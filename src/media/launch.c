/* posix_spawn runs no code of ours between fork and exec, which is the only way that is
 * safe while other threads hold locks. Everything that the child needs done to itself it
 * does after the exec (sandbox.c). */
#include "media/launch.h"

#include "media/decode_child.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Secrets in our environment are not for the child. Where libraries are, it must know,
 * and what a sanitizer was told. */
static void copy_environment(char *out[4])
{
    static const char *const names[] = {
        "LD_LIBRARY_PATH=", "ASAN_OPTIONS=", "UBSAN_OPTIONS="};
    size_t count = 0;
    for (char **at = environ; *at && count < 3; at++)
        for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
            if (!strncmp(*at, names[i], strlen(names[i])) && count < 3)
                out[count++] = *at;
    out[count] = NULL;
}

static int open_input(int input)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", input);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return fd >= 0 ? fd : fcntl(input, F_DUPFD_CLOEXEC, 0);
}

/* Move it above the numbers that dup2 will fill in the child. */
static int move_up(int fd)
{
    if (fd < 0 || fd >= CHILD_DESCRIPTORS)
        return fd;
    int up = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_DESCRIPTORS);
    close(fd);
    return up;
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

/* ends[0] is the reading end and ours. */
static int make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC))
        return -1;
    ends[0] = move_up(ends[0]);
    ends[1] = move_up(ends[1]);
    return ends[0] < 0 || ends[1] < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) ? -1 : 0;
}

static int fill_actions(posix_spawn_file_actions_t *a, int input, int samples, int record)
{
    int rc = posix_spawn_file_actions_adddup2(a, input, CHILD_INPUT);
    if (!rc)
        rc = posix_spawn_file_actions_adddup2(a, samples, CHILD_SAMPLES);
    /* A sanitizer's report is for the developer who runs it. */
    if (!rc && !MEDIA_SANITIZED)
        rc = posix_spawn_file_actions_addopen(a, CHILD_STDERR, "/dev/null", O_WRONLY, 0);
    if (!rc)
        rc = posix_spawn_file_actions_adddup2(a, record, CHILD_RECORD);
    if (!rc)
        rc = posix_spawn_file_actions_addclosefrom_np(a, CHILD_DESCRIPTORS);
    return rc;
}

/* Default signals, none blocked; a group of its own, so that Ctrl-C on a terminal asks us
 * and not the child. */
static int fill_attributes(posix_spawnattr_t *a)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawnattr_setsigmask(a, &none);
    if (!rc)
        rc = posix_spawnattr_setsigdefault(a, &all);
    if (!rc)
        rc = posix_spawnattr_setpgroup(a, 0);
    if (!rc)
        rc = posix_spawnattr_setflags(a, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                             POSIX_SPAWN_SETPGROUP);
    return rc;
}

static int spawn(pid_t *pid, const char *program, char *const *arguments, int input,
                 int samples, int record)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char *environment[4];
    copy_environment(environment);
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (!rc) {
        rc = fill_actions(&actions, input, samples, record);
        if (!rc)
            rc = fill_attributes(&attributes);
        if (!rc)
            rc = posix_spawn(pid, program, &actions, &attributes, arguments, environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

int launch_child(struct launched *c, const char *program, char *const *arguments,
                 int input, struct err *e)
{
    enum { INPUT, SAMPLES, SAMPLES_END, RECORD, RECORD_END, COUNT };
    int fds[COUNT] = {-1, -1, -1, -1, -1};
    fds[INPUT] = move_up(open_input(input));
    int rc =
        fds[INPUT] < 0 || make_pipe(fds + SAMPLES) || make_pipe(fds + RECORD) ? errno : 0;
    if (!rc)
        rc = spawn(&c->pid, program ? program : "/proc/self/exe", arguments, fds[INPUT],
                   fds[SAMPLES_END], fds[RECORD_END]);
    if (rc) {
        close_all(fds, COUNT);
        errno = rc;
        return err_errno(e, "cannot start the decoder");
    }
    close(fds[INPUT]);
    close(fds[SAMPLES_END]);
    close(fds[RECORD_END]);
    c->samples = fds[SAMPLES];
    c->record = fds[RECORD];
    (void)!fcntl(c->samples, F_SETPIPE_SZ, 1 << 20); /* fewer wake-ups; a wish only */
    c->exited = (int)syscall(SYS_pidfd_open, c->pid, 0);
    return 0;
}

int launch_finish(struct launched *c)
{
    /* A signal to a process that is already on its way out changes nothing, and until it
     * is reaped its number belongs to it. */
    kill(c->pid, SIGKILL);
    int status;
    pid_t got;
    do
        got = waitpid(c->pid, &status, 0);
    while (got < 0 && errno == EINTR);
    int fds[] = {c->exited, c->samples, c->record};
    close_all(fds, ARRAY_LENGTH(fds));
    return got == c->pid ? status : -1;
}
