/* See fetch.h. One attempt is a struct transfer; fetch_file repeats attempts for as long
 * as they bring something, and a few more. */
#include "catalog/fetch.h"

#include "base/clock.h"
#include "base/fs.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRUITLESS_ATTEMPTS   4   /* in a row */
#define TOTAL_ATTEMPTS       200 /* a server that gives a byte at a time */
#define LONGEST_WAIT_SECONDS 30
#define VALIDATOR_SIZE       256

struct transfer {
    CURL *curl;                             /* owned by the attempt */
    struct fetch *f;                        /* borrowed; NULL: into `text` */
    struct buf *text;                       /* borrowed */
    const struct pull_callbacks *callbacks; /* borrowed */
    uint64_t start;                         /* asked to go on from here */
    uint64_t size;                          /* bytes in the file now */
    uint64_t total;                         /* 0: not known */
    bool accepted;                          /* the body has begun and is being kept */
    bool unwanted;                          /* the body is an error page */
    bool unreachable;                       /* no connection came about */
    long http_status;                       /* of the latest response */
    bool range_is_wrong; /* the server answered with a range we did not ask for */
    uint64_t range_start, range_total; /* of Content-Range; total 0: not given */
    bool has_range;
    char etag[VALIDATOR_SIZE], modified[VALIDATOR_SIZE];
    long retry_after; /* seconds */
    int status;       /* our own reason to stop: an error, or 0 */
    struct err *e;
    char reason[CURL_ERROR_SIZE]; /* libcurl's, in words */
};

const char *fetch_host(const char *url, char *out, size_t size)
{
    (void)snprintf(out, size, "the server");
    CURLU *parts = curl_url();
    char *host = NULL;
    if (parts && !curl_url_set(parts, CURLUPART_URL, url, 0) &&
        !curl_url_get(parts, CURLUPART_HOST, &host, 0))
        (void)snprintf(out, size, "%s", host);
    curl_free(host);
    curl_url_cleanup(parts);
    return out;
}

/* ---- where the bytes of a .part came from ---------------------------------------- */

static bool companion(char out[PATH_MAX], const char *path)
{
    int n = snprintf(out, PATH_MAX, "%s.from", path);
    return n > 0 && n < PATH_MAX;
}

int fetch_discard(int fd, const char *path, struct err *e)
{
    char from[PATH_MAX];
    if (companion(from, path))
        (void)unlink(from);
    if (ftruncate(fd, 0) || lseek(fd, 0, SEEK_SET) < 0)
        return err_errno(e, "cannot empty %s", path);
    return 0;
}

/* Written before the first byte of a new version, so that the two never disagree. */
static int remember_source(const struct transfer *t)
{
    char from[PATH_MAX], text[4096];
    if (!companion(from, t->f->path))
        return err_set(t->e, ERR_INVALID, "the path %s is too long", t->f->path);
    bool strong = t->etag[0] == '"'; /* W/"…" does not promise equal bytes */
    int n = snprintf(text, sizeof text, "%s\n%s\n", t->f->url,
                     strong ? t->etag : t->modified);
    if (n < 0 || (size_t)n >= sizeof text)
        return 0; /* such a URL is not worth resuming */
    return fs_write_atomic(from, text, (size_t)n, t->e);
}

/* The validator for If-Range: false when the bytes came from elsewhere (their checksum
 * will tell) or the server gave none. */
static bool recall_validator(const struct fetch *f, char out[VALIDATOR_SIZE])
{
    char from[PATH_MAX];
    struct buf text;
    buf_init(&text, 4096);
    bool found = false;
    if (companion(from, f->path) && !fs_read(from, &text, NULL)) {
        const char *line = strchr(buf_cstr(&text), '\n');
        size_t url_length = line ? (size_t)(line - buf_cstr(&text)) : 0;
        size_t length = line ? strcspn(line + 1, "\n") : 0;
        if (length > 0 && length < VALIDATOR_SIZE && url_length == strlen(f->url) &&
            !memcmp(f->url, buf_cstr(&text), url_length)) {
            memcpy(out, line + 1, length);
            out[length] = '\0';
            found = true;
        }
    }
    buf_release(&text);
    return found;
}

/* ---- what the server says -------------------------------------------------------- */

/* Some of it is sent on in requests of ours, where a CR could begin another line. */
static bool is_clean(const char *value, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7F)
            return false;
    return true;
}

static void copy_value(char out[VALIDATOR_SIZE], const char *value, size_t length)
{
    while (length > 0 && (*value == ' ' || *value == '\t')) {
        value++;
        length--;
    }
    while (length > 0 && strchr(" \t\r\n", value[length - 1]))
        length--;
    if (length >= VALIDATOR_SIZE || !is_clean(value, length))
        length = 0;
    memcpy(out, value, length);
    out[length] = '\0';
}

/* "bytes 100-199/200" or "bytes 100-199/ *". */
static void read_content_range(struct transfer *t, const char *value)
{
    unsigned long long first, last, total = 0;
    int n = sscanf(value, "bytes %llu-%llu/%llu", &first, &last, &total);
    t->has_range = n >= 2;
    t->range_start = t->has_range ? first : 0;
    t->range_total = n == 3 ? total : 0;
}

static void new_response(struct transfer *t)
{
    t->etag[0] = t->modified[0] = '\0';
    t->has_range = false;
    t->retry_after = 0;
    t->accepted = false;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t length = size * count;
    char value[VALIDATOR_SIZE];
    const char *colon = memchr(line, ':', length);
    if (length > 5 && !strncasecmp(line, "HTTP/", 5))
        new_response(t);
    if (!colon)
        return length;
    size_t name = (size_t)(colon - line);
    copy_value(value, colon + 1, length - name - 1);
    if (name == 4 && !strncasecmp(line, "ETag", name))
        memcpy(t->etag, value, sizeof value);
    else if (name == 13 && !strncasecmp(line, "Last-Modified", name))
        memcpy(t->modified, value, sizeof value);
    else if (name == 13 && !strncasecmp(line, "Content-Range", name))
        read_content_range(t, value);
    else if (name == 11 && !strncasecmp(line, "Retry-After", name))
        t->retry_after = strtol(value, NULL, 10);
    return length;
}

/* The whole file from its beginning. */
static int accept_whole(struct transfer *t)
{
    curl_off_t length = -1;
    (void)curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length > 0 && t->f->expected && (uint64_t)length != t->f->expected)
        return err_set(t->e, ERR_CORRUPT,
                       "the server offers %lld bytes where the published file has %llu",
                       (long long)length, (unsigned long long)t->f->expected);
    if (length > 0 && (uint64_t)length > t->f->maximum)
        return err_set(t->e, ERR_TOO_LARGE,
                       "the server offers %lld bytes; at most %llu are allowed",
                       (long long)length, (unsigned long long)t->f->maximum);
    if (length > 0)
        t->total = (uint64_t)length;
    int status = fetch_discard(t->f->fd, t->f->path, t->e);
    t->size = 0;
    return status ? status : remember_source(t);
}

/* The part of it that was asked for. */
static int accept_range(struct transfer *t)
{
    bool fits = t->start > 0 && t->has_range && t->range_start == t->start &&
                (!t->f->expected || !t->range_total || t->range_total == t->f->expected);
    if (!fits) {
        t->range_is_wrong = true;
        return err_set(t->e, ERR_NETWORK,
                       "the server answered with a range that was not asked for");
    }
    t->total = t->f->expected ? t->f->expected : t->range_total;
    return 0;
}

/* Called with the first byte of a body, when the status and the headers are known. */
static int accept_response(struct transfer *t)
{
    (void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->http_status);
    t->unwanted = t->http_status != 200 && !(t->http_status == 206 && t->f);
    t->accepted = !t->unwanted;
    if (t->unwanted || !t->f)
        return 0;
    return t->http_status == 200 ? accept_whole(t) : accept_range(t);
}

static int keep(struct transfer *t, const char *bytes, size_t length)
{
    if (!t->f) {
        buf_add(t->text, bytes, length);
        return buf_failed(t->text)
                   ? err_set(t->e, ERR_TOO_LARGE, "the answer has more than %zu bytes",
                             t->text->maximum)
                   : 0;
    }
    if (length > t->f->maximum - t->size)
        return err_set(t->e, ERR_TOO_LARGE,
                       "the server sends more than the %llu bytes that the file has",
                       (unsigned long long)t->f->maximum);
    int status = fs_write_all(t->f->fd, bytes, length, t->e);
    if (status) {
        err_prefix(t->e, "%s", t->f->path);
        return status;
    }
    t->size += length;
    return 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t length = size * count;
    if (!t->status && !t->accepted)
        t->status = accept_response(t);
    if (!t->status && t->accepted)
        t->status = keep(t, bytes, length);
    return t->status || t->unwanted ? 0 : length;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    struct transfer *t = arg;
    const struct pull_callbacks *callbacks = t->callbacks;
    if (callbacks->cancelled && callbacks->cancelled(callbacks->arg)) {
        t->status = err_set(t->e, ERR_CANCELLED, "the download was stopped");
        return 1;
    }
    if (t->f && t->accepted && callbacks->progress)
        callbacks->progress(callbacks->arg, t->size, t->total);
    return 0;
}

/* ---- one attempt ----------------------------------------------------------------- */

static void only_http(CURL *curl)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS,
                     (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static void set_options(struct transfer *t, const char *url, int64_t timeout_seconds)
{
    CURL *curl = t->curl;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    only_http(curl);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->reason);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "whisper-transcriber/" WT_VERSION);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)timeout_seconds);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)timeout_seconds);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
}

/* Ask for the rest only. Returns the list of headers, to be freed after the attempt. */
static struct curl_slist *ask_for_rest(struct transfer *t)
{
    char range[32], header[VALIDATOR_SIZE + 16], validator[VALIDATOR_SIZE];
    if (t->start == 0)
        return NULL;
    (void)snprintf(range, sizeof range, "%llu-", (unsigned long long)t->start);
    curl_easy_setopt(t->curl, CURLOPT_RANGE, range);
    if (!recall_validator(t->f, validator))
        return NULL;
    (void)snprintf(header, sizeof header, "If-Range: %s", validator);
    struct curl_slist *headers = curl_slist_append(NULL, header);
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, headers);
    return headers;
}

static int judge_connection(struct transfer *t, CURLcode code)
{
    long proxy_status = 0;
    (void)curl_easy_getinfo(t->curl, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    t->unreachable = code == CURLE_COULDNT_RESOLVE_HOST ||
                     code == CURLE_COULDNT_RESOLVE_PROXY ||
                     code == CURLE_COULDNT_CONNECT || proxy_status >= 400;
    if (proxy_status >= 400)
        return err_set(t->e, ERR_NETWORK, "the proxy answered %ld", proxy_status);
    int ours = code == CURLE_OPERATION_TIMEDOUT         ? ERR_TIMEOUT
               : code == CURLE_UNSUPPORTED_PROTOCOL     ? ERR_NOT_FOUND
               : code == CURLE_URL_MALFORMAT            ? ERR_NOT_FOUND
               : code == CURLE_TOO_MANY_REDIRECTS       ? ERR_NOT_FOUND
               : code == CURLE_PEER_FAILED_VERIFICATION ? ERR_NOT_FOUND
               : code == CURLE_OUT_OF_MEMORY            ? ERR_NOMEM
                                                        : ERR_NETWORK;
    return err_set(t->e, ours, "%s", t->reason[0] ? t->reason : curl_easy_strerror(code));
}

static int judge_http_status(struct transfer *t)
{
    long s = t->http_status;
    bool for_now = s < 400 || s >= 500 || s == 408 || s == 425 || s == 429;
    return err_set(t->e, for_now ? ERR_NETWORK : ERR_NOT_FOUND, "the server answered %ld",
                   s);
}

/* Our own reason to stop, libcurl's, or the server's. */
static int judge(struct transfer *t, CURLcode code)
{
    if (t->status)
        return t->status;
    if (t->unwanted)
        return judge_http_status(t);
    if (code != CURLE_OK)
        return judge_connection(t, code);
    if (!t->accepted) /* there was no body */
        t->status = accept_response(t);
    return t->unwanted ? judge_http_status(t) : t->status;
}

static int attempt(struct transfer *t, const char *url, int64_t timeout_seconds)
{
    t->curl = curl_easy_init();
    if (!t->curl)
        return err_set(t->e, ERR_NOMEM, "out of memory");
    set_options(t, url, timeout_seconds);
    struct curl_slist *headers = t->f ? ask_for_rest(t) : NULL;
    int status = judge(t, curl_easy_perform(t->curl));
    curl_slist_free_all(headers);
    curl_easy_cleanup(t->curl);
    t->curl = NULL;
    return status;
}

/* ---- attempts -------------------------------------------------------------------- */

bool fetch_is_servers_fault(int status)
{
    return status == ERR_NETWORK || status == ERR_TIMEOUT || status == ERR_NOT_FOUND ||
           status == ERR_CORRUPT || status == ERR_TOO_LARGE;
}

static bool worth_another(int status)
{
    return status == ERR_NETWORK || status == ERR_TIMEOUT;
}

/* Wait before the next attempt; ERR_CANCELLED when somebody asks to stop. */
static int wait_seconds(const struct pull_callbacks *callbacks, long seconds,
                        struct err *e)
{
    double until = clock_monotonic_seconds() + (double)seconds;
    while (clock_monotonic_seconds() < until) {
        if (callbacks->cancelled && callbacks->cancelled(callbacks->arg))
            return err_set(e, ERR_CANCELLED, "the download was stopped");
        (void)poll(NULL, 0, 100);
    }
    return 0;
}

static int wait_for_next(const struct transfer *t, int fruitless, struct err *e)
{
    long seconds = fruitless > 0 ? 1L << (fruitless - 1) : 0;
    if (t->retry_after > seconds)
        seconds = t->retry_after;
    if (seconds > LONGEST_WAIT_SECONDS)
        seconds = LONGEST_WAIT_SECONDS;
    return wait_seconds(t->callbacks, seconds, e);
}

/* What is in the file; a file that is too long is not the beginning of ours. */
static int size_on_disk(struct fetch *f, uint64_t *size, struct err *e)
{
    struct stat st;
    if (fstat(f->fd, &st))
        return err_errno(e, "cannot look at %s", f->path);
    *size = (uint64_t)st.st_size;
    if (*size > f->maximum) {
        *size = 0;
        return fetch_discard(f->fd, f->path, e);
    }
    return lseek(f->fd, 0, SEEK_END) < 0 ? err_errno(e, "cannot use %s", f->path) : 0;
}

static int truncated(const struct fetch *f, uint64_t size, struct err *e)
{
    return err_set(e, ERR_NETWORK, "the connection ended after %llu of %llu bytes",
                   (unsigned long long)size, (unsigned long long)f->expected);
}

/* One attempt, from what is on disk. */
static int next_attempt(struct transfer *t)
{
    struct fetch *f = t->f;
    int status = size_on_disk(f, &t->start, t->e);
    if (status)
        return status;
    t->size = t->start;
    t->total = f->expected;
    status = attempt(t, f->url, f->timeout_seconds);
    f->resumed = t->start > 0 && t->http_status == 206;
    if (!status && f->expected && t->size < f->expected)
        status = truncated(f, t->size, t->e);
    /* A range that makes no sense, or one beyond the end: from the beginning again. */
    if (t->start > 0 && (t->range_is_wrong || t->http_status == 416)) {
        int discarded = fetch_discard(f->fd, f->path, t->e);
        status = discarded ? discarded : ERR_NETWORK;
    }
    return status;
}

int fetch_file(struct fetch *f, struct err *e)
{
    uint64_t most;
    f->resumed = false;
    int status = size_on_disk(f, &most, e);
    if (status)
        return status;
    if (f->expected && most == f->expected) {
        f->resumed = true; /* all of it is here; the checksum will tell */
        return 0;
    }
    /* Only a file that is longer than ever is a gain: one that starts again and again
     * must end. */
    bool had_any = false;
    int fruitless = 0;
    for (int i = 0; i < TOTAL_ATTEMPTS; i++) {
        struct transfer t = {.f = f, .callbacks = f->callbacks, .e = e};
        status = next_attempt(&t);
        bool gained = t.size > most;
        if (gained)
            most = t.size;
        had_any |= gained;
        fruitless = gained ? 0 : fruitless + 1;
        if (!worth_another(status) || fruitless >= FRUITLESS_ATTEMPTS ||
            (t.unreachable && !had_any))
            return status;
        if (wait_for_next(&t, fruitless, e))
            return ERR_CANCELLED;
    }
    return status;
}

int fetch_text(const char *url, struct buf *out, int64_t timeout_seconds,
               const struct pull_callbacks *callbacks, struct err *e)
{
    int status = 0;
    for (int i = 1; i <= FRUITLESS_ATTEMPTS; i++) {
        buf_reset(out);
        struct transfer t = {.text = out, .callbacks = callbacks, .e = e};
        status = attempt(&t, url, timeout_seconds);
        if (!worth_another(status) || t.unreachable || i == FRUITLESS_ATTEMPTS)
            return status;
        if (wait_for_next(&t, i, e))
            return ERR_CANCELLED;
    }
    return status;
}
