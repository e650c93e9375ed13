#include "http/chunks.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#define SIZE_DIGITS_MAX 16 /* of a 64-bit number */
#define LOOK_BACK_MAX   ((size_t)64 << 10)

bool http_chunk_line_valid(const char *text, size_t length, bool first)
{
    const char *p = text, *end = text + length;
    bool ended = length >= 2 && p[0] == '\r' && p[1] == '\n';
    if (!ended && !first)
        return false;
    p += ended ? 2 : 0;
    size_t digits = 0;
    while (p < end && isxdigit((unsigned char)*p)) {
        p++;
        digits++;
    }
    if (!digits || digits > SIZE_DIGITS_MAX)
        return false;
    size_t rest = (size_t)(end - p);
    if (rest < 2 || end[-2] != '\r' || end[-1] != '\n' ||
        rest - 2 > HTTP_CHUNK_EXTENSION_MAX || (rest > 2 && *p != ';'))
        return false;
    for (; p < end - 2; p++)
        if ((unsigned char)*p < ' ' && *p != '\t')
            return false;
    return true;
}

/* Whether `to` lies behind `from` in one buffer. */
static bool is_behind(const char *from, const char *to)
{
    return from && (uintptr_t)to > (uintptr_t)from &&
           (uintptr_t)to - (uintptr_t)from <= LOOK_BACK_MAX;
}

bool http_chunks_hold(const struct http_chunks *c, const char *text)
{
    return text == c->start || is_behind(c->start, text);
}

/* The library goes through its buffer from the start, and moves what is left of it there
 * afterwards. So before a piece stands either all that came since the piece before, or
 * all of the buffer so far; and where the piece itself is at the start, nothing. */
bool http_chunks_look(struct http_chunks *c, const char *piece, size_t length)
{
    const char *before = c->end;
    c->end = piece + length;
    if (c->broken || !is_behind(c->start, piece))
        return !c->broken;
    bool good = is_behind(before, piece) &&
                http_chunk_line_valid(before, (size_t)(piece - before), false);
    good = good || http_chunk_line_valid(c->start, (size_t)(piece - c->start), true);
    c->broken = !good;
    return good;
}
