/* What is in the bucket, a page at a time. */
#include "base/mem.h"
#include "s3/request.h"
#include "s3/xml.h"

#include <time.h>

#define TEXT_SIZE  1200
#define QUERY_SIZE (6 * TEXT_SIZE)

/* A page that is being read. */
struct page {
    const char *item; /* "Contents" or "Upload" */
    s3_entry_fn fn;
    void *arg;
    struct err *e;
    int64_t now_ms; /* the server's */
    int status;     /* of fn */
    char key[TEXT_SIZE], upload_id[TEXT_SIZE];
    int64_t bytes, time_ms;
    bool more;
    char next[TEXT_SIZE], next_id[TEXT_SIZE]; /* where the next one begins */
};

/* "2026-08-01T12:00:00.000Z" */
static int64_t parse_time(const char *text)
{
    struct tm tm = {0};
    int year, month;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &year, &month, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec) != 6)
        return 0;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    return (int64_t)timegm(&tm) * 1000;
}

static int on_item(struct page *p)
{
    /* Of what has no time nobody knows the age: it is taken for new. */
    const struct s3_entry entry = {
        .key = p->key,
        .upload_id = p->upload_id,
        .bytes = p->bytes,
        .age_ms = p->time_ms && p->now_ms > p->time_ms ? p->now_ms - p->time_ms : 0,
    };
    p->status = *p->key ? p->fn(p->arg, &entry, p->e) : 0;
    p->key[0] = p->upload_id[0] = '\0';
    p->bytes = p->time_ms = 0;
    return p->status;
}

static void set(char out[TEXT_SIZE], const char *text)
{
    /* A key that is longer than S3 allows is not ours. */
    (void)snprintf(out, TEXT_SIZE, "%s", strlen(text) < TEXT_SIZE ? text : "");
}

static int on_element(void *arg, const char *name, const char *parent, const char *text)
{
    struct page *p = arg;
    if (!strcmp(name, p->item))
        return on_item(p);
    if (!strcmp(parent, p->item)) {
        if (!strcmp(name, "Key"))
            set(p->key, text);
        else if (!strcmp(name, "UploadId"))
            set(p->upload_id, text);
        else if (!strcmp(name, "Size"))
            p->bytes = strtoll(text, NULL, 10);
        else if (!strcmp(name, "LastModified") || !strcmp(name, "Initiated"))
            p->time_ms = parse_time(text);
    } else if (!strcmp(name, "IsTruncated")) {
        p->more = !strcmp(text, "true");
    } else if (!strcmp(name, "NextContinuationToken") || !strcmp(name, "NextKeyMarker")) {
        set(p->next, text);
    } else if (!strcmp(name, "NextUploadIdMarker")) {
        set(p->next_id, text);
    }
    return 0;
}

static void add_parameter(char *out, const char *name, const char *value)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t at = strlen(out);
    at += (size_t)snprintf(out + at, QUERY_SIZE - at, "%s%s=", at ? "&" : "", name);
    for (; *value && at + 4 < QUERY_SIZE; value++) {
        if (strchr(plain, *value))
            out[at++] = *value;
        else
            at += (size_t)snprintf(out + at, QUERY_SIZE - at, "%%%02X",
                                   (unsigned char)*value);
    }
    out[at] = '\0';
}

static int read_page(struct s3 *s, const char *query, struct page *p, struct err *e)
{
    const struct s3_request r = {.method = "GET", .query = query, .first = -1};
    struct s3_answer a;
    int status = s3_perform(s, &r, &a, e);
    p->now_ms = a.date_ms;
    p->more = false;
    if (!status)
        status = s3_xml_parse(buf_cstr(&a.text), a.text.length, on_element, p, e);
    s3_answer_release(&a);
    if (p->status)
        return p->status;
    if (!status && p->more && !*p->next)
        status =
            err_set(e, ERR_IO, "%s: it does not say how its list goes on", s3_name(s));
    return status;
}

static int list(struct s3 *s, const char *prefix, struct page *p, bool uploads,
                struct err *e)
{
    int status = 0;
    p->more = true;
    char *query = malloc(QUERY_SIZE);
    if (!query)
        return err_set(e, ERR_NOMEM, "out of memory");
    while (!status && p->more) {
        /* In the order of their names, as a signature wants them. */
        query[0] = '\0';
        if (uploads && *p->next)
            add_parameter(query, "key-marker", p->next);
        if (!uploads && *p->next)
            add_parameter(query, "continuation-token", p->next);
        if (!uploads)
            add_parameter(query, "list-type", "2");
        add_parameter(query, "prefix", prefix);
        if (uploads && *p->next_id)
            add_parameter(query, "upload-id-marker", p->next_id);
        if (uploads)
            add_parameter(query, "uploads", "");
        status = read_page(s, query, p, e);
    }
    free(query);
    return status;
}

static int list_items(struct s3 *s, const char *prefix, const char *item, s3_entry_fn fn,
                      void *arg, struct err *e)
{
    struct page *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "out of memory");
    p->item = item;
    p->fn = fn;
    p->arg = arg;
    p->e = e;
    int status = list(s, prefix, p, !strcmp(item, "Upload"), e);
    free(p);
    return status;
}

int s3_list(struct s3 *s, const char *prefix, s3_entry_fn fn, void *arg, struct err *e)
{
    return list_items(s, prefix, "Contents", fn, arg, e);
}

int s3_list_uploads(struct s3 *s, const char *prefix, s3_entry_fn fn, void *arg,
                    struct err *e)
{
    return list_items(s, prefix, "Upload", fn, arg, e);
}
