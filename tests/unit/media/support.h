/* What the tests of media share: a signal that is known at every moment, files made from
 * it, and decoding with the real binary. */
#ifndef TESTS_MEDIA_SUPPORT_H
#define TESTS_MEDIA_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "media/decode.h"

#include <stdbool.h>

/* Find the binary (WT_BINARY) and make a folder of our own. Group set-up and teardown. */
int support_setup(void **state);
int support_teardown(void **state);

/* The name of a file in that folder. Valid until the eighth call after this one. */
const char *support_path(const char *name);
void support_write(const char *name, const void *bytes, size_t length);
void support_read(const char *name, struct buf *out);

/* A sum of modulated tones below 3 kHz, so that telephone codecs keep it: within
 * [-0.8, 0.8]. */
double support_signal(double seconds);

enum support_sample { SAMPLE_U8, SAMPLE_S16, SAMPLE_S24, SAMPLE_S32, SAMPLE_F32 };
struct support_wav {
    enum support_sample sample;
    int rate, channels;
    double seconds;
    int only_channel; /* -1: the signal is in all, else in this one alone */
    uint32_t layout;  /* channel mask, 0: a plain header */
    uint32_t claim;   /* bytes that the header claims, 0: the truth */
};
/* A WAV file with the signal. */
void support_wav(const struct support_wav *w, struct buf *out);

/* Run ffmpeg on "speech.wav" (3 s, 48 kHz, mono) with these further words, separated by
 * blanks; the last is the output. False when this ffmpeg has no such encoder. */
bool support_ffmpeg(const char *words);
bool support_has_ffmpeg(void);

struct decoded {
    int code;
    struct pcm pcm;
    struct media_info info;
    struct err err;
};
/* Decode with the default limits, or with these. */
void support_decode(const char *name, const struct media_limits *limits,
                    struct decoded *d);
void support_decode_bytes(const void *bytes, size_t length,
                          const struct media_limits *limits, struct decoded *d);

/* Correlation of the samples with the signal, at the best shift of at most `reach`
 * samples; *shift is where. */
double support_likeness(const struct pcm *pcm, int reach, int *shift);

/* The code is this one and the sentence holds `words`. Releases. */
void support_expect(struct decoded *d, int code, const char *words);

#endif
