/* An opened recording: the container is recognised, one audio stream is chosen and its
 * decoder stands ready. Reads only through the function that it is given. */
#ifndef MEDIA_SOURCE_H
#define MEDIA_SOURCE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct AVFormatContext;
struct AVIOContext;
struct AVCodecContext;
struct AVStream;

#define SOURCE_HEAD 4096

/* Where bytes come from. */
struct source_io {
    /* Up to `size` (above 0) bytes from `offset`: how many, 0 at the end, or -errno. */
    int (*read_at)(void *arg, int64_t offset, uint8_t *out, int size);
    void *arg;    /* borrowed */
    int64_t size; /* of the whole input, bytes */
};

/* Bytes from `offset` into `out` until `size` or the end; how many, or -errno. */
int source_read(const struct source_io *io, int64_t offset, uint8_t *out, int size);

struct source {
    const struct source_io *io;     /* borrowed */
    int64_t position;               /* of the next read */
    int read_error;                 /* errno of the first read that failed, or 0 */
    struct AVIOContext *avio;       /* owned, and its buffer */
    struct AVFormatContext *format; /* owned */
    struct AVCodecContext *decoder; /* owned */
    struct AVStream *stream;        /* borrowed from format: the chosen one */
    bool has_video;                 /* beside the sound: a moving picture */
    char container[32];             /* "mov" */
    uint8_t head[SOURCE_HEAD];      /* the first bytes */
    size_t head_length;
};

/* ERR_NOT_MEDIA, ERR_NO_AUDIO, ERR_UNSUPPORTED, ERR_CORRUPT, ERR_IO, ERR_TOO_LARGE (needs
 * more memory than there is). `formats` as in struct media_limits. Release it in every
 * case; `s` may be freed only after that. */
int source_open(struct source *s, const struct source_io *io, const char *formats,
                struct err *e);
void source_close(struct source *s);

/* Of an uncompressed stream; 0 for a compressed one. */
double source_bytes_per_second(const struct source *s);

/* Seconds that the header promises for the chosen stream, 0 when it promises nothing.
 * `*believable` is false when the file is too small to hold so much uncompressed sound.
 */
double source_promised_seconds(const struct source *s, bool *believable);

/* Whether an Ogg, ASF or WAV file is shorter than it was written, where no promise of a
 * length in seconds would tell. False for all other containers. */
bool source_is_cut(const struct source *s);

#endif
