#include "media/extract.h"

#include "media/formats.h"
#include "media/libav.h"
#include "media/mixer.h"

#include <errno.h>
#include <stdarg.h>

/* What the sink answers when the limit is reached, or the reader is gone. Far from every
 * AVERROR, which are errno values and four letters. */
#define STOP_TOO_LONG (-1000001)
#define STOP_WRITE    (-1000002)

/* A demuxer that stumbles is asked again this often in a row before it counts as the end:
 * behind a damaged place there may be hours of good sound. */
#define MAX_STUMBLES 100

/* Seconds by which the sound of a film may begin late: less is not heard, and more is
 * more likely a wrong time stamp. */
#define MIN_LEAD_IN 0.1
#define MAX_LEAD_IN 600.0

struct extract {
    const struct extract_job *job; /* borrowed */
    struct source source;
    struct mixer mixer;
    AVPacket *packet; /* owned */
    AVFrame *frame;   /* owned */
    uint64_t samples; /* written */
    uint64_t frames;  /* decoded */
    uint64_t damaged; /* packets that could not be decoded */
    bool cut;         /* the container says that something is missing */
    int channels, rate;
    char codec[32]; /* "aac" */
};

static void be_silent(void *context, int level, const char *format, va_list arguments)
{
    (void)context;
    (void)level;
    (void)format;
    (void)arguments;
}

static int compare_bytes(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

int extract_prepare(struct extract_job *job, struct err *e)
{
    job->is_plain = plain_find(&job->io, &job->plain);
    int rc = job->is_plain ? 0 : libav_load(e);
    if (rc || job->is_plain)
        return rc;
    char many[4096] = {1};
    qsort(many, sizeof many, 1, compare_bytes); /* asks once for the size of the memory */
    tzset();                                    /* gmtime_r reads the time zone once */
    libav.av_log_set_callback(be_silent);
    libav.av_get_cpu_flags();
    libav.av_cpu_count();
    return 0;
}

/* "8 hours", "1 hour 30 minutes", "90 seconds" */
static void say_duration(double seconds, char *out, size_t size)
{
    uint64_t s = (uint64_t)(seconds + 0.5), hours = s / 3600, minutes = s % 3600 / 60;
    if (s < 600)
        snprintf(out, size, "%u second%s", (unsigned)s, s == 1 ? "" : "s");
    else if (!hours)
        snprintf(out, size, "%u minutes", (unsigned)minutes);
    else if (!minutes)
        snprintf(out, size, "%llu hour%s", (unsigned long long)hours,
                 hours == 1 ? "" : "s");
    else
        snprintf(out, size, "%llu hour%s %u minute%s", (unsigned long long)hours,
                 hours == 1 ? "" : "s", (unsigned)minutes, minutes == 1 ? "" : "s");
}

static int refuse_length(const struct extract *x, double seconds, struct err *e)
{
    char limit[64], length[64];
    say_duration((double)x->job->max_samples / MEDIA_RATE, limit, sizeof limit);
    say_duration(seconds, length, sizeof length);
    if (seconds > 0)
        return err_set(e, ERR_TOO_LARGE,
                       "the recording is %s long, and the limit is %s: cut it into parts",
                       length, limit);
    return err_set(e, ERR_TOO_LARGE,
                   "the recording is longer than the limit of %s: cut it into parts",
                   limit);
}

static int take_samples(void *arg, const float *samples, size_t count)
{
    struct extract *x = arg;
    if (count > x->job->max_samples - x->samples)
        return STOP_TOO_LONG;
    if (x->job->write(x->job->write_arg, samples, count))
        return STOP_WRITE;
    x->samples += count;
    return 0;
}

/* In a film the sound may begin after the picture. Its times are those of the picture, so
 * that subtitles fit: silence goes first. */
static int lead_in(struct extract *x)
{
    static const float silence[1024];
    const AVFormatContext *f = x->source.format;
    int64_t pts = x->frame->best_effort_timestamp;
    if (!x->source.has_video || pts == AV_NOPTS_VALUE || f->start_time == AV_NOPTS_VALUE)
        return 0;
    double late = (double)pts * av_q2d(x->source.stream->time_base) -
                  (double)f->start_time / AV_TIME_BASE;
    if (!(late > MIN_LEAD_IN && late < MAX_LEAD_IN))
        return 0;
    size_t count = (size_t)(late * MEDIA_RATE);
    int rc = 0;
    while (!rc && count > 0) {
        size_t n = count < 1024 ? count : 1024;
        rc = take_samples(x, silence, n);
        count -= n;
    }
    return rc;
}

static bool frame_is_sane(const AVFrame *frame)
{
    int channels = mixer_channels(frame);
    return frame->nb_samples > 0 && channels > 0 && channels <= MEDIA_MAX_CHANNELS &&
           frame->sample_rate >= 100 && frame->sample_rate <= MEDIA_MAX_RATE &&
           libav.av_get_bytes_per_sample(frame->format) > 0;
}

/* All frames that the decoder has ready. */
static int drain_decoder(struct extract *x)
{
    for (;;) {
        int rc = libav.avcodec_receive_frame(x->source.decoder, x->frame);
        if (rc == AVERROR(EAGAIN) || rc == AVERROR_EOF)
            return 0;
        if (rc == AVERROR(ENOMEM))
            return rc;
        if (rc < 0 || !frame_is_sane(x->frame)) {
            x->damaged++;
            libav.av_frame_unref(x->frame);
            if (rc < 0)
                return 0;
            continue;
        }
        if (x->frames++ == 0) {
            x->channels = mixer_channels(x->frame);
            x->rate = x->frame->sample_rate;
            rc = lead_in(x);
        }
        if (!rc)
            rc = mixer_feed(&x->mixer, x->frame);
        libav.av_frame_unref(x->frame);
        if (rc == AVERROR(EINVAL))
            x->damaged++;
        else if (rc < 0)
            return rc;
    }
}

/* NULL: the end; what the decoder holds back comes out. */
static int decode_packet(struct extract *x, AVPacket *packet)
{
    int rc = libav.avcodec_send_packet(x->source.decoder, packet);
    if (rc == AVERROR(ENOMEM))
        return rc;
    if (rc < 0 && rc != AVERROR_EOF)
        x->damaged++;
    return drain_decoder(x);
}

static int read_all(struct extract *x)
{
    int stumbles = 0;
    /* The last packet of an uncompressed file that claims no length is always "short". */
    bool plain = source_bytes_per_second(&x->source) > 0;
    for (;;) {
        int rc = libav.av_read_frame(x->source.format, x->packet);
        if (rc == AVERROR_EOF || x->source.read_error)
            break;
        if (rc == AVERROR(ENOMEM))
            return rc;
        if (rc < 0) {
            x->cut = x->cut || rc != AVERROR(EAGAIN);
            if (++stumbles > MAX_STUMBLES)
                break;
            continue;
        }
        stumbles = 0;
        rc = 0;
        if (x->packet->stream_index == x->source.stream->index) {
            if ((x->packet->flags & AV_PKT_FLAG_CORRUPT) && !plain)
                x->cut = true;
            rc = decode_packet(x, x->packet);
        }
        libav.av_packet_unref(x->packet);
        if (rc < 0)
            return rc;
    }
    int rc = decode_packet(x, NULL);
    return rc < 0 ? rc : mixer_flush(&x->mixer);
}

/* Less came out than the header promised. Headers are imprecise by a few frames. */
static bool falls_short(const struct extract *x)
{
    bool believable;
    double promised = source_promised_seconds(&x->source, &believable);
    double got = (double)x->samples / MEDIA_RATE;
    double tolerance = promised * 0.01 > 0.5 ? promised * 0.01 : 0.5;
    return promised > 0 && got < promised - tolerance;
}

static int judge(struct extract *x, int rc, struct err *e)
{
    if (rc == STOP_TOO_LONG)
        return refuse_length(x, 0, e);
    if (rc == STOP_WRITE)
        return err_set(e, ERR_IO, "the samples cannot be handed over");
    if (rc == AVERROR(ENOMEM))
        return err_set(e, ERR_TOO_LARGE,
                       "decoding this file needs more memory than a decoder may have");
    if (x->source.read_error)
        return err_set(e, ERR_IO, "the file cannot be read: %s",
                       strerror(x->source.read_error));
    if (x->samples > 0)
        return 0;
    if (x->damaged || x->cut)
        return err_set(e, ERR_CORRUPT,
                       "the file is damaged: nothing of its sound could be decoded");
    if (x->frames)
        return err_set(e, ERR_NO_AUDIO, "the recording is too short: it holds no sound");
    return err_set(e, ERR_NO_AUDIO, "the audio track is empty: it holds no sound");
}

static int read_plain(struct extract *x)
{
    float samples[4096];
    x->frames = 1;
    x->channels = 1;
    x->rate = MEDIA_RATE;
    for (int64_t at = 0; at < x->job->plain.count;) {
        int n = plain_read(&x->job->io, &x->job->plain, at, samples, 4096);
        if (n < 0)
            x->source.read_error = -n;
        x->cut = n <= 0;
        if (x->cut)
            break;
        int rc = take_samples(x, samples, (size_t)n);
        if (rc)
            return rc;
        at += n;
    }
    return 0;
}

static int run_plain(struct extract *x, struct err *e)
{
    const struct formats_subject subject = {.demuxer = "wav", .codec = "pcm_s16le"};
    double seconds = (double)x->job->plain.count / MEDIA_RATE;
    snprintf(x->source.container, sizeof x->source.container, "wav");
    int rc = formats_admit(&subject, x->job->formats, e);
    if (rc)
        return rc;
    snprintf(x->codec, sizeof x->codec, "pcm_s16le");
    if (seconds > (double)x->job->max_samples / MEDIA_RATE + 1)
        return refuse_length(x, seconds, e);
    return judge(x, read_plain(x), e);
}

static int run(struct extract *x, struct err *e)
{
    int rc = source_open(&x->source, &x->job->io, x->job->formats, e);
    if (x->source.decoder)
        snprintf(x->codec, sizeof x->codec, "%s",
                 libav.avcodec_get_name(x->source.decoder->codec_id));
    if (rc)
        return rc;
    bool believable;
    double promised = source_promised_seconds(&x->source, &believable);
    if (believable && promised > (double)x->job->max_samples / MEDIA_RATE + 1)
        return refuse_length(x, promised, e);
    x->packet = libav.av_packet_alloc();
    x->frame = libav.av_frame_alloc();
    rc = x->packet && x->frame ? read_all(x) : AVERROR(ENOMEM);
    return judge(x, rc, e);
}

static bool is_cut(const struct extract *x)
{
    return x->cut || x->damaged ||
           (!x->job->is_plain && (falls_short(x) || source_is_cut(&x->source)));
}

static void release(struct extract *x)
{
    mixer_release(&x->mixer);
    libav.av_frame_free(&x->frame);
    libav.av_packet_free(&x->packet);
    source_close(&x->source);
}

void extract_audio(const struct extract_job *job, struct record *out)
{
    struct extract *x = calloc(1, sizeof *x);
    struct err e = {.code = ERR_NOMEM, .message = "no memory for the decoder"};
    if (x) {
        x->job = job;
        x->mixer.sink = take_samples;
        x->mixer.arg = x;
        e.message[0] = '\0';
        out->code = job->is_plain ? run_plain(x, &e) : run(x, &e);
        out->channels = x->channels;
        out->rate = x->rate;
        out->samples = x->samples;
        if (!out->code && is_cut(x))
            out->flags |= RECORD_TRUNCATED;
        snprintf(out->container, sizeof out->container, "%s", x->source.container);
        snprintf(out->codec, sizeof out->codec, "%s", x->codec);
        if (!job->is_plain)
            release(x);
        free(x);
    } else {
        out->code = e.code;
    }
    snprintf(out->message, sizeof out->message, "%s", out->code ? e.message : "");
}
