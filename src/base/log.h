/* The log: one line per event, for people (text) or machines (JSON).
 *
 * Never log transcript text, file contents, keys or passwords. Names and other text from
 * outside are safe to pass: control characters are escaped here. Thread-safe; a line is
 * written with one write(2), so that processes which share a file do not mix lines. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

struct log_options {
    enum log_level level;
    bool json;
    bool to_stderr;
    const char *file; /* borrowed for the call; NULL: no file */
    const char *role; /* "serve", "worker" …: in every line; a string literal */
};

/* Before it is called, INFO and above go to stderr as text. */
int log_open(const struct log_options *options, struct err *e);
/* Close and open the file again under its name (after logrotate moved it). */
int log_reopen(struct err *e);

/* `job` is a job's id, or NULL. */
void log_event(enum log_level level, const char *job, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(...)   log_event(LOG_DEBUG, NULL, __VA_ARGS__)
#define log_info(...)    log_event(LOG_INFO, NULL, __VA_ARGS__)
#define log_warning(...) log_event(LOG_WARNING, NULL, __VA_ARGS__)
#define log_error(...)   log_event(LOG_ERROR, NULL, __VA_ARGS__)

/* "DEBUG", "INFO", "WARNING" (or "WARN"), "ERROR", any case; false when unknown. */
bool log_level_parse(const char *text, enum log_level *out);

#endif
