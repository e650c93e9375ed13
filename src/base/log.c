#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <strings.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    _Atomic enum log_level level; /* read without the lock: most lines are not said */
    bool json;
    bool to_stderr;
    int fd;
    char *path;
    const char *role;
} state = {PTHREAD_MUTEX_INITIALIZER, LOG_INFO, false, true, -1, NULL, "main"};

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

static int open_file(const char *path, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_errno(e, "cannot open the log file %s", path);
    return fd;
}

int log_open(const struct log_options *options, struct err *e)
{
    int fd = -1;
    if (options->file && (fd = open_file(options->file, e)) < 0)
        return fd;
    char *path = options->file ? strdup(options->file) : NULL;
    pthread_mutex_lock(&state.lock);
    if (state.fd >= 0)
        close(state.fd);
    free(state.path);
    state.level = options->level;
    state.json = options->json;
    state.to_stderr = options->to_stderr;
    state.role = options->role;
    state.fd = fd;
    state.path = path;
    pthread_mutex_unlock(&state.lock);
    return 0;
}

int log_reopen(struct err *e)
{
    int status = 0;
    pthread_mutex_lock(&state.lock);
    if (state.path) {
        int fd = open_file(state.path, e);
        if (fd < 0)
            status = fd;
        else {
            close(state.fd);
            state.fd = fd;
        }
    }
    pthread_mutex_unlock(&state.lock);
    return status;
}

/* Append `text` to line[*at], with control characters, quotes and backslashes escaped as
 * in a JSON string; the line never grows past `capacity`. */
static void add_escaped(char *line, size_t capacity, size_t *at, const char *text)
{
    for (; *text && *at + 7 < capacity; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            line[(*at)++] = '\\';
            line[(*at)++] = (char)c;
        } else if (c < 0x20 || c == 0x7F) {
            *at += (size_t)snprintf(line + *at, capacity - *at, "\\u%04x", c);
        } else {
            line[(*at)++] = (char)c;
        }
    }
}

static void add_plain(char *line, size_t capacity, size_t *at, const char *text)
{
    for (; *text && *at + 7 < capacity; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7F)
            *at += (size_t)snprintf(line + *at, capacity - *at, "\\x%02x", c);
        else
            line[(*at)++] = (char)c;
    }
}

static void write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nowhere to complain to */
        bytes += n;
        length -= (size_t)n;
    }
}

static size_t compose(char *line, size_t capacity, enum log_level level, const char *job,
                      const char *message)
{
    char when[CLOCK_ISO_SIZE];
    clock_iso(clock_wall_ms(), when);
    size_t at = 0;
    if (state.json) {
        at = (size_t)snprintf(line, capacity,
                              "{\"time\":\"%s\",\"level\":\"%s\",\"role\":\"%s\","
                              "\"pid\":%d,",
                              when, level_names[level], state.role, (int)getpid());
        if (job)
            at += (size_t)snprintf(line + at, capacity - at, "\"job\":\"%.40s\",", job);
        at += (size_t)snprintf(line + at, capacity - at, "\"message\":\"");
        add_escaped(line, capacity - 4, &at, message);
        line[at++] = '"';
        line[at++] = '}';
    } else {
        at = (size_t)snprintf(line, capacity, "%s %-7s %s[%d] ", when, level_names[level],
                              state.role, (int)getpid());
        if (job)
            at += (size_t)snprintf(line + at, capacity - at, "job=%.40s ", job);
        add_plain(line, capacity - 2, &at, message);
    }
    line[at++] = '\n';
    return at;
}

void log_event(enum log_level level, const char *job, const char *format, ...)
{
    if (level < state.level)
        return;
    char message[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    char line[2048];
    pthread_mutex_lock(&state.lock);
    size_t length = compose(line, sizeof line, level, job, message);
    if (state.to_stderr)
        write_all(STDERR_FILENO, line, length);
    if (state.fd >= 0)
        write_all(state.fd, line, length);
    pthread_mutex_unlock(&state.lock);
}

bool log_level_parse(const char *text, enum log_level *out)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
        if (!strcasecmp(text, level_names[i])) {
            *out = (enum log_level)i;
            return true;
        }
    if (!strcasecmp(text, "WARN")) {
        *out = LOG_WARNING;
        return true;
    }
    return false;
}
