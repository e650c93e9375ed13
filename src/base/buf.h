/* A growable byte buffer that is born with a maximum.
 *
 * Appending past the maximum, or out of memory, makes the buffer `failed`: it keeps what
 * it had, later appends do nothing, and one check at the end (buf_failed) is enough. The
 * bytes are always followed by a NUL that is not counted. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data;      /* owned; NULL until something is appended */
    size_t length;   /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t maximum;  /* never more than this many bytes */
    bool failed;
    bool starved; /* for want of memory, not because of the maximum */
};

void buf_init(struct buf *b, size_t maximum);
void buf_release(struct buf *b);
/* Forget the bytes and the failure, keep the memory. */
void buf_reset(struct buf *b);

void buf_add(struct buf *b, const void *bytes, size_t length);
void buf_str(struct buf *b, const char *text);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

bool buf_failed(const struct buf *b);
/* Whether it failed for want of memory: whoever sent the bytes is not to blame. */
bool buf_starved(const struct buf *b);
/* The bytes as a C string; "" for an empty buffer. Borrowed. */
const char *buf_cstr(const struct buf *b);
/* Hand the bytes to the caller, who frees them; the buffer is empty again. NULL when the
 * buffer failed. Never NULL for an empty buffer that did not fail, short of memory. */
char *buf_take(struct buf *b);

#endif
