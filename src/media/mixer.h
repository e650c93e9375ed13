/* Decoded frames of any rate, layout and sample type to 16 kHz mono float. */
#ifndef MEDIA_MIXER_H
#define MEDIA_MIXER_H

#include <stddef.h>
#include <stdint.h>

struct AVCodecParameters;
struct AVFrame;
struct SwrContext;

struct mixer {
    /* Takes `count` samples; 0, or a negative number that ends the decoding. */
    int (*sink)(void *arg, const float *samples, size_t count);
    void *arg;              /* borrowed */
    struct SwrContext *swr; /* owned; NULL before the first frame */
    int rate, channels, format;
    char layout[64]; /* as FFmpeg describes it */
    float *samples;  /* owned [capacity]: what comes out of one frame */
    size_t capacity;
};

void mixer_release(struct mixer *m);

/* Convert one frame. When rate, layout or type differ from those of the frame before,
 * what the filter still holds goes out first. The frame's samples may be overwritten
 * (what is not a number becomes silence). Returns 0, what the sink returned, or an
 * AVERROR. */
int mixer_feed(struct mixer *m, struct AVFrame *frame);

/* Push out what the filter holds: at the end, once. */
int mixer_flush(struct mixer *m);

/* How many channels; the field has another name in each FFmpeg. */
int mixer_channels(const struct AVFrame *frame);
int mixer_parameter_channels(const struct AVCodecParameters *parameters);

#endif
