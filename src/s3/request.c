#include "s3/request.h"

#include "base/clock.h"
#include "s3/failure.h"

#include <nettle/sha2.h>
#include <sodium.h>
#include <strings.h>
#include <time.h>

#define CONNECT_SECONDS 5L
#define STALL_BYTES     1000L /* in a second, over STALL_SECONDS */
#define STALL_SECONDS   20L
#define WAIT_FIRST_MS   200
#define WAIT_MOST_MS    5000
#define WAIT_STEP_MS    50
#define AWAY_NS         INT64_C(10000000000)
#define URL_MAX         4096
#define HEADER_MAX      3000 /* a session's token is the longest */

/* What is small is asked by those who must not wait for long: the supervisor renews
 * leases beside it. What was not removed is removed later. */
#define HURRY_BYTES   16
#define HURRY_CONNECT 2L
#define HURRY_SECONDS 5L
#define HURRY_TRIES   2

static bool is_hurried(const struct s3_request *r)
{
    return !strcmp(r->method, "DELETE") ||
           (!strcmp(r->method, "PUT") && r->body_length <= HURRY_BYTES);
}

/* One try. */
struct transfer {
    struct s3 *s; /* borrowed, as are the others */
    const struct s3_request *r;
    struct s3_answer *a;
    struct err *e;
    int status; /* of what the caller's function answered */
    char reason[CURL_ERROR_SIZE];
};

/* ---- what comes -------------------------------------------------------------------- */

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t length = size * count;
    if (t->r->data && (t->a->status == 200 || t->a->status == 206)) {
        t->status = t->r->data(t->r->arg, bytes, length, t->e);
        t->a->taken += t->status ? 0 : (int64_t)length;
        return t->status ? 0 : length;
    }
    buf_add(&t->a->text, bytes, length);
    return length; /* what is too long fails when it is read */
}

static bool is_name(const char *line, size_t length, const char *name)
{
    return length == strlen(name) && !strncasecmp(line, name, length);
}

static void take_header(struct s3_answer *a, const char *line, size_t name,
                        const char *value)
{
    const char *slash = strchr(value, '/');
    if (is_name(line, name, "ETag") && strlen(value) < sizeof a->etag)
        memcpy(a->etag, value, strlen(value) + 1);
    else if (is_name(line, name, "Date"))
        a->date_ms = (int64_t)curl_getdate(value, NULL) * 1000;
    else if (is_name(line, name, "Content-Length"))
        a->length = strtoll(value, NULL, 10);
    else if (is_name(line, name, "Content-Range") && slash)
        a->total = strtoll(slash + 1, NULL, 10);
}

static void forget(struct s3_answer *a)
{
    buf_reset(&a->text);
    a->status = 0;
    a->length = a->total = -1;
    a->date_ms = 0;
    a->etag[0] = '\0';
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t length = size * count;
    char value[200];
    if (length > 12 && !strncasecmp(line, "HTTP/", 5)) {
        const char *space = memchr(line, ' ', length);
        forget(t->a);
        t->a->status = space ? strtol(space + 1, NULL, 10) : 0;
        return length;
    }
    const char *colon = memchr(line, ':', length);
    if (!colon)
        return length;
    size_t name = (size_t)(colon - line), n = length - name - 1;
    const char *from = colon + 1;
    for (; n > 0 && (*from == ' ' || *from == '\t'); from++)
        n--;
    while (n > 0 && strchr(" \t\r\n", from[n - 1]))
        n--;
    if (n >= sizeof value)
        return length;
    memcpy(value, from, n);
    value[n] = '\0';
    take_header(t->a, line, name, value);
    return length;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct transfer *t = arg;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(&t->s->stopping);
}

/* ---- what is asked ----------------------------------------------------------------- */

static CURL *take_handle(struct s3 *s)
{
    pthread_mutex_lock(&s->lock);
    CURL *curl = s->n_idle ? s->idle[--s->n_idle] : NULL;
    pthread_mutex_unlock(&s->lock);
    return curl ? curl : curl_easy_init();
}

/* Its connections live on for the next. */
static void give_handle(struct s3 *s, CURL *curl)
{
    curl_easy_reset(curl);
    pthread_mutex_lock(&s->lock);
    if (s->n_idle < S3_IDLE_HANDLES) {
        s->idle[s->n_idle++] = curl;
        curl = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    curl_easy_cleanup(curl);
}

static void only_http(CURL *curl)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static void set_options(CURL *curl, struct transfer *t)
{
    const struct s3 *s = t->s;
    only_http(curl);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->reason);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "whisper-transcriber/" WT_VERSION);
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); /* a signature is for one place */
    curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    bool hurried = is_hurried(t->r);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT,
                     hurried ? HURRY_CONNECT : CONNECT_SECONDS);
    if (hurried)
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, HURRY_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, s->scope);
    curl_easy_setopt(curl, CURLOPT_USERNAME, s->key_id);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, s->secret);
    if (s->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, s->ca_file);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
}

static void add_header(struct curl_slist **list, const char *line, bool *failed)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    *failed |= !longer;
    if (longer)
        *list = longer;
}

/* The signer of older libcurls takes every line of this list for one that is sent: there
 * may be none that switches something off, nor one without a value. */
static struct curl_slist *headers_of(const struct s3 *s, const struct s3_request *r)
{
    char hex[2 * SHA256_DIGEST_SIZE + 1], line[200];
    unsigned char digest[SHA256_DIGEST_SIZE];
    struct sha256_ctx hash;
    struct curl_slist *list = NULL;
    bool failed = false;
    sha256_init(&hash);
    sha256_update(&hash, r->body_length, r->body ? r->body : (const void *)"");
    sha256_digest(&hash, sizeof digest, digest);
    (void)sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
    (void)snprintf(line, sizeof line, "x-amz-content-sha256: %s", hex);
    add_header(&list, line, &failed);
    if (r->body) {
        (void)snprintf(line, sizeof line, "Content-Type: %s",
                       r->type ? r->type : "application/octet-stream");
        add_header(&list, line, &failed);
    }
    if (s->token_header)
        add_header(&list, s->token_header, &failed);
    if (!failed)
        return list;
    curl_slist_free_all(list);
    return NULL;
}

static void set_request(CURL *curl, const struct s3_request *r)
{
    char range[64];
    if (!strcmp(r->method, "HEAD"))
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (strcmp(r->method, "GET") != 0)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method);
    if (r->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_length);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->body);
    }
    if (r->first < 0)
        return;
    if (r->last >= 0)
        (void)snprintf(range, sizeof range, "%lld-%lld", (long long)r->first,
                       (long long)r->last);
    else
        (void)snprintf(range, sizeof range, "%lld-", (long long)r->first);
    curl_easy_setopt(curl, CURLOPT_RANGE, range);
}

/* *passing: another try may do better. */
static int try_once(struct transfer *t, bool *passing)
{
    const struct s3_request *r = t->r;
    char url[URL_MAX];
    *passing = false;
    forget(t->a);
    int n = snprintf(url, sizeof url, "%s%s%s%s%s", t->s->base, r->key ? "/" : "",
                     r->key ? r->key : "", *r->query ? "?" : "", r->query);
    if (n < 0 || (size_t)n >= sizeof url)
        return err_set(t->e, ERR_INVALID, "the name of an object is too long");
    CURL *curl = take_handle(t->s);
    struct curl_slist *headers = headers_of(t->s, r);
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (curl && headers) {
        set_options(curl, t);
        set_request(curl, r);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        code = curl_easy_perform(curl);
    }
    curl_slist_free_all(headers);
    if (curl)
        give_handle(t->s, curl);
    if (t->status)
        return t->status;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return err_set(t->e, ERR_CANCELLED, "the service ends");
    if (code != CURLE_OK)
        return s3_broken(t->s, code, t->reason, passing, t->e);
    if (t->a->status / 100 == 2)
        return buf_failed(&t->a->text)
                   ? err_set(t->e, ERR_IO, "%s: an answer is too long", s3_name(t->s))
                   : 0;
    *passing = s3_is_passing(t->a);
    return s3_failure(t->s, r, t->a, t->e);
}

int s3_wait(struct s3 *s, int n, struct err *e)
{
    int64_t ms = WAIT_FIRST_MS;
    for (int i = 1; i < n && ms < WAIT_MOST_MS; i++)
        ms *= 2;
    ms = ms / 2 + (int64_t)randombytes_uniform((uint32_t)ms); /* not all at once */
    int64_t until = clock_monotonic_ns() + ms * 1000000;
    const struct timespec step = {.tv_nsec = WAIT_STEP_MS * 1000000L};
    while (!atomic_load(&s->stopping) && clock_monotonic_ns() < until)
        nanosleep(&step, NULL);
    return atomic_load(&s->stopping) ? err_set(e, ERR_CANCELLED, "the service ends") : 0;
}

int s3_perform(struct s3 *s, const struct s3_request *r, struct s3_answer *out,
               struct err *e)
{
    struct err own;
    struct transfer t = {.s = s, .r = r, .a = out, .e = e ? e : &own};
    bool passing = true;
    int status = 0;
    int tries = clock_monotonic_ns() < atomic_load(&s->away_ns) ? 1
                : is_hurried(r)                                 ? HURRY_TRIES
                                                                : S3_TRIES;
    *out = (struct s3_answer){.length = -1, .total = -1};
    buf_init(&out->text, S3_LIST_MAX);
    for (int n = 1; passing; n++) {
        t.reason[0] = '\0';
        status = try_once(&t, &passing);
        if (passing && out->taken)
            return err_set(t.e, ERR_NETWORK, "%s: it broke off", s3_name(s));
        if (passing && n == tries) {
            atomic_store(&s->away_ns, clock_monotonic_ns() + AWAY_NS);
            return status;
        }
        if (passing && s3_wait(s, n, t.e))
            return ERR_CANCELLED;
    }
    return status;
}

void s3_answer_release(struct s3_answer *a)
{
    buf_release(&a->text);
}
