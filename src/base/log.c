#include "base/log.h"

#include "base/log_line.h"
#include "base/log_system.h"
#include "base/service_manager.h"

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
    bool journal; /* which is where standard error leads */
    bool to_syslog;
    int fd;
    char *path;
    const char *role;
    bool (*relay)(void *arg, enum log_level level, const char *job, const char *message);
    void *relay_arg;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .level = LOG_INFO,
           .to_stderr = true,
           .fd = -1,
           .role = "main"};

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
    state.journal = service_manager_journals(STDERR_FILENO);
    state.to_syslog = options->to_syslog;
    state.relay = options->relay;
    state.relay_arg = options->relay_arg;
    state.role = options->role;
    state.fd = fd;
    state.path = path;
    pthread_mutex_unlock(&state.lock);
    if (options->to_syslog && !log_syslog_open(options->facility))
        log_warning("nobody listens at /dev/log: LOG_TO_SYSLOG leads nowhere until a "
                    "syslog daemon runs");
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

/* ---- where a line goes ---------------------------------------------------------------
 */

static int priority_of(enum log_level level)
{
    static const int priorities[] = {7, 6, 4, 3};
    return priorities[level];
}

static void write_line(int fd, const char *prefix, char *line, size_t length)
{
    char whole[LOG_LINE_BYTES + 8];
    int n = snprintf(whole, sizeof whole, "%s%.*s\n", prefix, (int)length, line);
    write_all(fd, whole, (size_t)n);
}

/* As fields where the journal takes them; else as a line that begins with its priority,
 * which is how the journal knows it then (sd-daemon(3)). */
static void to_journal(const struct log_line *l, char *line, size_t length)
{
    char fields[2 * LOG_LINE_BYTES], prefix[8], message[LOG_LINE_BYTES];
    struct log_line bare = *l;
    bare.job = bare.request = NULL; /* fields of their own */
    if (!state.json)
        (void)log_line_text(&bare, false, message);
    size_t n = log_line_journal(l, priority_of(l->level), state.json ? line : message,
                                fields, sizeof fields);
    if (log_journal_write(fields, n))
        return;
    (void)snprintf(prefix, sizeof prefix, "<%d>", priority_of(l->level));
    write_line(STDERR_FILENO, prefix, line, length);
}

static void write_everywhere(const struct log_line *l)
{
    char line[LOG_LINE_BYTES], bare[LOG_LINE_BYTES];
    size_t length = state.json ? log_line_json(l, line) : log_line_text(l, true, line);
    if (state.to_stderr && state.journal)
        to_journal(l, line, length);
    else if (state.to_stderr)
        write_line(STDERR_FILENO, "", line, length);
    if (state.fd >= 0)
        write_line(state.fd, "", line, length);
    if (state.to_syslog) {
        if (!state.json)
            (void)log_line_text(l, false, bare);
        log_syslog_write(priority_of(l->level), state.json ? line : bare);
    }
}

static void tell(const struct log_line *l)
{
    pthread_mutex_lock(&state.lock);
    bool (*relay)(void *, enum log_level, const char *, const char *) = state.relay;
    void *arg = state.relay_arg;
    pthread_mutex_unlock(&state.lock);
    if (relay && relay(arg, l->level, l->job, l->message))
        return;
    pthread_mutex_lock(&state.lock);
    write_everywhere(l);
    pthread_mutex_unlock(&state.lock);
}

/* ---- what is told --------------------------------------------------------------------
 */

static _Thread_local char request[LOG_REQUEST_BYTES];

void log_request_begin(const char *id)
{
    (void)snprintf(request, sizeof request, "%s", id);
}

void log_request_end(void)
{
    request[0] = '\0';
}

static void tell_own(enum log_level level, const char *job,
                     const struct log_field *fields, size_t count, const char *format,
                     va_list args)
{
    char message[LOG_MESSAGE_BYTES];
    (void)vsnprintf(message, sizeof message, format, args);
    const struct log_line line = {.level = level,
                                  .role = state.role,
                                  .pid = (int)getpid(),
                                  .job = job,
                                  .request = *request ? request : NULL,
                                  .message = message,
                                  .fields = fields,
                                  .n_fields = count};
    tell(&line);
}

void log_set_level(enum log_level level)
{
    state.level = level;
}

void log_event(enum log_level level, const char *job, const char *format, ...)
{
    va_list args;
    if (level < state.level)
        return;
    va_start(args, format);
    tell_own(level, job, NULL, 0, format, args);
    va_end(args);
}

void log_event_fields(enum log_level level, const struct log_field *fields, size_t count,
                      const char *format, ...)
{
    va_list args;
    if (level < state.level)
        return;
    va_start(args, format);
    tell_own(level, NULL, fields, count, format, args);
    va_end(args);
}

void log_relayed(enum log_level level, const char *role, int pid, const char *job,
                 const char *message)
{
    const struct log_line line = {
        .level = level, .role = role, .pid = pid, .job = job, .message = message};
    if (level >= state.level)
        tell(&line);
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
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
