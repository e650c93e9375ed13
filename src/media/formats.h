/* Which containers and codecs may be opened, and what people call them.
 *
 * FFmpeg knows hundreds of demuxers, some of which open further files or addresses that
 * the input names (playlists, concat scripts, image sequences). Only those in the table
 * here are ever used. */
#ifndef MEDIA_FORMATS_H
#define MEDIA_FORMATS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Comma-separated names of the decoders that may be opened: audio only. */
extern const char formats_decoders[];

/* Whether FFmpeg's demuxer of this name is in the table. */
bool formats_demuxer_allowed(const char *demuxer);

/* The format of an open file, judged by its content. */
struct formats_subject {
    const char *demuxer; /* FFmpeg's name of it, as it is */
    const char *codec;   /* of the chosen audio stream */
    bool has_video;      /* a moving picture, not a cover */
    const uint8_t *head; /* the first bytes [head_length] */
    size_t head_length;
};

/* 0 when the comma-separated `allowed` (NULL: everything) admits it, else ERR_UNSUPPORTED
 * with a sentence that says what it is and what is allowed. */
int formats_admit(const struct formats_subject *s, const char *allowed, struct err *e);

/* The same from the first bytes of a file alone, before it is all there: refuses what
 * they leave no doubt about, and leaves the rest to the decoder. */
int formats_admit_head(const uint8_t *head, size_t length, const char *allowed,
                       struct err *e);

#endif
