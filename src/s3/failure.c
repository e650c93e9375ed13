#include "s3/failure.h"

#include "base/mem.h"
#include "s3/xml.h"

#include <strings.h>

bool s3_is_passing(const struct s3_answer *a)
{
    char code[64];
    if (a->status == 429 || a->status == 408 ||
        (a->status >= 500 && a->status != 501 && a->status != 507))
        return true;
    s3_xml_find(buf_cstr(&a->text), a->text.length, "Code", code, sizeof code);
    return !strcmp(code, "RequestTimeout") || !strcmp(code, "SlowDown") ||
           !strcmp(code, "OperationAborted");
}

static const struct known {
    const char *code;
    int error;
    const char *what_to_do;
} known[] = {
    {"NoSuchKey", ERR_NOT_FOUND, "there is no such object"},
    {"NoSuchUpload", ERR_NOT_FOUND, "there is no such upload"},
    {"NoSuchBucket", ERR_IO, "there is no such bucket: make it, or correct STORAGE_URL"},
    {"InvalidAccessKeyId", ERR_IO,
     "the server does not know the key: correct S3_ACCESS_KEY_ID"},
    {"SignatureDoesNotMatch", ERR_IO,
     "the secret is not that of the key: correct S3_SECRET_ACCESS_KEY"},
    {"InvalidToken", ERR_IO, "the session token is not valid: correct S3_SESSION_TOKEN"},
    {"ExpiredToken", ERR_IO, "the temporary key has expired: set a new one"},
    {"AccessDenied", ERR_IO,
     "the key may not do that: allow it s3:PutObject, s3:GetObject, s3:DeleteObject, "
     "s3:AbortMultipartUpload, s3:ListBucket and s3:ListBucketMultipartUploads"},
    {"RequestTimeTooSkewed", ERR_IO,
     "the clock of this machine is not that of the server: set it, by NTP best"},
    {"AuthorizationHeaderMalformed", ERR_IO,
     "the bucket is in another region: set S3_REGION to it"},
    {"PermanentRedirect", ERR_IO, "the bucket is in another region: set S3_REGION to it"},
    {"TemporaryRedirect", ERR_IO, "the bucket is in another region: set S3_REGION to it"},
    {"QuotaExceeded", ERR_FULL, "the storage is full"},
    {"XMinioStorageFull", ERR_FULL, "the storage is full"},
    {"XMinioAdminBucketQuotaExceeded", ERR_FULL, "the bucket is full"},
    {"InsufficientStorage", ERR_FULL, "the storage is full"},
    {"InvalidPart", ERR_CORRUPT, "a part of the upload is not what was sent"},
    {"InvalidPartOrder", ERR_CORRUPT, "a part of the upload is not what was sent"},
    {"EntityTooSmall", ERR_CORRUPT, "a part of the upload is too small"},
    {"XAmzContentSHA256Mismatch", ERR_IO, "the bytes were damaged on their way"},
    {"NotImplemented", ERR_UNSUPPORTED, "the server cannot do that"},
};

/* HEAD has no body to say more. */
static int by_status(const struct s3 *s, const struct s3_request *r, long status,
                     struct err *e)
{
    switch (status) {
    case 404: /* a server of S3 would say more, except to HEAD */
        return !strcmp(r->method, "HEAD")
                   ? err_set(e, ERR_NOT_FOUND, "%s: it is not there", s3_name(s))
                   : err_set(e, ERR_IO,
                             "%s: the answer is 404, but not in the way of S3: look at "
                             "S3_ENDPOINT, and at proxies",
                             s3_name(s));
    case 301:
    case 307:
        return err_set(e, ERR_IO,
                       "%s: the bucket is in another region than %s: set S3_REGION",
                       s3_name(s), s->region);
    case 401:
    case 403:
        return err_set(e, ERR_IO,
                       "%s: not allowed: look at S3_ACCESS_KEY_ID, "
                       "S3_SECRET_ACCESS_KEY, what the key may do, and the clock",
                       s3_name(s));
    case 405:
    case 501:
        return err_set(e, ERR_UNSUPPORTED, "%s: the server cannot do that", s3_name(s));
    case 507:
        return err_set(e, ERR_FULL, "%s: the storage is full", s3_name(s));
    default:
        return err_set(e, ERR_IO, "%s: the server answered %ld", s3_name(s), status);
    }
}

/* Words of the server itself are for the log: nothing that is more than a word. */
static bool is_word(const char *text)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "0123456789-";
    return *text && text[strspn(text, good)] == '\0';
}

int s3_failure(const struct s3 *s, const struct s3_request *r, const struct s3_answer *a,
               struct err *e)
{
    char code[64], region[64];
    const char *text = buf_cstr(&a->text);
    s3_xml_find(text, a->text.length, "Code", code, sizeof code);
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        if (strcmp(code, known[i].code) != 0)
            continue;
        s3_xml_find(text, a->text.length, "Region", region, sizeof region);
        bool named = is_word(region);
        return err_set(e, known[i].error, "%s: %s%s%.40s%s", s3_name(s),
                       known[i].what_to_do, named ? " (" : "", named ? region : "",
                       named ? ")" : "");
    }
    return is_word(code) ? err_set(e, ERR_IO, "%s: the server answered %ld, %s",
                                   s3_name(s), a->status, code)
                         : by_status(s, r, a->status, e);
}

int s3_broken(const struct s3 *s, CURLcode code, const char *reason, bool *passing,
              struct err *e)
{
    *passing = false;
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        return err_set(e, ERR_NOMEM, "out of memory");
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_UPLOAD_FAILED:
        *passing = true;
        break;
    default:
        break;
    }
    return err_set(e, ERR_IO, "%s: %s%s", s3_name(s),
                   *reason ? reason : curl_easy_strerror(code),
                   code == CURLE_PEER_FAILED_VERIFICATION
                       ? ": set S3_CA_FILE to the certificates that vouch for it"
                       : "");
}
