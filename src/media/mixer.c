/* The downmix is swresample's with two changes. Its matrix is normalised, so that six
 * loud channels do not clip: for float output it would not be. And what one channel or
 * two are called is ignored, because a mono file that calls its channel "subwoofer" would
 * come out silent. Layouts that swresample has no rule for are averaged. */
#include "media/mixer.h"

#include "media/libav.h"
#include "media/record.h"

#include <math.h>
#include <stdbool.h>

int mixer_channels(const struct AVFrame *frame)
{
#if NEW_LAYOUTS
    return frame->ch_layout.nb_channels;
#else
    return frame->channels;
#endif
}

int mixer_parameter_channels(const struct AVCodecParameters *parameters)
{
#if NEW_LAYOUTS
    return parameters->ch_layout.nb_channels;
#else
    return parameters->channels;
#endif
}

static void describe_layout(const AVFrame *frame, char *out, size_t size)
{
    out[0] = '\0';
#if NEW_LAYOUTS
    if (frame->ch_layout.nb_channels > 2)
        libav.av_channel_layout_describe(&frame->ch_layout, out, size);
#else
    if (frame->channels > 2)
        libav.av_get_channel_layout_string(out, (int)size, frame->channels,
                                           frame->channel_layout);
#endif
    out[size - 1] = '\0';
}

/* A converter from the frame's form; `average`: treat the channels as nameless. */
static SwrContext *new_swr(const AVFrame *frame, bool average)
{
    SwrContext *swr = NULL;
    int channels = mixer_channels(frame);
    enum AVSampleFormat format = frame->format;
#if NEW_LAYOUTS
    AVChannelLayout mono, in = {0};
    libav.av_channel_layout_default(&mono, 1);
    if (average) {
        in.order = AV_CHANNEL_ORDER_UNSPEC;
        in.nb_channels = channels;
    } else if (channels <= 2 || frame->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC) {
        libav.av_channel_layout_default(&in, channels);
    } else if (libav.av_channel_layout_copy(&in, &frame->ch_layout) < 0) {
        return NULL;
    }
    if (libav.swr_alloc_set_opts2(&swr, &mono, AV_SAMPLE_FMT_FLT, MEDIA_RATE, &in, format,
                                  frame->sample_rate, 0, NULL) < 0)
        libav.swr_free(&swr);
    libav.av_channel_layout_uninit(&in);
#else
    int64_t in = (int64_t)frame->channel_layout;
    if (channels <= 2 || !in)
        in = libav.av_get_default_channel_layout(channels);
    if (average)
        in = 0;
    swr = libav.swr_alloc_set_opts(NULL, AV_CH_LAYOUT_MONO, AV_SAMPLE_FMT_FLT, MEDIA_RATE,
                                   in, format, frame->sample_rate, 0, NULL);
    if (swr && !in)
        libav.av_opt_set_int(swr, "ich", channels, 0);
#endif
    if (swr)
        libav.av_opt_set_double(swr, "rematrix_maxval", 1.0, 0);
    return swr;
}

static SwrContext *open_swr(const AVFrame *frame)
{
    SwrContext *swr = new_swr(frame, false);
    if (swr && libav.swr_init(swr) >= 0)
        return swr;
    libav.swr_free(&swr);
    double weights[MEDIA_MAX_CHANNELS];
    int channels = mixer_channels(frame);
    for (int i = 0; i < channels; i++)
        weights[i] = 1.0 / channels;
    swr = new_swr(frame, true);
    if (swr && libav.swr_set_matrix(swr, weights, channels) >= 0 &&
        libav.swr_init(swr) >= 0)
        return swr;
    libav.swr_free(&swr);
    return NULL;
}

static bool same_form(const struct mixer *m, const AVFrame *frame, const char *layout)
{
    return m->swr && m->rate == frame->sample_rate && m->format == frame->format &&
           m->channels == mixer_channels(frame) && !strcmp(m->layout, layout);
}

static int configure(struct mixer *m, const AVFrame *frame)
{
    char layout[sizeof m->layout];
    describe_layout(frame, layout, sizeof layout);
    if (same_form(m, frame, layout))
        return 0;
    int rc = mixer_flush(m);
    if (rc < 0)
        return rc;
    m->swr = open_swr(frame);
    if (!m->swr)
        return AVERROR(EINVAL);
    m->rate = frame->sample_rate;
    m->channels = mixer_channels(frame);
    m->format = frame->format;
    memcpy(m->layout, layout, sizeof layout);
    return 0;
}

/* One that is not a number would spread through the filter to its neighbours. The bounds
 * keep a file of 1e38 from becoming infinite in the sums. */
static void clean_floats(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(x[i]) < 1e6f))
            x[i] = 0;
}

static void clean_doubles(double *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabs(x[i]) < 1e6))
            x[i] = 0;
}

static int clean_frame(AVFrame *frame)
{
    enum AVSampleFormat packed = libav.av_get_packed_sample_fmt(frame->format);
    if (packed != AV_SAMPLE_FMT_FLT && packed != AV_SAMPLE_FMT_DBL)
        return 0;
    int rc = libav.av_frame_make_writable(frame);
    if (rc < 0)
        return rc;
    bool planar = libav.av_sample_fmt_is_planar(frame->format);
    int planes = planar ? mixer_channels(frame) : 1;
    size_t count =
        (size_t)frame->nb_samples * (size_t)(planar ? 1 : mixer_channels(frame));
    for (int i = 0; i < planes; i++) {
        void *plane = frame->extended_data[i];
        if (packed == AV_SAMPLE_FMT_FLT)
            clean_floats(plane, count);
        else
            clean_doubles(plane, count);
    }
    return 0;
}

/* Convert `count` samples per channel, or flush when `data` is NULL. */
static int convert(struct mixer *m, const uint8_t **data, int count)
{
    int room = libav.swr_get_out_samples(m->swr, count);
    if (room < 0)
        return room;
    if ((size_t)room > m->capacity) {
        float *grown = realloc(m->samples, (size_t)room * sizeof *grown);
        if (!grown)
            return AVERROR(ENOMEM);
        m->samples = grown;
        m->capacity = (size_t)room;
    }
    if (!m->capacity)
        return 0;
    uint8_t *out = (uint8_t *)m->samples;
    int n = libav.swr_convert(m->swr, &out, room, data, count);
    return n > 0 ? m->sink(m->arg, m->samples, (size_t)n) : n;
}

int mixer_feed(struct mixer *m, AVFrame *frame)
{
    int rc = configure(m, frame);
    if (!rc)
        rc = clean_frame(frame);
    if (!rc)
        rc = convert(m, (const uint8_t **)frame->extended_data, frame->nb_samples);
    return rc;
}

int mixer_flush(struct mixer *m)
{
    int rc = m->swr ? convert(m, NULL, 0) : 0;
    libav.swr_free(&m->swr);
    return rc;
}

void mixer_release(struct mixer *m)
{
    libav.swr_free(&m->swr);
    free(m->samples);
    m->samples = NULL;
    m->capacity = 0;
}
