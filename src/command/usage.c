#include "command/usage.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_HELP   (1 << 18)
#define MAX_PARTS  1000
#define MAX_INDENT 12 /* deeper lines go on with the item above them */

/* ---- asking ---------------------------------------------------------------------- */

/* What `role` prints goes to the file `fd` meanwhile. */
static int run_into(const struct role *role, int fd)
{
    char name[64], flag[] = "--help";
    (void)snprintf(name, sizeof name, "%s", role->name);
    char *argv[] = {name, flag, NULL};
    (void)fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    if (saved < 0 || dup2(fd, STDOUT_FILENO) < 0) {
        if (saved >= 0)
            close(saved);
        return -1;
    }
    optind = 0; /* getopt begins anew */
    int code = role->run(2, argv);
    (void)fflush(stdout);
    (void)dup2(saved, STDOUT_FILENO);
    close(saved);
    return code;
}

int usage_read(struct usage *u, const struct role *role, struct err *e)
{
    struct buf text;
    buf_init(&text, MAX_HELP);
    int status = 0;
    FILE *file = tmpfile();
    if (!file)
        return err_errno(e, "cannot make a temporary file");
    if (run_into(role, fileno(file)))
        status = err_set(e, ERR_STATE, "`%s --help` failed", role->name);
    rewind(file);
    char piece[4096];
    for (size_t n; !status && (n = fread(piece, 1, sizeof piece, file)) > 0;)
        buf_add(&text, piece, n);
    (void)fclose(file);
    if (!status && buf_failed(&text))
        status = err_set(e, ERR_NOMEM, "out of memory");
    if (!status)
        status = usage_parse(u, buf_cstr(&text), e);
    buf_release(&text);
    return status;
}

/* ---- taking apart ---------------------------------------------------------------- */

struct reader {
    struct usage *u;
    struct buf synopsis;
    size_t capacity;        /* of u->parts */
    struct usage_part open; /* kind, and term: what `text` belongs to */
    struct buf text;
    bool any, failed;
};

static void close_part(struct reader *r)
{
    struct usage *u = r->u;
    if (!r->any)
        return;
    r->any = false;
    r->open.text = buf_take(&r->text);
    buf_init(&r->text, MAX_HELP);
    if (!r->open.text || u->count >= MAX_PARTS ||
        mem_grow(&u->parts, &r->capacity, u->count + 1, sizeof *u->parts)) {
        free(r->open.term);
        free(r->open.text);
        r->failed = true;
    } else {
        u->parts[u->count++] = r->open;
    }
    r->open = (struct usage_part){0};
}

static void open_part(struct reader *r, enum usage_kind kind, const char *term,
                      size_t length)
{
    close_part(r);
    r->open.kind = kind;
    r->open.term = term ? strndup(term, length) : NULL;
    r->failed |= term && !r->open.term;
    r->any = true;
}

static void add_text(struct reader *r, const char *text, size_t length)
{
    if (r->text.length)
        buf_char(&r->text, r->open.kind == USAGE_CODE ? '\n' : ' ');
    buf_add(&r->text, text, length);
}

/* Where the meaning begins: behind the first two spaces that follow the term. */
static size_t term_length(const char *line, size_t length)
{
    for (size_t i = 0; i + 2 < length; i++)
        if (line[i] == ' ' && line[i + 1] == ' ')
            return i;
    return length;
}

static void indented(struct reader *r, const char *line, size_t length, size_t indent)
{
    const char *text = line + indent;
    size_t rest = length - indent, term = term_length(text, rest);
    if (r->any && r->open.kind == USAGE_CODE) {
        add_text(r, text, rest);
    } else if (r->any && r->open.kind == USAGE_ITEM && indent > MAX_INDENT) {
        add_text(r, text, rest);
    } else if (indent <= MAX_INDENT && (*text == '-' || term < rest)) {
        open_part(r, USAGE_ITEM, text, term);
        while (term < rest && text[term] == ' ')
            term++;
        if (term < rest)
            add_text(r, text + term, rest - term);
    } else {
        open_part(r, USAGE_CODE, NULL, 0);
        add_text(r, text, rest);
    }
}

static const char program_name[] = "whisper-transcriber ";

static void usage_line(struct reader *r, const char *line, size_t length)
{
    size_t indent = strspn(line, " "), n = strlen(program_name);
    if (!strncmp(line, "usage: ", 7))
        indent = 7;
    bool starts = !strncmp(line + indent, program_name, n);
    if (r->synopsis.length)
        buf_char(&r->synopsis, starts ? '\n' : ' ');
    size_t skip = indent + (starts ? n : 0);
    buf_add(&r->synopsis, line + skip, length - skip);
}

static void one_line(struct reader *r, const char *line, size_t length, bool *in_usage)
{
    size_t indent = strspn(line, " ");
    if (!strncmp(line, "usage: ", 7))
        *in_usage = true;
    if (length == 0 || indent >= length) {
        *in_usage = false;
        close_part(r);
    } else if (*in_usage) {
        usage_line(r, line, length);
    } else if (indent) {
        indented(r, line, length, indent);
    } else if (line[length - 1] == ':' && !r->any) {
        open_part(r, USAGE_TITLE, line, length - 1);
        close_part(r);
    } else if (r->any && r->open.kind == USAGE_TEXT) {
        add_text(r, line, length);
    } else {
        open_part(r, USAGE_TEXT, NULL, 0);
        add_text(r, line, length);
    }
}

int usage_parse(struct usage *u, const char *text, struct err *e)
{
    *u = (struct usage){0};
    struct reader r = {.u = u};
    bool in_usage = false;
    buf_init(&r.synopsis, MAX_HELP);
    buf_init(&r.text, MAX_HELP);
    while (*text) {
        size_t length = strcspn(text, "\n");
        one_line(&r, text, length, &in_usage);
        text += length + (text[length] == '\n');
    }
    close_part(&r);
    u->synopsis = buf_take(&r.synopsis);
    buf_release(&r.text);
    if (!r.failed && u->synopsis)
        return 0;
    usage_release(u);
    return err_set(e, ERR_NOMEM, "out of memory, or a help text is too long");
}

void usage_release(struct usage *u)
{
    for (size_t i = 0; i < u->count; i++) {
        free(u->parts[i].term);
        free(u->parts[i].text);
    }
    free(u->parts);
    free(u->synopsis);
    *u = (struct usage){0};
}

/* ---- words ----------------------------------------------------------------------- */

typedef void found_word(void *context, const char *word, bool takes, const char *text);

/* "-m, --model NAME": two words, and both take a value. */
static void option_words(const struct usage_part *p, found_word *found, void *context)
{
    char word[64];
    const char *at = p->term;
    size_t last = 0;
    for (const char *s = p->term; *s; s += strcspn(s, " ,"), s += strspn(s, " ,"))
        last = (size_t)(s - p->term);
    bool takes = p->term[last] != '-';
    while (*at) {
        size_t length = strcspn(at, " ,=");
        if (*at == '-' && length < sizeof word) {
            (void)snprintf(word, sizeof word, "%.*s", (int)length, at);
            found(context, word, takes, p->text);
        }
        at += length;
        at += strspn(at, " ,=");
    }
}

static const char *meaning(const struct usage *u, const char *verb)
{
    for (size_t i = 0; i < u->count; i++)
        if (u->parts[i].kind == USAGE_ITEM && !strcmp(u->parts[i].term, verb))
            return u->parts[i].text;
    return "";
}

/* The second word of a line of the synopsis, unless it is an option or stands for a
 * value. */
static void verb_words(const struct usage *u, found_word *found, void *context)
{
    char word[64], before[64] = "";
    for (const char *line = u->synopsis; *line;) {
        const char *second = line + strcspn(line, " \n");
        second += *second == ' ';
        size_t length = strcspn(second, " \n");
        (void)snprintf(word, sizeof word, "%.*s", (int)length, second);
        if (length < sizeof word && islower((unsigned char)*word) &&
            strcmp(word, before)) {
            found(context, word, false, meaning(u, word));
            memcpy(before, word, sizeof before);
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
}

void usage_words(const struct usage *u, bool options, found_word *found, void *context)
{
    if (!options) {
        verb_words(u, found, context);
        return;
    }
    for (size_t i = 0; i < u->count; i++)
        if (u->parts[i].kind == USAGE_ITEM && u->parts[i].term[0] == '-')
            option_words(&u->parts[i], found, context);
}
