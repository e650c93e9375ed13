#include "base/log_line.h"

#include "base/clock.h"

#include <ctype.h>
#include <string.h>

/* A text that grows up to a limit; what does not fit is left out, piece by piece. */
struct text {
    char *at;
    size_t length, capacity;
};

static bool add(struct text *t, const char *bytes, size_t length)
{
    if (length >= t->capacity - t->length)
        return false;
    memcpy(t->at + t->length, bytes, length);
    t->length += length;
    t->at[t->length] = '\0';
    return true;
}

static bool add_word(struct text *t, const char *word)
{
    return add(t, word, strlen(word));
}

/* How many bytes the character here has; 0: it is no UTF-8 (RFC 3629). */
static size_t character(const unsigned char *p)
{
    if (p[0] < 0x80)
        return 1;
    size_t length = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    bool beyond = (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF4 && p[1] > 0x8F);
    return overlong || beyond ? 0 : length;
}

/* Whether a terminal might obey it: C0 and C1, and what turns the direction of a line. */
static bool is_control(const unsigned char *p, size_t length)
{
    if (length == 1)
        return *p < 0x20 || *p == 0x7F;
    if (length == 2)
        return p[0] == 0xC2 && p[1] < 0xA0;
    return length == 3 && p[0] == 0xE2 &&
           ((p[1] == 0x80 && p[2] >= 0xA8 && p[2] <= 0xAE) ||
            (p[1] == 0x81 && p[2] >= 0xA6 && p[2] <= 0xA9));
}

static unsigned code_of(const unsigned char *p, size_t length)
{
    if (length == 1)
        return p[0];
    if (length == 2)
        return (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
    return (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
}

/* Text from outside. In JSON quotes are escaped, too. */
static void add_outside(struct text *t, const char *text, bool json)
{
    const unsigned char *p = (const unsigned char *)text;
    while (*p) {
        char escape[16];
        size_t length = character(p);
        bool fits;
        if (!length) {
            fits = add_word(t, "\xEF\xBF\xBD");
            length = 1;
        } else if (is_control(p, length)) {
            (void)snprintf(escape, sizeof escape,
                           json || length > 1 ? "\\u%04x" : "\\x%02x",
                           code_of(p, length));
            fits = add_word(t, escape);
        } else if (json && (*p == '"' || *p == '\\')) {
            const char pair[] = {'\\', (char)*p};
            fits = add(t, pair, sizeof pair);
        } else {
            fits = add(t, (const char *)p, length);
        }
        if (!fits)
            return;
        p += length;
    }
}

/* ---- JSON ---------------------------------------------------------------------------
 */

/* A member is there whole or not at all. */
static void add_member(struct text *t, const char *name, const char *value)
{
    char room[LOG_MESSAGE_BYTES * 6 + 8];
    struct text v = {room, 0, sizeof room};
    size_t before = t->length;
    add_outside(&v, value, true);
    if (add_word(t, ",\"") && add_word(t, name) && add_word(t, "\":\"") &&
        add(t, room, v.length) && add_word(t, "\""))
        return;
    t->length = before;
    t->at[before] = '\0';
}

static void add_number(struct text *t, const char *name, double value)
{
    char member[96];
    bool whole = value > -9e15 && value < 9e15 && value == (double)(long long)value;
    if (whole)
        (void)snprintf(member, sizeof member, ",\"%s\":%lld", name, (long long)value);
    else
        (void)snprintf(member, sizeof member, ",\"%s\":%.3f", name, value);
    (void)add_word(t, member);
}

size_t log_line_json(const struct log_line *l, char out[LOG_LINE_BYTES])
{
    char when[CLOCK_ISO_SIZE], head[160];
    struct text t = {out, 0, LOG_LINE_BYTES - 2};
    (void)snprintf(
        head, sizeof head, "{\"time\":\"%s\",\"level\":\"%s\",\"role\":\"%s\",\"pid\":%d",
        clock_iso(clock_wall_ms(), when), log_level_name(l->level), l->role, l->pid);
    (void)add_word(&t, head);
    if (l->job)
        add_member(&t, "job", l->job);
    if (l->request)
        add_member(&t, "request", l->request);
    add_member(&t, "message", l->message);
    for (size_t i = 0; i < l->n_fields; i++) {
        const struct log_field *f = &l->fields[i];
        if (f->text)
            add_member(&t, f->name, f->text);
        else
            add_number(&t, f->name, f->number);
    }
    t.capacity = LOG_LINE_BYTES;
    (void)add_word(&t, "}");
    return t.length;
}

/* ---- text ---------------------------------------------------------------------------
 */

static void add_tag(struct text *t, const char *name, const char *value)
{
    if (!value)
        return;
    (void)add_word(t, name);
    add_outside(t, value, false);
    (void)add_word(t, " ");
}

size_t log_line_text(const struct log_line *l, bool whole, char out[LOG_LINE_BYTES])
{
    char when[CLOCK_ISO_SIZE], head[128];
    struct text t = {out, 0, LOG_LINE_BYTES};
    out[0] = '\0';
    if (whole) {
        (void)snprintf(head, sizeof head, "%s %-7s %s[%d] ",
                       clock_iso(clock_wall_ms(), when), log_level_name(l->level),
                       l->role, l->pid);
        (void)add_word(&t, head);
    }
    add_tag(&t, "job=", l->job);
    add_tag(&t, "request=", l->request);
    add_outside(&t, l->message, false);
    return t.length;
}

/* ---- the journal --------------------------------------------------------------------
 */

/* The form with a length: whatever is in the value, it begins no field. */
static void add_field(struct text *t, const char *name, const char *value)
{
    unsigned char size[8];
    size_t length = strlen(value), before = t->length;
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)((uint64_t)length >> (8 * i));
    bool fits = true;
    for (const char *p = name; *p && fits; p++) {
        char upper = (char)toupper((unsigned char)*p);
        fits = add(t, &upper, 1);
    }
    if (!fits || !add(t, "\n", 1) || !add(t, (const char *)size, sizeof size) ||
        !add(t, value, length) || !add(t, "\n", 1))
        t->length = before;
}

static void add_own_field(struct text *t, const char *name, const char *value)
{
    char whole[80];
    (void)snprintf(whole, sizeof whole, "WHISPER_TRANSCRIBER_%s", name);
    if (value)
        add_field(t, whole, value);
}

size_t log_line_journal(const struct log_line *l, int priority, const char *message,
                        char *out, size_t capacity)
{
    struct text t = {out, 0, capacity};
    char number[32];
    (void)snprintf(number, sizeof number, "%d", priority);
    add_field(&t, "PRIORITY", number);
    add_field(&t, "MESSAGE", message);
    add_field(&t, "SYSLOG_IDENTIFIER", "whisper-transcriber");
    add_own_field(&t, "ROLE", l->role);
    add_own_field(&t, "JOB", l->job);
    add_own_field(&t, "REQUEST", l->request);
    for (size_t i = 0; i < l->n_fields; i++) {
        (void)snprintf(number, sizeof number, "%.15g", l->fields[i].number);
        add_own_field(&t, l->fields[i].name,
                      l->fields[i].text ? l->fields[i].text : number);
    }
    return t.length;
}
