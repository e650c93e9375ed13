#include "base/log_system.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

const char *const log_facilities[] = {"daemon", "user",   "local0", "local1",
                                      "local2", "local3", "local4", "local5",
                                      "local6", "local7", NULL};
static const int facilities[] = {LOG_DAEMON, LOG_USER,   LOG_LOCAL0, LOG_LOCAL1,
                                 LOG_LOCAL2, LOG_LOCAL3, LOG_LOCAL4, LOG_LOCAL5,
                                 LOG_LOCAL6, LOG_LOCAL7};

/* The C library connects again by itself when the daemon was restarted. */
bool log_syslog_open(int facility)
{
    openlog("whisper-transcriber", LOG_PID | LOG_NDELAY, facilities[facility]);
    return !access("/dev/log", W_OK);
}

void log_syslog_write(int priority, const char *text)
{
    syslog(priority, "%s", text);
}

/* The socket is that of every program that speaks to the journal. It never waits: a
 * journal that is stuck must not hold up the service. */
bool log_journal_write(const char *fields, size_t length)
{
    static int fd = -1;
    static const struct sockaddr_un journal = {AF_UNIX, "/run/systemd/journal/socket"};
    if (fd < 0)
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 &&
           sendto(fd, fields, length, MSG_NOSIGNAL | MSG_DONTWAIT,
                  (const struct sockaddr *)&journal, sizeof journal) == (ssize_t)length;
}
