/* See text.h. Every writer goes through here, so damaged bytes from outside cannot reach
 * a file that promises UTF-8. */
#include "format/text.h"

#include <math.h>

#define REPLACEMENT 0xFFFD

/* Bytes that follow the lead byte, or -1; *least is the smallest code point that may be
 * written in so many bytes. */
static int continuation(unsigned char lead, uint32_t *bits, uint32_t *least)
{
    if (lead < 0x80) {
        *bits = lead;
        *least = 0;
        return 0;
    }
    if (lead >= 0xC2 && lead < 0xE0) {
        *bits = lead & 0x1F;
        *least = 0x80;
        return 1;
    }
    if (lead >= 0xE0 && lead < 0xF0) {
        *bits = lead & 0x0F;
        *least = 0x800;
        return 2;
    }
    if (lead >= 0xF0 && lead < 0xF5) {
        *bits = lead & 0x07;
        *least = 0x10000;
        return 3;
    }
    return -1;
}

uint32_t text_next(const char **text)
{
    const unsigned char *p = (const unsigned char *)*text;
    uint32_t code = 0, least = 0;
    int more = continuation(p[0], &code, &least);
    (*text)++;
    if (more < 0)
        return REPLACEMENT;
    for (int i = 1; i <= more; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return REPLACEMENT;
        code = code << 6 | (p[i] & 0x3F);
    }
    if (code < least || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return REPLACEMENT;
    *text += more;
    return code;
}

void text_put(struct buf *out, uint32_t c)
{
    char bytes[4];
    size_t n = 0;
    if (c < 0x80) {
        bytes[n++] = (char)c;
    } else if (c < 0x800) {
        bytes[n++] = (char)(0xC0 | c >> 6);
        bytes[n++] = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        bytes[n++] = (char)(0xE0 | c >> 12);
        bytes[n++] = (char)(0x80 | (c >> 6 & 0x3F));
        bytes[n++] = (char)(0x80 | (c & 0x3F));
    } else {
        bytes[n++] = (char)(0xF0 | c >> 18);
        bytes[n++] = (char)(0x80 | (c >> 12 & 0x3F));
        bytes[n++] = (char)(0x80 | (c >> 6 & 0x3F));
        bytes[n++] = (char)(0x80 | (c & 0x3F));
    }
    buf_add(out, bytes, n);
}

bool text_is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 ||
           c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

const char *text_trimmed(const char *text, size_t *length)
{
    const char *start = NULL, *end = text;
    for (const char *p = text; *p;) {
        const char *here = p;
        if (text_is_space(text_next(&p)))
            continue;
        if (!start)
            start = here;
        end = p;
    }
    *length = start ? (size_t)(end - start) : 0;
    return start ? start : text;
}

/* Code points that begin a new line in some reader. */
static bool breaks_line(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F) || c == 0x85 ||
           c == 0x2028 || c == 0x2029;
}

bool text_flat(struct buf *out, const char *text)
{
    size_t length, before = out->length;
    const char *p = text_trimmed(text, &length);
    for (const char *end = p + length; p < end;) {
        uint32_t c = text_next(&p);
        if (breaks_line(c))
            buf_char(out, ' ');
        else if (c >= 0x20 && c != 0x7F && !(c >= 0x80 && c < 0xA0))
            text_put(out, c);
    }
    return out->length > before;
}

static void add_cue(struct buf *out, const char *p, bool markup)
{
    while (*p) {
        size_t dashes = strspn(p, "-");
        if (dashes >= 2 && p[dashes] == '>') {
            buf_str(out, "->");
            p += dashes + 1;
        } else if (dashes) {
            buf_add(out, p, dashes);
            p += dashes;
        } else {
            if (markup && *p == '&')
                buf_str(out, "&amp;");
            else if (markup && *p == '<')
                buf_str(out, "&lt;");
            else
                buf_char(out, *p);
            p++;
        }
    }
}

bool text_cue(struct buf *out, const char *text, bool markup)
{
    struct buf flat;
    buf_init(&flat, out->maximum);
    bool any = text_flat(&flat, text);
    if (buf_failed(&flat))
        out->failed = true;
    else
        add_cue(out, buf_cstr(&flat), markup);
    buf_release(&flat);
    return any;
}

int64_t text_milliseconds(double seconds)
{
    /* Far beyond any recording, and far from what llrint cannot hold. */
    const double longest = 1e9;
    if (!(seconds > 0))
        return 0;
    return llrint((seconds < longest ? seconds : longest) * 1000);
}

void text_time(struct buf *out, int64_t ms, bool hours, char decimal_marker)
{
    if (hours || ms >= 3600000)
        buf_printf(out, "%02lld:", (long long)(ms / 3600000));
    buf_printf(out, "%02d:%02d%c%03d", (int)(ms / 60000 % 60), (int)(ms / 1000 % 60),
               decimal_marker, (int)(ms % 1000));
}

/* printf writes the locale's decimal sign; JSON wants a point. */
static void add_with_point(struct buf *out, const char *digits)
{
    bool in_sign = false;
    for (const char *p = digits; *p; p++) {
        bool ours = strchr("0123456789+-eE", *p) != NULL;
        if (ours)
            buf_char(out, *p);
        else if (!in_sign)
            buf_char(out, '.');
        in_sign = !ours;
    }
    if (!digits[strspn(digits, "+-0123456789")])
        buf_str(out, ".0"); /* a real number stays one */
}

void text_double(struct buf *out, double value)
{
    if (!isfinite(value)) {
        buf_str(out, "null");
        return;
    }
    char digits[40];
    for (int precision = 6; precision <= 17; precision++) {
        (void)snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    add_with_point(out, digits);
}

void text_float(struct buf *out, float value)
{
    if (!isfinite(value)) {
        buf_str(out, "null");
        return;
    }
    char digits[40];
    for (int precision = 4; precision <= 9; precision++) {
        (void)snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        if ((float)strtod(digits, NULL) == value)
            break;
    }
    add_with_point(out, digits);
}
