#include "engine/utf8.h"

#include <stdint.h>

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

void utf8_repair(struct buf *out, const char *text, size_t length)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t at = 0;
    while (at < length) {
        uint8_t low, high;
        size_t needed = (size_t)sequence(bytes[at], &low, &high);
        size_t have = 1;
        while (have < needed && at + have < length && bytes[at + have] >= low &&
               bytes[at + have] <= high) {
            have++;
            low = 0x80;
            high = 0xBF;
        }
        if (needed && have == needed)
            buf_add(out, text + at, have);
        else
            buf_str(out, REPLACEMENT);
        at += have;
    }
}
