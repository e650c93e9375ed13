/* Windows that were done early, on their way between workers: through a message, the
 * store and an unlinked memory file. What is in them only the engine reads
 * (whisper_params.ahead); here they are texts in base64, a line each in the file. */
#ifndef JOB_AHEAD_H
#define JOB_AHEAD_H

#include "engine/whisper.h"
#include "store/store.h"

/* Base64 of the engine's bytes into `out`, which fails when it has no room. */
void ahead_encode(const void *bytes, size_t length, struct buf *out);

/* Is it base64, and not empty? NULL is not. */
bool ahead_text_valid(const char *text);

/* A descriptor of a file with the texts of `r`, for a worker; -1 when there are none, or
 * they cannot be held in memory: then their windows are heard again. */
int ahead_file(const struct store_resume *r);

/* The same, read by the worker. */
struct ahead_windows {
    struct whisper_ahead *list; /* owned [count], and what they point to */
    size_t count;
};
/* Lines that are not base64 are passed over. ERR_IO, ERR_NOMEM. */
int ahead_windows_read(int fd, struct ahead_windows *out, struct err *e);
void ahead_windows_release(struct ahead_windows *a);

#endif
