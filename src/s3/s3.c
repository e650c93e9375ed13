#include "s3/s3.h"

#include "s3/request.h"

#include <ctype.h>
#include <sodium.h>
#include <stdarg.h>

/* Since then the signer of libcurl signs all headers, hashes given in advance, and hosts
 * with a port. */
#define SIGNER_VERSION 0x075801
#define URL_SIZE       1024

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_library(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int check_library(struct err *e)
{
    const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
    return v->version_num >= SIGNER_VERSION
               ? 0
               : err_set(e, ERR_UNSUPPORTED,
                         "object storage needs libcurl 7.88.1 or later, this one is %s: "
                         "use a folder, or a newer system",
                         v->version);
}

/* Amazon's rules; others allow no more. */
static bool is_bucket(const char *name)
{
    size_t length = strlen(name);
    if (length < 3 || length > 63 || !isalnum((unsigned char)name[0]) ||
        !isalnum((unsigned char)name[length - 1]) || strstr(name, ".."))
        return false;
    for (const char *p = name; *p; p++)
        if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '-' &&
            *p != '.')
            return false;
    return true;
}

static bool is_region(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
            return false;
    return *name && strlen(name) < 40;
}

static char *copy_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *copy_printf(const char *format, ...)
{
    char text[URL_SIZE + 2048];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return n < 0 || (size_t)n >= sizeof text ? NULL : strdup(text);
}

/* https://host[:port], without a slash at its end. */
static int set_base(struct s3 *s, const struct s3_options *o, struct err *e)
{
    char endpoint[URL_SIZE];
    int n = o->endpoint ? snprintf(endpoint, sizeof endpoint, "%s", o->endpoint)
                        : snprintf(endpoint, sizeof endpoint,
                                   "https://s3.%s.amazonaws.com", s->region);
    if (n < 0 || (size_t)n >= sizeof endpoint)
        return err_set(e, ERR_INVALID, "S3_ENDPOINT is too long");
    for (size_t end = (size_t)n; end && endpoint[end - 1] == '/'; end--)
        endpoint[end - 1] = '\0';
    char *host = strstr(endpoint, "://");
    if (!host || !host[3] || strpbrk(host + 3, "/?#@ "))
        return err_set(e, ERR_INVALID,
                       "S3_ENDPOINT must be http://HOST:PORT or https://HOST:PORT, "
                       "without a path or a password");
    host += 3;
    s->name = copy_printf("the bucket %s at %s", o->bucket, host);
    /* A certificate for *.host does not cover a bucket with a dot. */
    s->base =
        o->path_style || strchr(o->bucket, '.')
            ? copy_printf("%s/%s", endpoint, o->bucket)
            : copy_printf("%.*s%s.%s", (int)(host - endpoint), endpoint, o->bucket, host);
    return s->name && s->base ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

static int set_texts(struct s3 *s, const struct s3_options *o, struct err *e)
{
    const char *region = o->region && *o->region ? o->region : "us-east-1";
    s->bucket = strdup(o->bucket);
    s->region = strdup(region);
    s->scope = copy_printf("aws:amz:%s:s3", region);
    s->key_id = strdup(o->key_id);
    s->secret = strdup(o->secret);
    s->token_header =
        o->token && *o->token ? copy_printf("x-amz-security-token: %s", o->token) : NULL;
    s->ca_file = o->ca_file ? strdup(o->ca_file) : NULL;
    if (!s->bucket || !s->region || !s->scope || !s->key_id || !s->secret ||
        (o->token && *o->token && !s->token_header) || (o->ca_file && !s->ca_file))
        return err_set(e, ERR_NOMEM, "out of memory");
    return set_base(s, o, e);
}

static int check(const struct s3_options *o, struct err *e)
{
    if (!is_bucket(o->bucket))
        return err_set(e, ERR_INVALID,
                       "STORAGE_URL names no bucket: its name has 3 to 63 small letters, "
                       "digits, dots and hyphens");
    if (o->region && *o->region && !is_region(o->region))
        return err_set(e, ERR_INVALID, "S3_REGION is no name of a region");
    if (!o->key_id || !*o->key_id || !o->secret || !*o->secret)
        return err_set(e, ERR_INVALID,
                       "STORAGE_URL is object storage: set S3_ACCESS_KEY_ID and "
                       "S3_SECRET_ACCESS_KEY, or their _FILE forms");
    return 0;
}

int s3_open(struct s3 **out, const struct s3_options *o, struct err *e)
{
    *out = NULL;
    (void)pthread_once(&once, init_library);
    if (sodium_init() < 0)
        return err_set(e, ERR_IO, "the library libsodium cannot be started");
    int status = check(o, e);
    if (!status)
        status = check_library(e);
    if (status)
        return status;
    struct s3 *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&s->lock, NULL);
    status = set_texts(s, o, e);
    if (status) {
        s3_close(s);
        return status;
    }
    *out = s;
    return 0;
}

static void free_secret(char *text)
{
    if (text)
        sodium_memzero(text, strlen(text));
    free(text);
}

void s3_close(struct s3 *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_idle; i++)
        curl_easy_cleanup(s->idle[i]);
    pthread_mutex_destroy(&s->lock);
    free(s->base);
    free(s->name);
    free(s->bucket);
    free(s->region);
    free(s->scope);
    free(s->key_id);
    free_secret(s->secret);
    free_secret(s->token_header);
    free(s->ca_file);
    free(s);
}

void s3_stop(struct s3 *s)
{
    atomic_store(&s->stopping, true);
}

const char *s3_name(const struct s3 *s)
{
    return s->name;
}
