/* `worker --embedded`: started by `serve`, with its socket as descriptor 3. */
#include "command/command.h"

#include "base/log.h"
#include "job/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_worker_socket(int fd)
{
    int type;
    socklen_t length = sizeof type;
    return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) && type == SOCK_SEQPACKET;
}

/* Where memory runs out, a worker goes before the service does. */
static void be_the_first_to_go(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = write(fd, "500", 3);
    (void)n; /* without it the kernel chooses as it does for everyone */
    close(fd);
}

int command_worker(int argc, char **argv)
{
    if (argc != 2 || strcmp(argv[1], "--embedded") != 0 ||
        !is_worker_socket(WORKER_SOCKET_FD)) {
        fputs("`worker` is started by `whisper-transcriber serve`, which has as many "
              "workers as\nWORKER_CONCURRENCY says. It cannot be started by hand.\n",
              stderr);
        return EXIT_USAGE;
    }
    /* End with the service, also when it is killed: the socket's end is noticed only
     * between two steps of the work. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Whatever the service itself was given: a worker has no use for it. */
    (void)close_range(WORKER_SOCKET_FD + 1, ~0u, 0);
    (void)signal(SIGPIPE, SIG_IGN);
    worker_ignore_stops();
    be_the_first_to_go();
    struct log_options log = {.level = LOG_WARNING, .to_stderr = true, .role = "worker"};
    (void)log_open(&log, NULL);
    return worker_run(WORKER_SOCKET_FD) ? EXIT_ERROR : EXIT_OK;
}
