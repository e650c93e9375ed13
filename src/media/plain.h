/* WAV files that hold exactly what the engine hears: 16 kHz, one channel, 16 bits.
 * Nothing in them needs decoding, so FFmpeg, whose loading takes longer than many a short
 * clip's whole way to text, is not asked. Whatever is unusual about a file is left to
 * FFmpeg. */
#ifndef MEDIA_PLAIN_H
#define MEDIA_PLAIN_H

#include "media/source.h"

struct plain {
    int64_t at;    /* of the first sample */
    int64_t count; /* samples, above 0 */
};

/* Whether a recording is one of these. It runs before the child is locked in, hence reads
 * nothing but chunk headers and does nothing with them but compare and add. */
bool plain_find(const struct source_io *io, struct plain *out);

/* Samples [from, from + count) in [-1, 1): how many there are, fewer than `count` only at
 * the end of a file that has shrunk, or -errno. */
int plain_read(const struct source_io *io, const struct plain *p, int64_t from,
               float *out, int count);

#endif
