#include "engine/fallback.h"

#define ZLIB_CONST /* next_in points to what is not ours to change */
#include <zlib.h>

bool fallback_repetitive(const struct whisper_params *p, const struct attempt *a)
{
    return p->compression_ratio_threshold > 0 &&
           a->compression_ratio > p->compression_ratio_threshold;
}

bool fallback_improbable(const struct whisper_params *p, const struct attempt *a)
{
    /* In silence no other temperature will find words. */
    return a->avg_logprob < p->log_prob_threshold &&
           !(a->no_speech_prob > p->no_speech_threshold);
}

bool fallback_needed(const struct whisper_params *p, const struct attempt *a)
{
    bool silent = a->avg_logprob < p->log_prob_threshold &&
                  a->no_speech_prob > p->no_speech_threshold;
    return !silent && (fallback_improbable(p, a) || fallback_repetitive(p, a));
}

bool fallback_better(const struct whisper_params *p, const struct attempt *a,
                     const struct attempt *b)
{
    bool repetitive = fallback_repetitive(p, a);
    if (repetitive != fallback_repetitive(p, b))
        return !repetitive;
    return a->avg_logprob > b->avg_logprob;
}

bool fallback_silent(const struct whisper_params *p, const struct attempt *a)
{
    return a->no_speech_prob > p->no_speech_threshold &&
           !(a->avg_logprob > p->log_prob_threshold);
}

/* Length of the white space at `text`, or 0. */
static size_t space_at(const char *text, size_t length)
{
    if (length >= 1 && (*text == ' ' || (*text >= '\t' && *text <= '\r')))
        return 1;
    if (length >= 2 && memcmp(text, "\xc2\xa0", 2) == 0) /* no-break space */
        return 2;
    if (length >= 3 && memcmp(text, "\xe3\x80\x80", 3) == 0) /* ideographic space */
        return 3;
    return 0;
}

const char *words_trim(const char *text, size_t *length)
{
    size_t n = *length, space;
    while ((space = space_at(text, n)) > 0) {
        text += space;
        n -= space;
    }
    for (;;) {
        size_t before = n;
        for (size_t tail = 1; tail <= 3 && tail <= n; tail++) {
            if (space_at(text + n - tail, tail) == tail) {
                n -= tail;
                break;
            }
        }
        if (n == before)
            break;
    }
    *length = n;
    return text;
}

int text_compression_ratio(const char *text, size_t length, float *ratio)
{
    *ratio = 0;
    if (length == 0)
        return 0;
    z_stream z = {0};
    if (deflateInit(&z, Z_DEFAULT_COMPRESSION) != Z_OK)
        return ERR_NOMEM;
    /* Only the length of the stream matters: its bytes are thrown away. */
    unsigned char bin[512];
    z.next_in = (const Bytef *)text;
    z.avail_in = (unsigned)length;
    int rc;
    do {
        z.next_out = bin;
        z.avail_out = sizeof(bin);
        rc = deflate(&z, Z_FINISH);
    } while (rc == Z_OK || rc == Z_BUF_ERROR);
    *ratio = (float)((double)length / (double)z.total_out);
    deflateEnd(&z);
    return rc == Z_STREAM_END ? 0 : ERR_NOMEM;
}
