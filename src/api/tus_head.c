#include "api/tus.h"

#include <errno.h>

#define VERSION "1.0.0"

void tus_standard_headers(struct http_request *r)
{
    http_response_header(&r->response, "Tus-Resumable", VERSION);
}

bool tus_check_version(struct http_request *r, bool required)
{
    const char *version = http_request_header(r, "Tus-Resumable");
    if (version ? !strcmp(version, VERSION) : !required)
        return true;
    http_response_header(&r->response, "Tus-Version", VERSION);
    http_respond_error(&r->response, 412, "tus_version",
                       "This server speaks tus " VERSION
                       ": send the header Tus-Resumable: " VERSION);
    return false;
}

int tus_number(struct http_request *r, const char *name, int64_t *out)
{
    const char *text = http_request_header(r, name);
    if (!text)
        return 0;
    size_t digits = strspn(text, "0123456789");
    errno = 0;
    long long value = digits ? strtoll(text, NULL, 10) : -1;
    if (!digits || text[digits] || errno) {
        http_respond_error(&r->response, 400, "invalid",
                           "%s must be a whole number from 0 on, not \"%.40s\"", name,
                           text);
        return ERR_INVALID;
    }
    *out = value;
    return 1;
}

static int bad_metadata(struct err *e)
{
    return err_set(e, ERR_INVALID,
                   "Upload-Metadata must be pairs of a name and a text in base64, "
                   "separated by commas, each name once");
}

/* One pair, "name" or "name base64". */
static int add_pair(struct http_params *out, const char *pair, size_t length,
                    struct err *e)
{
    char name[64];
    const char *space = memchr(pair, ' ', length);
    size_t name_length = space ? (size_t)(space - pair) : length;
    if (!name_length || name_length >= sizeof name)
        return bad_metadata(e);
    memcpy(name, pair, name_length);
    name[name_length] = '\0';
    size_t coded = space ? length - name_length - 1 : 0, size = coded, end = 0;
    char *value = malloc(size + 1);
    if (!value)
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = 0;
    if (sodium_base642bin((unsigned char *)value, size, space ? space + 1 : "", coded,
                          NULL, &end, NULL, sodium_base64_VARIANT_ORIGINAL) ||
        !http_utf8_valid(value, end) || http_params_get(out, name))
        status = bad_metadata(e);
    value[end < size ? end : size] = '\0';
    if (!status && (status = http_params_add(out, name, value)))
        (void)err_set(e, status, "the upload's metadata is too large");
    free(value);
    return status;
}

int tus_metadata(const char *header, struct http_params *out, struct err *e)
{
    for (const char *p = header ? header : ""; *p;) {
        p += strspn(p, " ");
        size_t length = strcspn(p, ",");
        const char *next = p + length;
        while (length && p[length - 1] == ' ')
            length--;
        int status = add_pair(out, p, length, e);
        if (status)
            return status;
        p = next + (*next == ',');
    }
    return 0;
}

static bool is_secret(const char *pair, size_t length)
{
    static const char name[] = "webhook_secret";
    size_t n = sizeof name - 1;
    return length >= n && !memcmp(pair, name, n) && (length == n || pair[n] == ' ');
}

void tus_metadata_header(struct http_request *r, const char *metadata)
{
    struct buf shown;
    buf_init(&shown, strlen(metadata) + 1);
    for (const char *p = metadata; *p;) {
        p += strspn(p, " ");
        size_t length = strcspn(p, ",");
        if (!is_secret(p, length)) {
            buf_add(&shown, ",", shown.length > 0);
            buf_add(&shown, p, length);
        }
        p += length + (p[length] == ',');
    }
    if (shown.length && !shown.failed)
        http_response_header(&r->response, "Upload-Metadata", buf_cstr(&shown));
    buf_release(&shown);
}

static int bad_parts(struct err *e)
{
    return err_set(
        e, ERR_INVALID,
        "Upload-Concat must be \"partial\", or \"final;\" and the locations of "
        "at most %d partial uploads",
        RESUMABLE_PARTS_MAX);
}

int tus_parts(const char *header, char (*ids)[ID_SIZE], size_t max, struct err *e)
{
    size_t count = 0;
    for (const char *p = header + strlen("final;"); *p;) {
        p += strspn(p, " ");
        size_t length = strcspn(p, " ");
        if (!length)
            break;
        if (length < ID_SIZE || count == max || p[length - ID_SIZE] != '/')
            return bad_parts(e);
        memcpy(ids[count], p + length - (ID_SIZE - 1), ID_SIZE - 1);
        ids[count][ID_SIZE - 1] = '\0';
        if (!id_valid(ids[count++]))
            return bad_parts(e);
        p += length;
    }
    return count ? (int)count : bad_parts(e);
}

static void http_date(int64_t wall_ms, char out[40])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    out[0] = '\0';
    if (gmtime_r(&seconds, &tm))
        (void)strftime(out, 40, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static void number_header(struct http_request *r, const char *name, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    http_response_header(&r->response, name, text);
}

void tus_state_headers(struct http_request *r, const struct store_upload *u)
{
    char text[64];
    number_header(r, "Upload-Offset", u->received);
    if (u->length >= 0)
        number_header(r, "Upload-Length", u->length);
    else
        http_response_header(&r->response, "Upload-Defer-Length", "1");
    http_date(u->expires_ms, text);
    http_response_header(&r->response, "Upload-Expires", text);
    if (u->concat && *u->concat)
        http_response_header(&r->response, "Upload-Concat", u->concat);
    if (u->done)
        http_response_header(&r->response, "Job-Id", u->id);
}

int tus_checksum_begin(struct tus_checksum *c, const char *header, struct err *e)
{
    c->kind = TUS_NONE;
    if (!header)
        return 0;
    size_t name = strcspn(header, " "), length = 0, wanted = 0;
    if (name == 4 && !strncmp(header, "sha1", name)) {
        c->kind = TUS_SHA1;
        wanted = SHA1_DIGEST_SIZE;
        sha1_init(&c->sha1);
    } else if (name == 6 && !strncmp(header, "sha256", name)) {
        c->kind = TUS_SHA256;
        wanted = SHA256_DIGEST_SIZE;
        sha256_init(&c->sha256);
    } else {
        return err_set(e, ERR_INVALID, "Upload-Checksum must begin with sha1 or sha256");
    }
    const char *coded = header + name + (header[name] == ' ');
    if (sodium_base642bin(c->expected, sizeof c->expected, coded, strlen(coded), NULL,
                          &length, NULL, sodium_base64_VARIANT_ORIGINAL) ||
        length != wanted)
        return err_set(e, ERR_INVALID,
                       "Upload-Checksum has no checksum of that length in base64");
    return 0;
}

void tus_checksum_add(struct tus_checksum *c, const void *bytes, size_t length)
{
    if (c->kind == TUS_SHA1)
        sha1_update(&c->sha1, length, bytes);
    else if (c->kind == TUS_SHA256)
        sha256_update(&c->sha256, length, bytes);
}

bool tus_checksum_fits(struct tus_checksum *c)
{
    uint8_t digest[32] = {0};
    if (c->kind == TUS_SHA1)
        sha1_digest(&c->sha1, SHA1_DIGEST_SIZE, digest);
    else if (c->kind == TUS_SHA256)
        sha256_digest(&c->sha256, sizeof digest, digest);
    size_t length = c->kind == TUS_SHA1     ? SHA1_DIGEST_SIZE
                    : c->kind == TUS_SHA256 ? SHA256_DIGEST_SIZE
                                            : 0;
    return !memcmp(digest, c->expected, length);
}
