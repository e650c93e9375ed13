#include "media/kind.h"

#include "base/mem.h"

#include <stdbool.h>

static const struct start {
    size_t offset;
    const char *bytes;
    size_t length;
    const char *type;
} starts[] = {
    {8, "WAVE", 4, "audio/wav"}, /* RIFF or RF64 before it */
    {0, "ID3", 3, "audio/mpeg"},
    {0, "fLaC", 4, "audio/flac"},
    {0, "OggS", 4, "audio/ogg"},
    {0, "#!AMR", 5, "audio/amr"},
    {8, "AIFF", 4, "audio/aiff"},
    {4, "ftypM4A", 7, "audio/mp4"},
    {4, "ftypqt", 6, "video/quicktime"},
    {4, "ftyp", 4, "video/mp4"},
    {0, "\x1A\x45\xDF\xA3", 4, "video/webm"}, /* Matroska, of which WebM is a part */
};

/* A frame of MPEG audio or of AAC begins with eleven ones, then version and layer. */
static const char *by_sync(const uint8_t *head, size_t length)
{
    if (length < 2 || head[0] != 0xFF || (head[1] & 0xE0) != 0xE0)
        return NULL;
    if ((head[1] & 0xF6) == 0xF0)
        return "audio/aac";
    bool has_layer = (head[1] & 0x06) != 0, has_version = (head[1] & 0x18) != 0x08;
    return has_layer && has_version ? "audio/mpeg" : NULL;
}

const char *media_kind(const uint8_t *head, size_t length)
{
    for (size_t i = 0; i < ARRAY_LENGTH(starts); i++) {
        const struct start *s = &starts[i];
        if (s->offset + s->length <= length &&
            !memcmp(head + s->offset, s->bytes, s->length))
            return s->type;
    }
    const char *type = by_sync(head, length);
    return type ? type : "application/octet-stream";
}
