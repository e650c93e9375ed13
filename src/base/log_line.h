/* A line of the log, and how it looks. Private to the log. */
#ifndef BASE_LOG_LINE_H
#define BASE_LOG_LINE_H

#include "base/log.h"

#define LOG_LINE_BYTES    8192
#define LOG_MESSAGE_BYTES 1024
#define LOG_REQUEST_BYTES 65

struct log_line {
    enum log_level level;
    const char *role;
    int pid;
    const char *job, *request; /* or NULL */
    const char *message;
    const struct log_field *fields; /* [n_fields] */
    size_t n_fields;
};

/* Each writes a text without its end of line, NUL-terminated, and returns its length. A
 * line that does not fit is cut, and is well-formed all the same. */
size_t log_line_json(const struct log_line *l, char out[LOG_LINE_BYTES]);
/* With time, level and process in front, or, for those who write these themselves,
 * without. */
size_t log_line_text(const struct log_line *l, bool whole, char out[LOG_LINE_BYTES]);
/* Fields of the journal, as in its protocol: see systemd's "Native Journal Protocol". */
size_t log_line_journal(const struct log_line *l, int priority, const char *message,
                        char *out, size_t capacity);

#endif
