#include "base/service_manager.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FIRST_FD    3 /* where the sockets begin that are handed over */
#define MAX_SOCKETS 16

static struct {
    struct sockaddr_un address;
    socklen_t length; /* 0: nobody listens */
    int64_t watchdog_ns;
    int http, wyoming; /* sockets; -1: none */
    dev_t journal_device;
    ino_t journal_file; /* 0: no journal */
} manager = {.http = -1, .wyoming = -1};

/* ---- what the environment says ------------------------------------------------------
 */

static bool parse_number(const char *text, int64_t *out)
{
    if (!text || !*text || strlen(text) > 18 || text[strspn(text, "0123456789")] != '\0')
        return false;
    *out = strtoll(text, NULL, 10);
    return true;
}

/* A name that begins with @ is one without a file: its first byte is NUL. */
static void take_address(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    if (length < 2 || (*name != '/' && *name != '@') ||
        length >= sizeof manager.address.sun_path)
        return;
    manager.address.sun_family = AF_UNIX;
    memcpy(manager.address.sun_path, name, length);
    if (*name == '@')
        manager.address.sun_path[0] = '\0';
    manager.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

static bool is_for_us(const char *variable)
{
    int64_t pid;
    return parse_number(getenv(variable), &pid) && pid == getpid();
}

static void take_watchdog(void)
{
    int64_t us;
    if (getenv("WATCHDOG_PID") && !is_for_us("WATCHDOG_PID"))
        return;
    if (parse_number(getenv("WATCHDOG_USEC"), &us) && us > 0 && us < INT64_MAX / 1000)
        manager.watchdog_ns = us * 1000;
}

static void take_sockets(void)
{
    int64_t count;
    const char *names = getenv("LISTEN_FDNAMES");
    if (!is_for_us("LISTEN_PID") || !parse_number(getenv("LISTEN_FDS"), &count))
        return;
    for (int i = 0; i < count && i < MAX_SOCKETS; i++) {
        size_t length = names ? strcspn(names, ":") : 0;
        int fd = FIRST_FD + i;
        int *place = length == strlen("wyoming") && !strncmp(names, "wyoming", length)
                         ? &manager.wyoming
                         : &manager.http;
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (*place < 0)
            *place = fd;
        if (names)
            names += length + (names[length] == ':');
    }
}

/* "device:inode" of the stream that leads to the journal. */
static void take_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    const char *colon = stream ? strchr(stream, ':') : NULL;
    char device[24];
    int64_t numbers[2];
    if (!colon || (size_t)(colon - stream) >= sizeof device)
        return;
    memcpy(device, stream, (size_t)(colon - stream));
    device[colon - stream] = '\0';
    if (!parse_number(device, &numbers[0]) || !parse_number(colon + 1, &numbers[1]))
        return;
    manager.journal_device = (dev_t)numbers[0];
    manager.journal_file = (ino_t)numbers[1];
}

void service_manager_open(void)
{
    static const char *const variables[] = {"NOTIFY_SOCKET", "WATCHDOG_PID",
                                            "WATCHDOG_USEC", "LISTEN_PID",
                                            "LISTEN_FDS",    "LISTEN_FDNAMES"};
    take_address(getenv("NOTIFY_SOCKET"));
    take_watchdog();
    take_sockets();
    take_journal();
    for (size_t i = 0; i < ARRAY_LENGTH(variables); i++)
        (void)unsetenv(variables[i]);
}

bool service_manager_listens(void)
{
    return manager.length > 0;
}

int64_t service_manager_watchdog_ns(void)
{
    return manager.length ? manager.watchdog_ns : 0;
}

int service_manager_socket(const char *name)
{
    return strcmp(name, "wyoming") == 0 ? manager.wyoming : manager.http;
}

bool service_manager_journals(int fd)
{
    struct stat st;
    return manager.journal_file && !fstat(fd, &st) &&
           st.st_dev == manager.journal_device && st.st_ino == manager.journal_file;
}

/* ---- what it is told ----------------------------------------------------------------
 */

static void tell(const char *words)
{
    if (!manager.length)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, words, strlen(words), MSG_NOSIGNAL,
                         (const struct sockaddr *)&manager.address, manager.length) < 0)
        log_debug("the service manager is not told: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
}

void service_manager_ready(void)
{
    tell("READY=1");
}

/* The time is how it tells this reload from an earlier one. */
void service_manager_reloading(void)
{
    struct timespec now;
    char words[80];
    clock_gettime(CLOCK_MONOTONIC, &now);
    (void)snprintf(words, sizeof words, "RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    tell(words);
}

void service_manager_stopping(int64_t seconds)
{
    char words[96];
    (void)snprintf(words, sizeof words,
                   "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=%lld",
                   (long long)seconds * 1000000);
    tell(words);
}

void service_manager_watchdog(void)
{
    tell("WATCHDOG=1");
}

/* A newline would begin another word: what is behind it is left out. */
void service_manager_status(const char *format, ...)
{
    char words[600] = "STATUS=";
    size_t length = strlen(words);
    va_list args;
    if (!manager.length)
        return;
    va_start(args, format);
    (void)vsnprintf(words + length, sizeof words - length, format, args);
    va_end(args);
    words[strcspn(words, "\n")] = '\0';
    tell(words);
}
