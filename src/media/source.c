#include "media/source.h"

#include "media/formats.h"
#include "media/libav.h"
#include "media/mixer.h"
#include "media/record.h"
#include "media/sniff.h"

#include <errno.h>

#define IO_BUFFER  65536
#define PROBE_FROM 2048
#define PROBE_TO   (1 << 20)

/* Recorders that write to a pipe put the largest number there is into the header, signed
 * or not, or nearly. */
#define ENDLESS 0x7FFE0000

/* ---- bytes ---- */

static int read_some(void *opaque, uint8_t *out, int size)
{
    struct source *s = opaque;
    if (size <= 0 || s->position >= s->io->size)
        return AVERROR_EOF;
    if (size > s->io->size - s->position)
        size = (int)(s->io->size - s->position);
    int n = s->io->read_at(s->io->arg, s->position, out, size);
    if (n < 0) {
        s->read_error = s->read_error ? s->read_error : -n;
        return AVERROR(-n);
    }
    s->position += n;
    return n ? n : AVERROR_EOF;
}

static int64_t seek_to(void *opaque, int64_t offset, int whence)
{
    struct source *s = opaque;
    if (whence & AVSEEK_SIZE)
        return s->io->size;
    whence &= ~AVSEEK_FORCE;
    int64_t base = whence == SEEK_CUR   ? s->position
                   : whence == SEEK_END ? s->io->size
                                        : 0;
    if ((whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END) ||
        __builtin_add_overflow(base, offset, &offset) || offset < 0)
        return AVERROR(EINVAL);
    s->position = offset;
    return offset;
}

/* Whatever the file names, nothing is opened. */
static int refuse_open(AVFormatContext *format, AVIOContext **pb, const char *url,
                       int flags, AVDictionary **options)
{
    (void)format;
    (void)url;
    (void)flags;
    (void)options;
    *pb = NULL;
    return AVERROR(EPERM);
}

/* ---- which container ---- */

/* Where the content begins, behind ID3v2 tags, whose pictures can be larger than what
 * probing looks at. */
static int64_t skip_id3(const struct source *s)
{
    int64_t at = 0;
    uint8_t h[10];
    for (int i = 0; i < 8; i++) {
        int n = s->io->read_at(s->io->arg, at, h, sizeof h);
        if (n != (int)sizeof h || memcmp(h, "ID3", 3) || h[3] == 0xFF || h[4] == 0xFF ||
            ((h[6] | h[7] | h[8] | h[9]) & 0x80))
            break;
        at += 10 + ((int64_t)h[6] << 21 | h[7] << 14 | h[8] << 7 | h[9]);
        at += h[5] & 0x10 ? 10 : 0;
    }
    return at < s->io->size ? at : 0;
}

int source_read(const struct source_io *io, int64_t offset, uint8_t *out, int size)
{
    int have = 0;
    while (have < size) {
        int n = io->read_at(io->arg, offset + have, out + have, size - have);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        have += n;
    }
    return have;
}

static int fail_open(const struct source *s, int rc, struct err *e, const char *sentence)
{
    if (s->read_error)
        return err_set(e, ERR_IO, "the file cannot be read: %s", strerror(s->read_error));
    if (rc == AVERROR(ENOMEM))
        return err_set(e, ERR_TOO_LARGE,
                       "decoding this file needs more memory than a decoder may have");
    return err_set(e, ERR_CORRUPT, "%s", sentence);
}

/* The best candidate for `have` bytes, which are followed by AVPROBE_PADDING_SIZE more.
 * As many are looked at as are needed to be sure; all of FFmpeg's demuxers compete, so
 * that a playlist is seen to be one. */
static const AVInputFormat *recognise(uint8_t *bytes, int have)
{
    const AVInputFormat *best = NULL;
    int score = 0;
    for (int size = PROBE_FROM; have > 0; size *= 2) {
        int length = size < have ? size : have;
        uint8_t kept[AVPROBE_PADDING_SIZE];
        memcpy(kept, bytes + length, sizeof kept);
        memset(bytes + length, 0, sizeof kept);
        AVProbeData data = {.filename = "", .buf = bytes, .buf_size = length};
        best = libav.av_probe_input_format3(&data, 1, &score);
        memcpy(bytes + length, kept, sizeof kept);
        if ((best && score > AVPROBE_SCORE_RETRY) || length == have)
            break;
    }
    return best;
}

static int probe(struct source *s, const AVInputFormat **out, struct err *e)
{
    uint8_t *bytes = calloc(1, PROBE_TO + AVPROBE_PADDING_SIZE);
    if (!bytes)
        return fail_open(s, AVERROR(ENOMEM), e, "");
    int have = source_read(s->io, skip_id3(s), bytes, PROBE_TO);
    *out = recognise(bytes, have);
    s->head_length = have > SOURCE_HEAD ? SOURCE_HEAD : have > 0 ? (size_t)have : 0;
    memcpy(s->head, bytes, s->head_length);
    free(bytes);
    if (have < 0) {
        s->read_error = -have;
        return fail_open(s, have, e, "");
    }
    if (*out && formats_demuxer_allowed((*out)->name))
        return 0;
    const char *what = sniff_name(s->head, s->head_length);
    if (what)
        return err_set(e, ERR_NOT_MEDIA, "the file is %s, not audio or video", what);
    return err_set(e, ERR_NOT_MEDIA,
                   "the file is neither audio nor video of a kind that can be read here, "
                   "whatever its name says");
}

/* ---- opening ---- */

/* Whether an MP4's top-level boxes hold no "moov": the usual end of a recording whose
 * device lost power. */
static bool mov_lacks_index(const struct source *s)
{
    int64_t at = 0;
    for (int i = 0; i < 10000 && at <= s->io->size - 8; i++) {
        uint8_t h[16] = {0};
        if (source_read(s->io, at, h, sizeof h) < 8)
            break;
        if (!memcmp(h + 4, "moov", 4) || !memcmp(h + 4, "moof", 4))
            return false;
        uint64_t size = (uint32_t)h[0] << 24 | h[1] << 16 | h[2] << 8 | h[3];
        if (size == 1) {
            size = 0;
            for (int j = 8; j < 16; j++)
                size = size << 8 | h[j];
        }
        if (size < 8 || size > (uint64_t)(s->io->size - at))
            break;
        at += (int64_t)size;
    }
    return true;
}

static int open_container(struct source *s, const AVInputFormat *demuxer, struct err *e)
{
    uint8_t *buffer = libav.av_malloc(IO_BUFFER);
    s->avio = buffer ? libav.avio_alloc_context(buffer, IO_BUFFER, 0, s, read_some, NULL,
                                                seek_to)
                     : NULL;
    s->format = libav.avformat_alloc_context();
    if (!s->avio || !s->format) {
        if (!s->avio)
            libav.av_free(buffer);
        return fail_open(s, AVERROR(ENOMEM), e, "");
    }
    s->format->pb = s->avio;
    s->format->io_open = refuse_open;
    s->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    libav.av_opt_set(s->format, "protocol_whitelist", "", 0);
    libav.av_opt_set(s->format, "format_whitelist", demuxer->name, 0);
    libav.av_opt_set(s->format, "codec_whitelist", formats_decoders, 0);
#if LIBAVFORMAT_VERSION_MAJOR < 59
    AVInputFormat *chosen = (AVInputFormat *)(uintptr_t)demuxer;
#else
    const AVInputFormat *chosen = demuxer;
#endif
    int rc =
        libav.avformat_open_input(&s->format, "", chosen, NULL); /* frees it on failure */
    if (rc < 0 && !strncmp(demuxer->name, "mov,", 4) && mov_lacks_index(s))
        return fail_open(s, rc, e,
                         "the recording was cut off before it was finished: the index "
                         "(moov) of this MP4 or MOV file is missing, and without it the "
                         "sound cannot be found; a repair tool needs a second, complete "
                         "file from the same device");
    if (rc < 0)
        return fail_open(s, rc, e, "the file is damaged: its header cannot be read");
    return 0;
}

static bool is_cover(const AVStream *stream)
{
    return stream->disposition & AV_DISPOSITION_ATTACHED_PIC;
}

static int choose_stream(struct source *s, struct err *e)
{
    AVFormatContext *f = s->format;
    for (unsigned i = 0; i < f->nb_streams; i++)
        if (f->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
            !is_cover(f->streams[i]))
            s->has_video = true;
    int best = libav.av_find_best_stream(f, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    if (best < 0 && s->read_error)
        return fail_open(s, best, e, "");
    if (best < 0)
        return err_set(e, ERR_NO_AUDIO,
                       s->has_video ? "the video has no audio track"
                                    : "the file holds no audio track");
    s->stream = f->streams[best];
    for (unsigned i = 0; i < f->nb_streams; i++)
        if ((int)i != best)
            f->streams[i]->discard = AVDISCARD_ALL;
    return 0;
}

static int check_codec(const struct source *s, const char *formats, struct err *e)
{
    const AVCodecParameters *par = s->stream->codecpar;
    uint32_t tag = par->codec_tag;
    if (tag == MKTAG('d', 'r', 'm', 's') || tag == MKTAG('e', 'n', 'c', 'a') ||
        tag == MKTAG('a', 'a', 'v', 'd'))
        return err_set(
            e, ERR_UNSUPPORTED,
            "the sound in this file is copy-protected (DRM) and cannot be read");
    struct formats_subject subject = {
        .demuxer = s->format->iformat->name,
        .codec = libav.avcodec_get_name(par->codec_id),
        .has_video = s->has_video,
        .head = s->head,
        .head_length = s->head_length,
    };
    return formats_admit(&subject, formats, e);
}

static int open_decoder(struct source *s, struct err *e)
{
    const AVCodecParameters *par = s->stream->codecpar;
    const AVCodec *codec = NULL;
    /* FFmpeg 7.1's own Speex decoder gives wideband speech at half its speed. */
    if (par->codec_id == AV_CODEC_ID_SPEEX)
        codec = libav.avcodec_find_decoder_by_name("libspeex");
    if (!codec)
        codec = libav.avcodec_find_decoder(par->codec_id);
    if (!codec)
        return err_set(
            e, ERR_UNSUPPORTED,
            "the sound in this file is coded as \"%s\", which cannot be read here",
            libav.avcodec_get_name(par->codec_id));
    s->decoder = libav.avcodec_alloc_context3(codec);
    if (!s->decoder)
        return fail_open(s, AVERROR(ENOMEM), e, "");
    int rc = libav.avcodec_parameters_to_context(s->decoder, par);
    if (rc < 0)
        return fail_open(s, rc, e,
                         "the file is damaged: its audio header makes no sense");
    s->decoder->pkt_timebase = s->stream->time_base;
    s->decoder->thread_count = 1; /* the sandbox lets no thread start */
    libav.av_opt_set(s->decoder, "codec_whitelist", formats_decoders, 0);
    rc = libav.avcodec_open2(s->decoder, codec, NULL);
    if (rc == AVERROR(EINVAL) || rc == AVERROR(ENOSYS) || rc == AVERROR_PATCHWELCOME)
        return err_set(
            e, ERR_UNSUPPORTED,
            "the sound in this file is coded as \"%s\", in a form that cannot be "
            "read here",
            codec->name);
    if (rc < 0)
        return fail_open(s, rc, e,
                         "the file is damaged: its audio header makes no sense");
    return 0;
}

int source_open(struct source *s, const struct source_io *io, const char *formats,
                struct err *e)
{
    memset(s, 0, sizeof *s);
    s->io = io;
    const AVInputFormat *demuxer = NULL;
    int rc = probe(s, &demuxer, e);
    if (rc)
        return rc;
    if (!demuxer)
        return err_set(e, ERR_NOT_MEDIA, "this is not audio or video");
    snprintf(s->container, sizeof s->container, "%.*s", (int)strcspn(demuxer->name, ","),
             demuxer->name);
    rc = open_container(s, demuxer, e);
    if (rc)
        return rc;
    /* Subtitles need not be understood. A picture is not decoded either (its decoders are
     * not on the list), but where its time begins is wanted. */
    for (unsigned i = 0; i < s->format->nb_streams; i++) {
        int type = s->format->streams[i]->codecpar->codec_type;
        if (type != AVMEDIA_TYPE_AUDIO && type != AVMEDIA_TYPE_VIDEO)
            s->format->streams[i]->discard = AVDISCARD_ALL;
    }
    int found = libav.avformat_find_stream_info(s->format, NULL);
    if (found < 0)
        return fail_open(s, found, e, "the file is damaged: no stream in it can be read");
    rc = choose_stream(s, e);
    if (!rc)
        rc = check_codec(s, formats, e);
    if (!rc)
        rc = open_decoder(s, e);
    return rc;
}

void source_close(struct source *s)
{
    libav.avcodec_free_context(&s->decoder);
    libav.avformat_close_input(&s->format);
    if (s->avio)
        libav.av_freep(&s->avio->buffer);
    libav.avio_context_free(&s->avio);
}

double source_bytes_per_second(const struct source *s)
{
    const AVCodecParameters *par = s->stream->codecpar;
    double bits = libav.av_get_exact_bits_per_sample(par->codec_id);
    return bits * mixer_parameter_channels(par) * par->sample_rate / 8;
}

double source_promised_seconds(const struct source *s, bool *believable)
{
    const AVFormatContext *f = s->format;
    double seconds = 0, rate = source_bytes_per_second(s);
    *believable = true;
    if (f->duration_estimation_method != AVFMT_DURATION_FROM_STREAM)
        return 0;
    if (s->stream->duration != AV_NOPTS_VALUE && s->stream->duration > 0)
        seconds = (double)s->stream->duration * av_q2d(s->stream->time_base);
    else if (f->duration != AV_NOPTS_VALUE && f->duration > 0 && !s->has_video)
        seconds = (double)f->duration / AV_TIME_BASE;
    *believable = rate <= 0 || seconds * rate <= (double)s->io->size;
    return !*believable && seconds * rate >= ENDLESS ? 0 : seconds;
}

/* The last page of a whole file is complete and says that it is the last. RFC 3533: 27
 * bytes of header, up to 255 segments of up to 255 bytes. */
static bool ogg_is_cut(const struct source *s)
{
    enum { MAX_PAGE = 27 + 255 + 255 * 255 };
    uint8_t *tail = malloc(MAX_PAGE);
    if (!tail)
        return false;
    int64_t from = s->io->size > MAX_PAGE ? s->io->size - MAX_PAGE : 0;
    int have = source_read(s->io, from, tail, MAX_PAGE), at = have - 27;
    while (at >= 0 && memcmp(tail + at, "OggS", 4))
        at--;
    bool cut = true;
    if (at >= 0 && at + 27 + tail[at + 26] <= have) {
        int end = at + 27 + tail[at + 26];
        for (int i = 0; i < tail[at + 26]; i++)
            end += tail[at + 27 + i];
        cut = end > have || !(tail[at + 5] & 4); /* 4: end of stream */
    }
    free(tail);
    return cut;
}

/* The File Properties Object gives the size of the file at byte 40 and the broadcast
 * flag, which voids it, at byte 88. */
static bool asf_is_cut(const struct source *s)
{
    static const uint8_t guid[] = {0xA1, 0xDC, 0xAB, 0x8C, 0x47, 0xA9, 0xCF, 0x11,
                                   0x8E, 0xE4, 0x00, 0xC0, 0x0C, 0x20, 0x53, 0x65};
    const uint8_t *at = memmem(s->head, s->head_length, guid, sizeof guid);
    if (!at || s->head_length - (size_t)(at - s->head) < 92 || (at[88] & 1))
        return false;
    uint64_t size = 0;
    for (int i = 7; i >= 0; i--)
        size = size << 8 | at[40 + i];
    return size > (uint64_t)s->io->size;
}

/* The data chunk claims more than is there, and not as much as recorders claim that do
 * not know. */
static bool wav_is_cut(const struct source *s)
{
    int64_t at = 12;
    for (int i = 0; i < 1000; i++) {
        uint8_t h[8];
        if (source_read(s->io, at, h, sizeof h) < 8)
            return false;
        uint32_t size = (uint32_t)h[7] << 24 | h[6] << 16 | h[5] << 8 | h[4];
        at += 8;
        if (!memcmp(h, "data", 4))
            return size < ENDLESS && size > s->io->size - at;
        at += (int64_t)size + (size & 1);
    }
    return false;
}

bool source_is_cut(const struct source *s)
{
    return (!strcmp(s->container, "wav") && wav_is_cut(s)) ||
           (!strcmp(s->container, "ogg") && ogg_is_cut(s)) ||
           (!strcmp(s->container, "asf") && asf_is_cut(s));
}
