#include "base/config_file.h"

#include "base/fs.h"
#include "base/mem.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>

#define NAME_MAX_BYTES 80

struct reader {
    const char *at, *end;
    int line;
    struct err *e;
};

static int refuse(struct reader *r, const char *why)
{
    return err_set(r->e, ERR_INVALID, "line %d: %s", r->line, why);
}

/* ---- bytes ----------------------------------------------------------------------- */

/* The length of the character at `s`, or 0 when it is none of UTF-8. */
static size_t character(const unsigned char *s, size_t left)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (n == 0 || n > left || s[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    bool beyond = (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF4 && s[1] > 0x8F);
    return overlong || beyond ? 0 : n;
}

static int check_bytes(const struct reader *from)
{
    struct reader r = *from;
    while (r.at < r.end) {
        unsigned char c = (unsigned char)*r.at;
        size_t n = character((const unsigned char *)r.at, (size_t)(r.end - r.at));
        if (n == 0)
            return refuse(&r, "this is not UTF-8");
        if ((c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7F)
            return refuse(&r, "there is a control character in it");
        if (c == '\r' && (r.at + 1 == r.end || r.at[1] != '\n'))
            return refuse(&r, "there is a carriage return in it");
        r.line += c == '\n';
        r.at += n;
    }
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && is_blank(*r->at))
        r->at++;
}

static bool at_line_end(const struct reader *r)
{
    return r->at == r->end || *r->at == '\n';
}

/* ---- values ---------------------------------------------------------------------- */

static int single_quoted(struct reader *r, struct buf *out)
{
    for (r->at++; !at_line_end(r); r->at++) {
        if (*r->at == '\'') {
            r->at++;
            return 0;
        }
        buf_char(out, *r->at);
    }
    return refuse(r, "the quote ' is not closed on this line");
}

static int double_quoted(struct reader *r, struct buf *out)
{
    for (r->at++; !at_line_end(r); r->at++) {
        char c = *r->at;
        if (c == '"') {
            r->at++;
            return 0;
        }
        if (c == '\\') {
            r->at++;
            if (at_line_end(r) || !strchr("\"\\$`", *r->at))
                return refuse(r, "in double quotes, \\ may stand before \", \\, $ and ` "
                                 "only; use single quotes for other text with a \\");
            c = *r->at;
        }
        buf_char(out, c);
    }
    return refuse(r, "the quote \" is not closed on this line");
}

/* At a backslash: it must end its line, and what follows belongs to the same value. */
static int join_lines(struct reader *r)
{
    r->at++;
    if (r->at < r->end && *r->at == '\n') {
        r->at++;
        r->line++;
        return 0;
    }
    return refuse(r, "a \\ may only end a line that goes on; put a value with a \\ in "
                     "single quotes");
}

static int unquoted(struct reader *r, struct buf *out)
{
    size_t used = 0; /* without the blanks at the end */
    while (!at_line_end(r)) {
        char c = *r->at;
        if (c == '\\') {
            int status = join_lines(r);
            if (status)
                return status;
            used = out->length; /* as systemd does: blanks before it are kept */
            continue;
        }
        if (c == '\'' || c == '"')
            return refuse(r, "a quote in the middle of a value; put quotes around all of "
                             "it, or around nothing");
        if (c == '#' && out->length > used)
            return refuse(r, "a comment needs a line of its own; a value with \" #\" in "
                             "it needs quotes");
        buf_char(out, c);
        if (!is_blank(c))
            used = out->length;
        r->at++;
    }
    if (out->data && !out->failed) {
        out->length = used;
        out->data[used] = '\0';
    }
    return 0;
}

static int read_value(struct reader *r, struct buf *out)
{
    skip_blanks(r);
    if (at_line_end(r))
        return 0;
    if (*r->at != '\'' && *r->at != '"')
        return unquoted(r, out);
    int status = *r->at == '"' ? double_quoted(r, out) : single_quoted(r, out);
    skip_blanks(r);
    if (!status && !at_line_end(r))
        return refuse(r, "there is something behind the closing quote");
    return status;
}

/* ---- lines ----------------------------------------------------------------------- */

static int read_name(struct reader *r, char name[NAME_MAX_BYTES])
{
    size_t n = 0;
    while (r->at < r->end && (isalnum((unsigned char)*r->at) || *r->at == '_')) {
        if (n + 1 >= NAME_MAX_BYTES)
            return refuse(r, "this name is too long for a setting");
        name[n++] = *r->at++;
    }
    name[n] = '\0';
    skip_blanks(r);
    if (n && r->at < r->end && *r->at == '=') {
        r->at++;
        return 0;
    }
    if (!strcmp(name, "export"))
        return refuse(r, "this is no script: write NAME=value without `export`");
    return refuse(r, "this is not NAME=value, and a comment begins with #");
}

static int comment(struct reader *r)
{
    while (!at_line_end(r))
        r->at++;
    const char *last = r->at - 1;
    if (*last == '\r')
        last--;
    /* Older ones among systemd's versions took the next line for a comment, too. */
    return *last == '\\' ? refuse(r, "a comment must not end with a \\") : 0;
}

static int add_line(struct config_file *f, struct reader *r, const char *name, int line,
                    struct buf *value)
{
    const struct config_line *other = config_file_find(f, name);
    if (other)
        return err_set(r->e, ERR_INVALID, "%s stands in line %d and in line %d: keep one",
                       name, other->line, line);
    if (mem_grow(&f->lines, &f->capacity, f->count + 1, sizeof *f->lines))
        return err_set(r->e, ERR_NOMEM, "out of memory");
    struct config_line *l = &f->lines[f->count];
    *l = (struct config_line){strdup(name), buf_take(value), line};
    f->count++;
    return l->name && l->value ? 0 : err_set(r->e, ERR_NOMEM, "out of memory");
}

static int read_setting(struct config_file *f, struct reader *r)
{
    char name[NAME_MAX_BYTES];
    struct buf value;
    int line = r->line, status = read_name(r, name);
    if (status)
        return status;
    buf_init(&value, CONFIG_FILE_MAX);
    status = read_value(r, &value);
    if (!status)
        status = add_line(f, r, name, line, &value);
    buf_release(&value);
    return status;
}

int config_file_parse(struct config_file *f, const char *text, size_t length,
                      struct err *e)
{
    struct reader r = {text, text + length, 1, e};
    *f = (struct config_file){0};
    int status = check_bytes(&r);
    while (!status && r.at < r.end) {
        skip_blanks(&r);
        if (!at_line_end(&r))
            status = *r.at == '#' || *r.at == ';' ? comment(&r) : read_setting(f, &r);
        if (!status && r.at < r.end) {
            r.at++;
            r.line++;
        }
    }
    if (status)
        config_file_release(f);
    return status;
}

int config_file_read(struct config_file *f, const char *path, struct err *e)
{
    struct buf text;
    *f = (struct config_file){0};
    buf_init(&text, CONFIG_FILE_MAX);
    int status = fs_read(path, &text, e);
    if (!status) {
        status = config_file_parse(f, buf_cstr(&text), text.length, e);
        if (status)
            err_prefix(e, "%s", path);
    }
    buf_release(&text);
    return status;
}

void config_file_release(struct config_file *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->lines[i].name);
        free(f->lines[i].value);
    }
    free(f->lines);
    *f = (struct config_file){0};
}

const struct config_line *config_file_find(const struct config_file *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++)
        if (!strcmp(f->lines[i].name, name))
            return &f->lines[i];
    return NULL;
}
