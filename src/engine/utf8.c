#include "engine/utf8.h"

#define REPLACEMENT "\xEF\xBF\xBD"

/* Bytes of the character that `lead` begins (0: none does), and the range that its second
 * byte must lie in: it excludes overlong forms, surrogates and what is above U+10FFFF. */
static int sequence(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Bytes at `at` that belong together: a character when *whole, else what is damaged. */
static size_t part_at(const uint8_t *bytes, size_t length, size_t at, bool *whole)
{
    uint8_t low, high;
    size_t needed = (size_t)sequence(bytes[at], &low, &high), have = 1;
    while (have < needed && at + have < length && bytes[at + have] >= low &&
           bytes[at + have] <= high) {
        have++;
        low = 0x80;
        high = 0xBF;
    }
    *whole = needed && have == needed;
    return have;
}

void utf8_repair(struct buf *out, const char *text, size_t length)
{
    bool whole;
    for (size_t at = 0, have; at < length; at += have) {
        have = part_at((const uint8_t *)text, length, at, &whole);
        if (whole)
            buf_add(out, text + at, have);
        else
            buf_str(out, REPLACEMENT);
    }
}

size_t utf8_unfinished(const char *text, size_t length)
{
    const uint8_t *bytes = (const uint8_t *)text;
    uint8_t low, high;
    bool whole;
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        size_t at = length - back;
        if (bytes[at] >= 0x80 && bytes[at] < 0xC0)
            continue; /* continues a character */
        size_t needed = (size_t)sequence(bytes[at], &low, &high);
        return needed > back && part_at(bytes, length, at, &whole) == back ? back : 0;
    }
    return 0;
}

uint32_t utf8_next(const char *text, size_t length, size_t *at)
{
    const uint8_t *bytes = (const uint8_t *)text + *at;
    bool whole;
    size_t have = part_at((const uint8_t *)text, length, *at, &whole);
    *at += have;
    if (!whole)
        return 0xFFFD;
    if (have == 1)
        return bytes[0];
    uint32_t code = bytes[0] & (0x7Fu >> have);
    for (size_t i = 1; i < have; i++)
        code = code << 6 | (bytes[i] & 0x3Fu);
    return code;
}
