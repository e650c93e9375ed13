#include "http/head.h"

#include <ctype.h>
#include <microhttpd.h>
#include <strings.h>

/* What the library makes of a head has to be looked at again: 0.9.75 takes a bare LF for
 * the end of a line, and joins folded lines, and has no switch against either. But it
 * parses in place, and names and values point into the bytes that came. So a head of the
 * one right form is a chain without a gap: the version, the end of its line, a name, NUL,
 * spaces, its value, the end of its line, the next name …, and the empty line at the very
 * end. Whatever is not such a chain is refused, so that a library that worked otherwise
 * would be seen at the first test.
 *
 * Of CR LF, 0.9 leaves two NULs; 1.0 leaves a NUL and the LF, and where spaces stand in
 * front, the CR, too. Neither leaves what the other does: 0.9 no LF in a head, 1.0 no NUL
 * that came, as it refuses that (and whatever else is ambiguous) when it is told to be
 * strict. The first line's end says which it is.
 *
 * What leaves the very same bytes behind cannot be told apart, with 0.9: a NUL and a LF
 * for CR LF, and at the end a line without a name, "LF : CR LF" or "CR LF : LF". */
struct walk {
    const char *next; /* where the next name must begin; NULL: broken before */
    const char *end;  /* of the head */
    bool keeps_lf;    /* the library */
    size_t count, bytes;
    bool broken;
    struct http_head *to; /* NULL: only look */
    char *at;
};

static bool is_token(const char *name)
{
    if (!*name)
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("!#$%&'*+-.^_`|~", *name))
            return false;
    return true;
}

/* What follows the line that this NUL ends; NULL when it did not end with CR and LF. */
static const char *next_line(const struct walk *w, const char *nul)
{
    const char *at = nul + 1;
    if (!w->keeps_lf)
        return at < w->end && !*at ? at + 1 : NULL;
    if (at < w->end && *at == '\n')
        return at + 1;
    while (at < w->end && (*at == ' ' || *at == '\t'))
        at++;
    return w->end - at >= 2 && at[0] == '\r' && at[1] == '\n' ? at + 2 : NULL;
}

static bool is_empty_line(const struct walk *w)
{
    const char *at = w->next;
    if (!at || w->end - at != 2)
        return false;
    return w->keeps_lf ? at[0] == '\r' && at[1] == '\n' : !at[0] && !at[1];
}

static enum MHD_Result look(void *arg, enum MHD_ValueKind kind, const char *name,
                            const char *value)
{
    (void)kind;
    struct walk *w = arg;
    if (!value) {
        w->broken = true;
        return MHD_YES;
    }
    w->broken = w->broken || name != w->next || !is_token(name) || strchr(value, '\r');
    w->next = next_line(w, value + strlen(value));
    w->count++;
    w->bytes += strlen(name) + strlen(value) + 2;
    return MHD_YES;
}

static const char *copy_text(struct walk *w, const char *text)
{
    char *copy = w->at;
    size_t size = strlen(text) + 1;
    memcpy(copy, text, size);
    w->at += size;
    return copy;
}

static enum MHD_Result copy(void *arg, enum MHD_ValueKind kind, const char *name,
                            const char *value)
{
    (void)kind;
    struct walk *w = arg;
    struct http_field *field = &w->to->list[w->to->count++];
    field->name = copy_text(w, name);
    field->value = copy_text(w, value);
    return MHD_YES;
}

size_t http_head_size(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info ? info->header_size : 0;
}

static int refuse(struct http_response *refusal, int status, const char *sentence)
{
    http_respond_error(refusal, status, status == 431 ? "too_large" : "bad_request", "%s",
                       sentence);
    return status == 431 ? ERR_TOO_LARGE : ERR_INVALID;
}

int http_head_copy(struct http_head **out, struct MHD_Connection *connection,
                   const char *method, const char *version, struct http_response *refusal)
{
    size_t size = http_head_size(connection);
    const char *line_end = version + strlen(version);
    struct walk w = {.end = method + size, .keeps_lf = line_end[1] == '\n'};
    w.next = next_line(&w, line_end);
    MHD_get_connection_values(connection, MHD_HEADER_KIND, look, &w);
    if (size > HTTP_HEAD_BYTES)
        return refuse(refusal, 431, "the request's head is too long: at most 16 KiB");
    if (w.count > HTTP_HEAD_FIELDS)
        return refuse(refusal, 431, "the request has too many headers: at most 100");
    if (w.broken || !is_empty_line(&w))
        return refuse(refusal, 400,
                      "the request's head is malformed: each line ends with CR and LF, "
                      "none is folded, and no name holds a space");
    w.to = calloc(1, sizeof *w.to + w.count * sizeof *w.to->list + w.bytes);
    if (!w.to) {
        http_respond_error(refusal, 500, "out_of_memory", "out of memory");
        return ERR_NOMEM;
    }
    w.at = (char *)&w.to->list[w.count];
    MHD_get_connection_values(connection, MHD_HEADER_KIND, copy, &w);
    *out = w.to;
    return 0;
}

const char *http_head_get(const struct http_head *head, const char *name)
{
    for (size_t i = 0; head && i < head->count; i++)
        if (!strcasecmp(head->list[i].name, name))
            return head->list[i].value;
    return NULL;
}
