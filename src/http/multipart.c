#include "http/multipart.h"

#include "base/buf.h"
#include "http/disposition.h"
#include "http/params.h"

#include <ctype.h>
#include <strings.h>

#define BOUNDARY_MAX 70 /* RFC 2046 */

enum state {
    PREAMBLE, /* before the first boundary: ignored */
    BOUNDARY, /* behind a boundary: "--", or spaces and CRLF */
    HEAD,
    BODY,
    EPILOGUE, /* behind the closing boundary: ignored */
};

struct multipart {
    enum state state;
    struct multipart_callbacks callbacks;
    /* "\r\n--" and the boundary. No boundary holds a CR, so a failed match can only begin
     * again at a CR: there is nothing to back up but what has matched. */
    char delimiter[4 + BOUNDARY_MAX + 1];
    size_t delimiter_length;
    size_t matched; /* bytes of the delimiter seen */
    size_t phantom; /* of these, bytes that are not the part's: see begin_part */
    char tail[2];   /* what follows a boundary */
    size_t tail_length;
    struct buf head;
    int parts;
};

/* bchars of RFC 2046; a space is allowed inside. */
static bool boundary_valid(const char *b)
{
    size_t length = strlen(b);
    if (length < 1 || length > BOUNDARY_MAX || b[length - 1] == ' ')
        return false;
    for (; *b; b++)
        if (!isalnum((unsigned char)*b) && !strchr("'()+_,-./:=? ", *b))
            return false;
    return true;
}

int multipart_new(struct multipart **out, const char *content_type,
                  const struct multipart_callbacks *callbacks, struct err *e)
{
    static const char type[] = "multipart/form-data";
    if (!content_type || strncasecmp(content_type, type, sizeof type - 1) ||
        (content_type[sizeof type - 1] && !strchr("; \t", content_type[sizeof type - 1])))
        return err_set(e, ERR_UNSUPPORTED,
                       "send the recording as a form: Content-Type multipart/form-data "
                       "with a part named \"file\"");
    struct buf boundary;
    buf_init(&boundary, 512);
    bool good = http_disposition_param(content_type, "boundary", &boundary) &&
                !buf_failed(&boundary) && boundary_valid(buf_cstr(&boundary));
    struct multipart *m = good ? calloc(1, sizeof *m) : NULL;
    if (m) {
        m->callbacks = *callbacks;
        m->delimiter_length = (size_t)snprintf(m->delimiter, sizeof m->delimiter,
                                               "\r\n--%s", buf_cstr(&boundary));
        m->matched = 2; /* the body may begin with the boundary itself */
        buf_init(&m->head, MULTIPART_HEAD_MAX);
        *out = m;
    }
    bool starved = buf_starved(&boundary) || (good && !m);
    buf_release(&boundary);
    if (starved)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (!good)
        return err_set(e, ERR_INVALID,
                       "the form's boundary is missing or malformed in Content-Type");
    return 0;
}

void multipart_free(struct multipart *m)
{
    if (!m)
        return;
    buf_release(&m->head);
    free(m);
}

static int emit(struct multipart *m, const char *bytes, size_t length, struct err *e)
{
    if (m->state == PREAMBLE || length == 0)
        return 0;
    return m->callbacks.data(m->callbacks.arg, bytes, length, e);
}

/* How many bytes come before the delimiter, or before what may be its beginning. Carriage
 * returns are frequent in recordings: to stop at each would hand them on in crumbs. */
static size_t ordinary(const struct multipart *m, const char *bytes, size_t length)
{
    const char *found = memmem(bytes, length, m->delimiter, m->delimiter_length);
    if (found)
        return (size_t)(found - bytes);
    /* A delimiter has one carriage return, its first byte. */
    size_t tail = length < m->delimiter_length ? length : m->delimiter_length - 1;
    const char *cr = memrchr(bytes + length - tail, '\r', tail);
    size_t rest = cr ? (size_t)(bytes + length - cr) : 0;
    return cr && !memcmp(cr, m->delimiter, rest) ? length - rest : length;
}

/* PREAMBLE and BODY: hand on everything up to the delimiter. Returns how many bytes were
 * used, or an error. */
static ssize_t search(struct multipart *m, const char *bytes, size_t length,
                      struct err *e)
{
    size_t i = 0;
    while (i < length && m->matched < m->delimiter_length) {
        if (bytes[i] == m->delimiter[m->matched]) {
            m->matched++;
            i++;
        } else if (m->matched) {
            size_t phantom = m->phantom, held = m->matched - phantom;
            m->matched = m->phantom = 0;
            int status = emit(m, m->delimiter + phantom, held, e);
            if (status)
                return status;
        } else {
            size_t run = ordinary(m, bytes + i, length - i);
            int status = emit(m, bytes + i, run, e);
            if (status)
                return status;
            i += run;
        }
    }
    if (m->matched < m->delimiter_length)
        return (ssize_t)i;
    int status = m->state == BODY ? m->callbacks.end(m->callbacks.arg, e) : 0;
    m->state = BOUNDARY;
    m->matched = m->phantom = 0;
    m->tail_length = 0;
    return status ? status : (ssize_t)i;
}

/* BOUNDARY: one byte of what follows it. */
static int after_boundary(struct multipart *m, char c, struct err *e)
{
    if (m->tail_length == 0 && (c == ' ' || c == '\t'))
        return 0; /* transport padding */
    m->tail[m->tail_length++] = c;
    if (m->tail_length < 2)
        return 0;
    if (!memcmp(m->tail, "--", 2)) {
        m->state = EPILOGUE;
    } else if (!memcmp(m->tail, "\r\n", 2)) {
        if (++m->parts > MULTIPART_PARTS_MAX)
            return err_set(e, ERR_TOO_LARGE, "the form has more than %d parts",
                           MULTIPART_PARTS_MAX);
        buf_reset(&m->head);
        m->state = HEAD;
    } else {
        return err_set(e, ERR_INVALID,
                       "the form is malformed: a boundary is followed by other bytes");
    }
    return 0;
}

/* The value of a header line of the part, trimmed; NULL when there is none, or (*starved)
 * no memory for it. */
static char *header_value(const char *head, const char *name, bool *starved)
{
    size_t length = strlen(name);
    for (const char *line = head; *line;) {
        size_t n = strcspn(line, "\r");
        if (!strncasecmp(line, name, length) && line[length] == ':') {
            const char *value = line + length + 1;
            const char *end = line + n;
            while (value < end && (*value == ' ' || *value == '\t'))
                value++;
            while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
                end--;
            char *copy = strndup(value, (size_t)(end - value));
            *starved |= !copy;
            return copy;
        }
        line += n;
        line += strspn(line, "\r\n");
    }
    return NULL;
}

/* What Content-Disposition says of the part; the buffers are the caller's. */
static int read_disposition(const char *head, struct buf *name, struct buf *filename,
                            bool *is_file, struct err *e)
{
    bool starved = false;
    char *disposition = header_value(head, "Content-Disposition", &starved);
    bool good = disposition && !strncasecmp(disposition, "form-data", 9) &&
                http_disposition_param(disposition, "name", name);
    if (good) {
        *is_file = http_disposition_param(disposition, "filename*", filename);
        if (!*is_file) {
            buf_reset(filename);
            *is_file = http_disposition_param(disposition, "filename", filename);
        }
    }
    free(disposition);
    if (starved || buf_starved(name) || buf_starved(filename))
        return err_set(e, ERR_NOMEM, "out of memory");
    return good ? 0
                : err_set(e, ERR_INVALID,
                          "a part of the form has no \"Content-Disposition: form-data\" "
                          "with a name");
}

static int begin_part(struct multipart *m, struct err *e)
{
    const char *head = buf_cstr(&m->head);
    if (strlen(head) != m->head.length)
        return err_set(e, ERR_INVALID, "the header of a part of the form holds a NUL");
    struct buf name, filename, repaired_name, repaired;
    buf_init(&name, MULTIPART_HEAD_MAX);
    buf_init(&filename, MULTIPART_HEAD_MAX);
    buf_init(&repaired_name, 3 * MULTIPART_HEAD_MAX);
    buf_init(&repaired, 3 * MULTIPART_HEAD_MAX);
    bool is_file = false, starved = false;
    int status = read_disposition(head, &name, &filename, &is_file, e);
    char *type = header_value(head, "Content-Type", &starved);
    if (!status) {
        http_utf8_repair(&repaired_name, buf_cstr(&name), name.length);
        http_utf8_repair(&repaired, buf_cstr(&filename), filename.length);
        struct multipart_part part = {
            .name = buf_cstr(&repaired_name),
            .filename = is_file ? buf_cstr(&repaired) : NULL,
            .content_type = type ? type : "",
        };
        status = starved || buf_failed(&repaired_name) || buf_failed(&repaired)
                     ? err_set(e, ERR_NOMEM, "out of memory")
                     : m->callbacks.begin(m->callbacks.arg, &part, e);
    }
    free(type);
    buf_release(&name);
    buf_release(&filename);
    buf_release(&repaired_name);
    buf_release(&repaired);
    m->state = BODY;
    /* An empty part may end with the CRLF that closed its header. */
    m->matched = m->phantom = 2;
    return status;
}

static int add_head(struct multipart *m, char c, struct err *e)
{
    buf_char(&m->head, c);
    if (buf_starved(&m->head))
        return err_set(e, ERR_NOMEM, "out of memory");
    if (buf_failed(&m->head))
        return err_set(e, ERR_TOO_LARGE,
                       "the header of a part of the form is longer than %d bytes",
                       MULTIPART_HEAD_MAX);
    size_t n = m->head.length;
    bool ended = n >= 2 && !memcmp(m->head.data + n - 2, "\r\n", 2) &&
                 (n == 2 || (n >= 4 && !memcmp(m->head.data + n - 4, "\r\n", 2)));
    return ended ? begin_part(m, e) : 0;
}

int multipart_feed(struct multipart *m, const void *bytes, size_t length, struct err *e)
{
    const char *at = bytes;
    while (length > 0) {
        if (m->state == EPILOGUE)
            return 0;
        ssize_t used = 1;
        int status = 0;
        if (m->state == BOUNDARY)
            status = after_boundary(m, *at, e);
        else if (m->state == HEAD)
            status = add_head(m, *at, e);
        else
            used = search(m, at, length, e);
        if (status || used < 0)
            return status ? status : (int)used;
        at += used;
        length -= (size_t)used;
    }
    return 0;
}

int multipart_finish(struct multipart *m, struct err *e)
{
    if (m->state == EPILOGUE)
        return 0;
    return err_set(e, ERR_INVALID,
                   m->state == PREAMBLE
                       ? "the body holds no form: its boundary was not found"
                       : "the form ended before its closing boundary: the upload was cut "
                         "short");
}
