#include "media/record.h"

#include "base/mem.h"

_Static_assert(sizeof(struct record) == 600, "the record must have no padding");

void record_init(struct record *r)
{
    memset(r, 0, sizeof *r);
    r->magic = r->end = RECORD_MAGIC;
}

static bool code_is_expected(int code)
{
    static const int codes[] = {
        ERR_NONE,    ERR_NOMEM,       ERR_IO,        ERR_INVALID,
        ERR_CORRUPT, ERR_UNSUPPORTED, ERR_TOO_LARGE, ERR_DENIED,
        ERR_TIMEOUT, ERR_NO_AUDIO,    ERR_NOT_MEDIA,
    };
    for (size_t i = 0; i < ARRAY_LENGTH(codes); i++)
        if (codes[i] == code)
            return true;
    return false;
}

/* Names of containers and codecs: FFmpeg's are lower case words. */
static bool name_is_clean(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    if (length == size)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return true;
}

/* Length of the printable UTF-8 character at `p`, 0 when it is none. */
static size_t character_length(const unsigned char *p)
{
    if (*p < 0x20 || *p == 0x7F)
        return 0;
    if (*p < 0x80)
        return 1;
    size_t length = *p >= 0xF0 && *p <= 0xF4   ? 4
                    : *p >= 0xE0 && *p <= 0xEF ? 3
                    : *p >= 0xC2 && *p <= 0xDF ? 2
                                               : 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    /* C1 controls, overlong forms, surrogates, beyond U+10FFFF */
    if ((*p == 0xC2 && p[1] < 0xA0) || (*p == 0xE0 && p[1] < 0xA0) ||
        (*p == 0xED && p[1] > 0x9F) || (*p == 0xF0 && p[1] < 0x90) ||
        (*p == 0xF4 && p[1] > 0x8F))
        return 0;
    return length;
}

static bool message_is_clean(const char *text, size_t size)
{
    if (!memchr(text, '\0', size))
        return false;
    const unsigned char *p = (const unsigned char *)text;
    while (*p) {
        size_t length = character_length(p);
        if (!length)
            return false;
        p += length;
    }
    return true;
}

bool record_check(const void *bytes, size_t length, struct record *out)
{
    struct record r;
    if (length != sizeof r)
        return false;
    memcpy(&r, bytes, sizeof r);
    if (r.magic != RECORD_MAGIC || r.end != RECORD_MAGIC || r.reserved != 0)
        return false;
    if (!code_is_expected(r.code) || (r.flags & ~RECORD_TRUNCATED))
        return false;
    if (r.channels < 0 || r.channels > MEDIA_MAX_CHANNELS || r.rate < 0 ||
        r.rate > MEDIA_MAX_RATE)
        return false;
    if (!name_is_clean(r.container, sizeof r.container) ||
        !name_is_clean(r.codec, sizeof r.codec) ||
        !message_is_clean(r.message, sizeof r.message))
        return false;
    /* Success has samples and no sentence; failure has a sentence. */
    if (r.code == ERR_NONE ? r.samples == 0 || r.message[0] : !r.message[0])
        return false;
    *out = r;
    return true;
}
