/* Any audio or video to 16 kHz mono samples, in a process that can do nothing else.
 *
 * The parent re-executes itself as `decode`, hands over the open input and a pipe, and
 * reads samples until the pipe closes. The child sees no network and no file but its
 * input, has limits on memory, processor time and output, and may only make the system
 * calls on a list. What FFmpeg refuses becomes one sentence. */
#ifndef MEDIA_DECODE_H
#define MEDIA_DECODE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct media_limits {
    double max_seconds;      /* longer audio is refused: ERR_TOO_LARGE */
    unsigned cpu_seconds;    /* processor time of the child */
    unsigned wall_seconds;   /* from start to end, 0: as long as samples keep coming */
    unsigned stall_seconds;  /* without one sample, 0: for ever */
    size_t memory_bytes;     /* address space of the child beyond its start */
    const char *formats;     /* borrowed: comma-separated list of allowed formats
                                (ALLOWED_AUDIO_FORMATS), NULL: all that we know */
    const char *scratch_dir; /* borrowed: where an unlinked file for the samples is
                                made, so that hours of audio need not stay in memory */
    bool (*cancelled)(void *arg); /* may be NULL; asked about ten times a second; true:
                                     stop with ERR_CANCELLED */
    void *cancelled_arg;
};

/* Generous limits: 8 hours of audio, 30 minutes of processor time, 2 hours in all, 2
 * minutes without a sample, 1 GiB, NULL formats, TMPDIR or /tmp. */
void media_limits_init(struct media_limits *l);

/* Whether a comma-separated list of formats (ALLOWED_AUDIO_FORMATS) holds only names that
 * we know, at least one: ERR_INVALID with the name otherwise. NULL is fine. */
int media_formats_check(const char *formats, struct err *e);

struct media_info {
    char container[32]; /* FFmpeg's short name, "wav", "mov", "matroska" */
    char codec[32];     /* "pcm_s16le", "aac" */
    int channels, rate; /* of the source */
    double seconds;     /* of the samples that came out */
    bool truncated;     /* the file ended in the middle, or parts could not be decoded;
                           what could be decoded is here */
};

/* Samples in [-1, 1], mono, 16 kHz, backed by an unlinked file. */
struct pcm {
    float *samples; /* owned mapping [count]; NULL when count is 0 */
    size_t count;
    size_t mapped_bytes;
};
void pcm_release(struct pcm *p);

/* A recording that is being decoded. */
struct decoding;

/* Start to decode what `fd` holds from its beginning, and go on with something else: the
 * child works by itself until a pipe is full. `fd` is a regular file; its offset stays,
 * and it may be closed. What `limits` points to is borrowed until the end. Errors are
 * those of media_decode. */
int media_start(struct decoding **out, int fd, const struct media_limits *limits,
                struct err *e);

/* Whether FFmpeg, which only a decoder loads, is there and as this program needs it:
 * for those who look before anything is decoded. ERR_IO says what is missing. */
int media_check(struct err *e);

/* Take what comes until the recording is decoded, as media_decode does. The limits of
 * time count from here. Frees `d` in any case. */
int media_finish(struct decoding *d, struct pcm *out, struct media_info *info,
                 struct err *e);

/* Stop the child and forget it. NULL is fine. */
void media_abandon(struct decoding *d);

/* Both in one: decode what `fd` holds.
 *
 * All of these need no lock and may run in many threads at once; the process must not
 * ignore SIGCHLD nor reap children that are not its own.
 *
 * About the file: ERR_NOT_MEDIA (not audio or video), ERR_NO_AUDIO (no audio track, or a
 * track of no samples), ERR_UNSUPPORTED (a format or codec that is not allowed or not
 * known), ERR_TOO_LARGE (too long, or more memory than the limit), ERR_CORRUPT (nothing
 * could be decoded), ERR_CRASH (it killed the decoder), ERR_TIMEOUT.
 * About us: ERR_CANCELLED, ERR_FULL, ERR_NOMEM, ERR_IO, ERR_AWAY (somebody killed the
 * decoder), ERR_INVALID (limits that make no
 * sense, or an `fd` that is a pipe), ERR_DENIED (the system lets no process lock itself
 * in). On error `out` is empty; `info` holds what is known of the file. Neither `out` nor
 * `info` need be initialised. */
int media_decode(int fd, const struct media_limits *limits, struct pcm *out,
                 struct media_info *info, struct err *e);

/* The same from an open pipe, socket or terminal: spools it to an unlinked file in the
 * scratch folder first, at most `max_bytes`. Returns a descriptor for media_decode. */
int media_spool(int fd, const char *scratch_dir, size_t max_bytes, struct err *e);

/* The `decode` role: what the child runs. Returns the exit code of the process. */
int media_child_main(int argc, char **argv);

/* Run this program as the decoder instead of our own binary: for tests, whose process is
 * another one. Borrowed for ever; NULL: our own again. Not thread-safe. */
void media_set_program(const char *path);

#endif
