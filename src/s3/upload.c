/* Large objects, in parts. */
#include "s3/request.h"
#include "s3/xml.h"

#include <inttypes.h>

#define QUERY_SIZE (3 * S3_UPLOAD_ID_SIZE + 64)

/* An upload's id is the server's, and may hold anything. */
static void add_encoded(char *out, size_t size, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t at = strlen(out);
    for (; *text && at + 4 < size; text++) {
        if (strchr(plain, *text))
            out[at++] = *text;
        else
            at += (size_t)snprintf(out + at, size - at, "%%%02X", (unsigned char)*text);
    }
    out[at] = '\0';
}

int s3_upload_begin(struct s3 *s, const char *key, char upload_id[S3_UPLOAD_ID_SIZE],
                    struct err *e)
{
    const struct s3_request r = {
        .method = "POST", .key = key, .query = "uploads=", .body = "", .first = -1};
    struct s3_answer a;
    int status = s3_perform(s, &r, &a, e);
    if (!status) {
        s3_xml_find(buf_cstr(&a.text), a.text.length, "UploadId", upload_id,
                    S3_UPLOAD_ID_SIZE);
        if (!*upload_id || strlen(upload_id) >= S3_UPLOAD_ID_SIZE - 1)
            status = err_set(e, ERR_IO, "%s: it names no upload", s3_name(s));
    }
    s3_answer_release(&a);
    return status;
}

/* The server's word goes into XML later. */
static bool is_etag(const char *text)
{
    for (const char *p = text; *p; p++)
        if (*p <= 0x20 || *p >= 0x7F || strchr("<>&'", *p))
            return false;
    return *text != '\0';
}

int s3_upload_part(struct s3 *s, const char *key, const char *upload_id,
                   struct s3_part *part, const void *bytes, size_t length, struct err *e)
{
    char query[QUERY_SIZE];
    (void)snprintf(query, sizeof query, "partNumber=%d&uploadId=", part->number);
    add_encoded(query, sizeof query, upload_id);
    const struct s3_request r = {.method = "PUT",
                                 .key = key,
                                 .query = query,
                                 .body = bytes,
                                 .body_length = length,
                                 .first = -1};
    struct s3_answer a;
    int status = s3_perform(s, &r, &a, e);
    if (!status && (!is_etag(a.etag) || strlen(a.etag) >= S3_ETAG_SIZE - 1))
        status = err_set(e, ERR_IO, "%s: it confirms no part", s3_name(s));
    if (!status) {
        memcpy(part->etag, a.etag, sizeof part->etag);
        part->bytes = (int64_t)length;
    }
    s3_answer_release(&a);
    return status;
}

/* S3 begins with 200 and may then say that it did not work. */
static int judge_finish(struct s3 *s, const struct s3_answer *a, struct err *e)
{
    char etag[S3_ETAG_SIZE], code[64];
    const char *text = buf_cstr(&a->text);
    s3_xml_find(text, a->text.length, "ETag", etag, sizeof etag);
    s3_xml_find(text, a->text.length, "Code", code, sizeof code);
    if (*etag && !*code)
        return 0;
    return err_set(e,
                   !strcmp(code, "NoSuchUpload")  ? ERR_NOT_FOUND
                   : !strcmp(code, "InvalidPart") ? ERR_CORRUPT
                                                  : ERR_NETWORK,
                   "%s: the parts were not put together", s3_name(s));
}

int s3_upload_finish(struct s3 *s, const char *key, const char *upload_id,
                     const struct s3_part *parts, size_t count, struct err *e)
{
    char query[QUERY_SIZE] = "uploadId=";
    struct buf body;
    add_encoded(query, sizeof query, upload_id);
    buf_init(&body, (size_t)200 * S3_PARTS_MAX);
    buf_str(&body, "<CompleteMultipartUpload "
                   "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t i = 0; i < count; i++)
        buf_printf(&body, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>",
                   parts[i].number, parts[i].etag);
    buf_str(&body, "</CompleteMultipartUpload>");
    int status = buf_failed(&body) ? err_set(e, ERR_NOMEM, "out of memory") : ERR_NETWORK;
    for (int n = 1; status == ERR_NETWORK && n <= S3_TRIES; n++) {
        const struct s3_request r = {.method = "POST",
                                     .key = key,
                                     .query = query,
                                     .body = buf_cstr(&body),
                                     .body_length = body.length,
                                     .type = "application/xml",
                                     .first = -1};
        struct s3_answer a;
        status = s3_perform(s, &r, &a, e);
        if (!status)
            status = judge_finish(s, &a, e);
        s3_answer_release(&a);
        if (status == ERR_NETWORK && s3_wait(s, n, e))
            status = ERR_CANCELLED;
    }
    buf_release(&body);
    if (status == ERR_NETWORK && e)
        e->code = ERR_IO;
    return status == ERR_NETWORK ? ERR_IO : status;
}

int s3_upload_abort(struct s3 *s, const char *key, const char *upload_id, struct err *e)
{
    char query[QUERY_SIZE] = "uploadId=";
    add_encoded(query, sizeof query, upload_id);
    const struct s3_request r = {
        .method = "DELETE", .key = key, .query = query, .first = -1};
    struct s3_answer a;
    int status = s3_perform(s, &r, &a, e);
    s3_answer_release(&a);
    return status == ERR_NOT_FOUND ? 0 : status;
}
