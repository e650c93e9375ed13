#include "media/plain.h"

#include "base/mem.h"
#include "media/record.h"

/* As many chunks are looked at. */
#define MAX_CHUNKS 64
/* Samples that are read at once. */
#define BLOCK 8192

struct chunk {
    uint8_t head[8];
    int64_t at, size; /* of what it holds */
};

/* What a program writes that does not know how long its sound will be. */
#define ENDLESS INT64_C(0xFFFFFFFF)

/* The chunk that begins at `at`, if it is whole; one without an end has the rest. */
static bool read_chunk(const struct source_io *io, int64_t at, struct chunk *c)
{
    if (at > io->size - 8 || source_read(io, at, c->head, 8) != 8)
        return false;
    c->at = at + 8;
    c->size = (int64_t)c->head[4] | (int64_t)c->head[5] << 8 | (int64_t)c->head[6] << 16 |
              (int64_t)c->head[7] << 24;
    if (c->size == ENDLESS)
        c->size = io->size - c->at;
    return c->size <= io->size - c->at;
}

static bool is(const struct chunk *c, const char name[5])
{
    return !memcmp(c->head, name, 4);
}

/* Titles and the like, which no reader of sound looks into. */
static bool is_note(const struct chunk *c)
{
    static const char names[][5] = {"LIST", "fact", "bext", "JUNK", "junk", "PAD ",
                                    "cue ", "id3 ", "ID3 ", "iXML", "_PMX", "PEAK"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        if (is(c, names[i]))
            return true;
    return false;
}

bool plain_find(const struct source_io *io, struct plain *out)
{
    /* PCM, 1 channel, 16000 Hz, 32000 bytes a second, 2 bytes a sample, 16 bits. */
    static const uint8_t wanted[16] = {1,    0,    1, 0, 0x80, 0x3E, 0,  0,
                                       0x00, 0x7D, 0, 0, 2,    0,    16, 0};
    uint8_t head[12], format[16];
    struct chunk c;
    *out = (struct plain){0};
    if (source_read(io, 0, head, sizeof head) != (int)sizeof head ||
        memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0)
        return false;
    if (!read_chunk(io, 12, &c) || !is(&c, "fmt ") || c.size != (int64_t)sizeof format ||
        source_read(io, c.at, format, sizeof format) != (int)sizeof format ||
        memcmp(format, wanted, sizeof wanted) != 0)
        return false;
    for (int i = 0; i < MAX_CHUNKS; i++) {
        int64_t next = c.at + c.size + (c.size & 1);
        if (next >= io->size)
            return out->count > 0;
        if (!read_chunk(io, next, &c))
            return false;
        if (is(&c, "data") && !out->count && c.size >= 2 && c.size % 2 == 0)
            *out = (struct plain){c.at, c.size / 2};
        else if (!is_note(&c))
            return false;
    }
    return false;
}

static int read_block(const struct source_io *io, const struct plain *p, int64_t from,
                      float *out, int count)
{
    uint8_t bytes[BLOCK * 2];
    int n = source_read(io, p->at + from * 2, bytes, count * 2);
    for (int i = 0; i < n / 2; i++) {
        int value = bytes[2 * i] | bytes[2 * i + 1] << 8;
        out[i] = (float)(value < 32768 ? value : value - 65536) / 32768;
    }
    return n < 0 ? n : n / 2;
}

int plain_read(const struct source_io *io, const struct plain *p, int64_t from,
               float *out, int count)
{
    int have = 0;
    if (count > p->count - from)
        count = (int)(p->count - from);
    while (have < count) {
        int wanted = count - have < BLOCK ? count - have : BLOCK;
        int n = read_block(io, p, from + have, out + have, wanted);
        if (n < 0)
            return n;
        have += n;
        if (n < wanted)
            break;
    }
    return have;
}
