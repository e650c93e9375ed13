/* The log: one line per event, for people (text) or machines (JSON), to standard error, a
 * file, syslog and the journal of systemd.
 *
 * Never log transcript text, file contents, keys or passwords. Names and other text from
 * outside are safe to pass: control characters are escaped here, and what is no UTF-8 is
 * replaced. Thread-safe; a line is written with one write(2), so that processes which
 * share a file do not mix lines. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

struct log_options {
    enum log_level level;
    bool json;
    bool to_stderr;   /* as fields to the journal, where standard error leads there */
    bool to_syslog;   /* the daemon of this machine, at /dev/log */
    int facility;     /* of syslog: an index into log_facilities */
    const char *file; /* borrowed for the call; NULL: no file */
    const char *role; /* "serve", "worker" …: in every line; a string literal */
    /* A child hands its lines to whoever keeps the log; they go nowhere else unless it
     * returns false. NULL: none. */
    bool (*relay)(void *arg, enum log_level level, const char *job, const char *message);
    void *relay_arg;
};

/* Names of facilities; NULL ends them. */
extern const char *const log_facilities[];

/* Before it is called, INFO and above go to stderr as text. */
int log_open(const struct log_options *options, struct err *e);
/* Close and open the file again under its name (after logrotate moved it). */
int log_reopen(struct err *e);

/* What is less important than this is not logged from now on. */
void log_set_level(enum log_level level);

/* `job` is a job's id, or NULL. */
void log_event(enum log_level level, const char *job, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(...)   log_event(LOG_DEBUG, NULL, __VA_ARGS__)
#define log_info(...)    log_event(LOG_INFO, NULL, __VA_ARGS__)
#define log_warning(...) log_event(LOG_WARNING, NULL, __VA_ARGS__)
#define log_error(...)   log_event(LOG_ERROR, NULL, __VA_ARGS__)

/* What machines read beside the message: a text, or a number where `text` is NULL. */
struct log_field {
    const char *name; /* a string literal: lower case and underscores */
    const char *text;
    double number;
};
/* The same with fields, which people find in the message already. */
void log_event_fields(enum log_level level, const struct log_field *fields, size_t count,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

/* What a child has handed over, as a line of its own. */
void log_relayed(enum log_level level, const char *role, int pid, const char *job,
                 const char *message);

/* What this thread logs until log_request_end belongs to a request. The id is copied. */
void log_request_begin(const char *id);
void log_request_end(void);

/* "DEBUG", "INFO", "WARNING" (or "WARN"), "ERROR", any case; false when unknown. */
bool log_level_parse(const char *text, enum log_level *out);
const char *log_level_name(enum log_level level);

#endif
