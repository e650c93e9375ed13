#include "http/disposition.h"

#include "http/params.h"

#include <ctype.h>
#include <strings.h>

#define NAME_MAX_BYTES 255

/* attr-char of RFC 8187: what may stand unescaped in an extended value. */
static bool attr_char(unsigned char c)
{
    return isalnum(c) || (c && strchr("!#$&+-.^_`|~", c));
}

void http_disposition_attachment(struct buf *out, const char *name)
{
    buf_str(out, "attachment; filename=\"");
    for (const char *p = name; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c >= 0x80 && c < 0xC0)
            continue; /* one '_' for a whole character */
        bool plain = c >= 0x20 && c < 0x7F && !strchr("\"\\%/", c);
        buf_char(out, plain ? (char)c : '_');
    }
    buf_str(out, "\"; filename*=UTF-8''");
    for (const char *p = name; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (attr_char(c))
            buf_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static const char *skip_space(const char *p)
{
    return p + strspn(p, " \t");
}

/* After the opening quote. Returns what follows the closing one, or NULL when there is
 * none; with `out` NULL it only skips. */
static const char *quoted(const char *p, struct buf *out)
{
    for (; *p && *p != '"'; p++) {
        /* Browsers send a backslash as it is, other clients escape it and the quote. */
        if (*p == '\\' && (p[1] == '"' || p[1] == '\\'))
            p++;
        if (!out)
            continue;
        if (!strncmp(p, "%22", 3) || !strncasecmp(p, "%0d", 3) ||
            !strncasecmp(p, "%0a", 3)) {
            buf_char(out, p[1] == '2'                           ? '"'
                          : tolower((unsigned char)p[2]) == 'd' ? '\r'
                                                                : '\n');
            p += 2;
        } else {
            buf_char(out, *p);
        }
    }
    return *p == '"' ? p + 1 : NULL;
}

/* charset'language'percent-encoded, of which only UTF-8 is accepted. */
static bool extended(const char *value, size_t length, struct buf *out)
{
    if (length < 7 || strncasecmp(value, "UTF-8'", 6))
        return false;
    const char *text = memchr(value + 6, '\'', length - 6);
    if (!text)
        return false;
    text++;
    char *decoded = malloc(length + 1);
    size_t left = length - (size_t)(text - value);
    bool good = decoded && !http_percent_decode(text, left, false, decoded);
    if (good)
        buf_str(out, decoded);
    free(decoded);
    return good;
}

/* The value at `p`: quoted, extended or a token. Sets *next behind it. */
static bool take_value(const char *p, const char *param, struct buf *out,
                       const char **next)
{
    bool star = param[strlen(param) - 1] == '*';
    if (*p == '"') {
        *next = quoted(p + 1, out);
        return *next && !star;
    }
    size_t length = strcspn(p, "; \t");
    *next = p + length;
    if (star)
        return extended(p, length, out);
    buf_add(out, p, length);
    return true;
}

bool http_disposition_param(const char *header, const char *param, struct buf *out)
{
    const char *p = header + strcspn(header, ";");
    while (p && *p == ';') {
        p = skip_space(p + 1);
        size_t name = strcspn(p, "=; \t");
        const char *value = skip_space(p + name);
        if (*value != '=') {
            p = value + strcspn(value, ";");
            continue;
        }
        value = skip_space(value + 1);
        if (strlen(param) == name && !strncasecmp(p, param, name))
            return take_value(value, param, out, &p);
        p = *value == '"' ? quoted(value + 1, NULL) : value + strcspn(value, ";");
        if (p)
            p = skip_space(p);
    }
    return false;
}

/* The longest piece of text[length] that fits `room` and ends at a character. */
static size_t cut(const char *text, size_t length, size_t room)
{
    if (length <= room)
        return length;
    while (room > 0 && ((unsigned char)text[room] & 0xC0) == 0x80)
        room--;
    return room;
}

void http_display_name(struct buf *out, const char *name)
{
    const char *last = name;
    for (const char *p = name; *p; p++)
        if (*p == '/' || *p == '\\')
            last = p + 1;
    struct buf clean;
    buf_init(&clean, 4 * strlen(last) + 1);
    http_utf8_repair(&clean, last, strlen(last));
    for (size_t i = 0; i < clean.length; i++)
        if ((unsigned char)clean.data[i] < 0x20 || clean.data[i] == 0x7F)
            clean.data[i] = '_';
    const char *text = buf_cstr(&clean);
    const char *dot = strrchr(text, '.');
    size_t ending = dot && strlen(dot) <= 16 ? strlen(dot) : 0;
    size_t stem = strlen(text) - ending;
    buf_add(out, text, cut(text, stem, NAME_MAX_BYTES - ending));
    buf_add(out, text + stem, ending);
    buf_release(&clean);
}
