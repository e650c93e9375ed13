#include "job/slot.h"

#include "base/machine.h"
#include "job/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS               (INT64_C(1000000))
#define FIRST_RESTART_NS (200 * MS)
/* However often it has died: what was in its way may be gone, and the service is to be
 * ready again within two seconds then. */
#define LONGEST_RESTART_NS (800 * MS)
/* Deaths in a row after which a worker counts as one that cannot live, and how long the
 * next one must have lived to be believed. */
#define DEATHS_FAILING 3
#define WELL_NS        (750 * MS)
/* A dying process closes its socket shortly before it is dead. */
#define LEFT_NS (500 * MS)

extern char **environ;

void slot_init(struct slot *s)
{
    *s = (struct slot){.state = SLOT_EMPTY, .pid = -1, .fd = -1};
}

/* Nothing of the service's signal set-up must reach the worker, but that what asks it to
 * stop is held back until it can ignore it (worker_ignore_stops). Its own process group
 * keeps a terminal's Ctrl-C away from it: the service ends it in good order. */
static int spawn_attributes(posix_spawnattr_t *a)
{
    sigset_t stops, all;
    worker_stops(&stops);
    sigfillset(&all);
    int error = posix_spawnattr_setsigmask(a, &stops);
    if (!error)
        error = posix_spawnattr_setsigdefault(a, &all);
    if (!error)
        error = posix_spawnattr_setpgroup(a, 0);
    if (!error)
        error = posix_spawnattr_setflags(
            a, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    return error;
}

static int spawn(int socket_fd, pid_t *pid)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t files;
    char *argv[] = {(char[]){"whisper-transcriber"}, (char[]){"worker"},
                    (char[]){"--embedded"}, NULL};
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&files);
    int error = spawn_attributes(&attributes);
    if (!error)
        error = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (!error)
        error = posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    if (!error)
        error = posix_spawn_file_actions_adddup2(&files, socket_fd, WORKER_SOCKET_FD);
    if (!error)
        error = posix_spawn(pid, "/proc/self/exe", &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return error;
}

static int64_t pause_after(int deaths)
{
    int64_t pause = FIRST_RESTART_NS;
    for (int i = 1; i < deaths && pause < LONGEST_RESTART_NS; i++)
        pause *= 2;
    return deaths == 0 ? 0 : pause < LONGEST_RESTART_NS ? pause : LONGEST_RESTART_NS;
}

int slot_start(struct slot *s, int64_t now_ns, struct err *e)
{
    int pair[2] = {-1, -1};
    int status = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        status = err_errno(e, "cannot make a worker's socket");
    } else {
        errno = spawn(pair[1], &s->pid);
        if (errno)
            status = err_errno(e, "cannot start a worker");
        close(pair[1]);
    }
    if (status) {
        if (pair[0] >= 0)
            close(pair[0]);
        s->deaths++;
        (void)snprintf(s->death, sizeof s->death, "it cannot be started");
        s->start_at_ns = now_ns + pause_after(s->deaths);
        return status;
    }
    s->fd = pair[0];
    s->state = SLOT_STARTING;
    s->level = -1;
    s->started_ns = now_ns;
    s->kill_at_ns = 0;
    s->ended = s->from_outside = false;
    slot_well(s);
    return 0;
}

void slot_kill(struct slot *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->ended = true;
    if (s->pid > 0) {
        kill(-s->pid, SIGKILL);
        kill(s->pid, SIGKILL);
        s->state = SLOT_DYING;
    }
}

void slot_left(struct slot *s, int64_t now_ns)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->state = SLOT_DYING;
    s->kill_at_ns = now_ns + LEFT_NS;
}

void slot_well(struct slot *s)
{
    s->oom_kills = machine_oom_kills();
}

bool slot_fails(const struct slot *s, int64_t now_ns)
{
    bool up = s->state == SLOT_IDLE || s->state == SLOT_BUSY;
    return s->deaths >= DEATHS_FAILING && !(up && now_ns - s->started_ns > WELL_NS);
}

bool slot_is_news(const struct slot *s)
{
    return (s->deaths & (s->deaths - 1)) == 0;
}

/* Whether it is dead; not reaped yet, so that its number is still its own. What it had
 * started goes with it. */
static bool is_dead(const struct slot *s)
{
    siginfo_t info = {0};
    if (!waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOHANG | WNOWAIT) && !info.si_pid)
        return false;
    kill(-s->pid, SIGKILL);
    return true;
}

static void describe(struct slot *s, int status)
{
    s->from_outside = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !s->ended &&
                      s->oom_kills >= 0 && machine_oom_kills() == s->oom_kills;
    if (WIFSIGNALED(status))
        (void)snprintf(s->death, sizeof s->death, "signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    else
        (void)snprintf(s->death, sizeof s->death, "exit code %d", WEXITSTATUS(status));
}

bool slot_reap(struct slot *s, int64_t now_ns)
{
    int status = 0;
    if (!is_dead(s)) {
        if (s->kill_at_ns && now_ns >= s->kill_at_ns)
            slot_kill(s);
        return false;
    }
    pid_t pid = waitpid(s->pid, &status, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == EINTR))
        return false;
    describe(s, status);
    s->pid = -1;
    s->deaths++;
    s->state = SLOT_EMPTY;
    s->start_at_ns = now_ns + pause_after(s->deaths);
    return true;
}
