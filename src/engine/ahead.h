/* A window that is done while one before it is not, as bytes that outlive the process.
 *
 * What was heard in it cannot be written yet, for a transcript is written in the order of
 * the recording; but whoever goes on with a recording that was broken off need not hear
 * it again. The bytes are little-endian and begin with a version; they say of which
 * window they are, and fit no other. */
#ifndef ENGINE_AHEAD_H
#define ENGINE_AHEAD_H

#include "base/buf.h"
#include "engine/longform.h"

/* Greater than any window's: 448 tokens, heard in a few parts, with words and notes. */
#define AHEAD_MAX_BYTES ((size_t)1 << 20)

/* Append the window's account, and what the window behind it is told of it (NULL: it was
 * not asked). Only what write_account and context_window read is kept. `multilingual`:
 * how the stream was cut. ERR_NOMEM. */
int ahead_write(const struct account *a, const struct said *said, bool multilingual,
                struct buf *out, struct err *e);

/* The window of ahead_write's bytes, and how the stream was cut; false when they cannot
 * be such bytes. */
bool ahead_window(const void *bytes, size_t length, struct window *out,
                  bool *multilingual);

/* All of them. `vocabulary`: tokens are below. `wants_said`: without what the window
 * behind is told, they are of no use. ERR_CORRUPT, ERR_NOMEM; then nothing is to be
 * released. */
int ahead_read(const void *bytes, size_t length, int32_t vocabulary, bool wants_said,
               struct account *a, struct said *said, struct err *e);

#endif
