#include "net/fetch.h"

#include "base/clock.h"

#include <curl/curl.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>

#define HEAD_MAX    (64u << 10) /* bytes of an answer's head */
#define DROPPED_MAX (64u << 10) /* bytes of a body that nobody wants */
#define SLOW_BYTES  1024        /* a second: below that it does not count as alive */
#define TICK_MS     100         /* between two questions whether to go on, at most */

struct transfer {
    const struct net_request *r; /* borrowed */
    struct net_answer *answer;   /* borrowed */
    CURL *curl;                  /* owned */
    char *host;                  /* owned by curl: of the present URL, no brackets */
    size_t head_bytes, dropped;
    bool begun, refused;
    int64_t deadline_ns;
    int64_t since_ns; /* from here on it has to bring something … */
    curl_off_t moved; /* … beyond this */
    int status;       /* our own reason to stop */
    struct err *e;
    char reason[CURL_ERROR_SIZE];
};

/* ---- what libcurl calls ---------------------------------------------------------- */

/* Each address that is about to be connected to, whatever the name resolved to before. */
static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct transfer *t = arg;
    if (purpose != CURLSOCKTYPE_IPCXN ||
        !net_guard_admits(t->r->guard, t->host, &a->addr)) {
        t->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* Some of it is sent on in requests of ours, where a CR could begin another line. */
static bool is_clean(const char *value, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7F)
            return false;
    return true;
}

static void copy_value(char *out, size_t size, const char *value, size_t length)
{
    while (length > 0 && (*value == ' ' || *value == '\t')) {
        value++;
        length--;
    }
    while (length > 0 && strchr(" \t\r\n", value[length - 1]))
        length--;
    if (length >= size || !is_clean(value, length))
        length = 0;
    memcpy(out, value, length);
    out[length] = '\0';
}

static bool is_name(const char *line, size_t length, const char *name)
{
    return length == strlen(name) && !strncasecmp(line, name, length);
}

/* Whole seconds, within reason: others multiply them. A date is not understood. */
static long read_wait(const char *value)
{
    size_t digits = strspn(value, "0123456789");
    long seconds = strtol(value, NULL, 10);
    if (!digits || value[digits])
        return 0;
    return seconds < NET_RETRY_AFTER_MAX ? seconds : NET_RETRY_AFTER_MAX;
}

static void take_header(struct net_answer *a, const char *line, size_t name,
                        const char *value)
{
    unsigned long long start;
    /* An ETag that is strong wins over the time; a weak one promises nothing. */
    if (is_name(line, name, "ETag") && value[0] == '"')
        (void)snprintf(a->validator, sizeof a->validator, "%s", value);
    else if (is_name(line, name, "Last-Modified") && a->validator[0] != '"')
        (void)snprintf(a->validator, sizeof a->validator, "%s", value);
    else if (is_name(line, name, "Content-Range") &&
             sscanf(value, "bytes %llu-", &start) == 1 && start <= INT64_MAX)
        a->range_start = (int64_t)start;
    else if (is_name(line, name, "Retry-After"))
        a->retry_after_seconds = read_wait(value);
}

static void forget_answer(struct net_answer *a)
{
    *a = (struct net_answer){.length = -1, .range_start = -1};
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t length = size * count;
    char value[NET_VALIDATOR_SIZE];
    t->head_bytes += length;
    if (t->head_bytes > HEAD_MAX) {
        t->status = err_set(t->e, ERR_NETWORK, "the server's answer has an endless head");
        return 0;
    }
    if (length > 5 && !strncasecmp(line, "HTTP/", 5))
        forget_answer(t->answer);
    const char *colon = memchr(line, ':', length);
    if (!colon)
        return length;
    size_t name = (size_t)(colon - line);
    copy_value(value, sizeof value, colon + 1, length - name - 1);
    take_header(t->answer, line, name, value);
    return length;
}

static bool is_wanted(const struct transfer *t)
{
    return t->r->data && (t->answer->status == 200 || t->answer->status == 206);
}

static void read_status(struct transfer *t)
{
    curl_off_t length = -1;
    (void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->answer->status);
    (void)curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->answer->length = length;
}

/* Of an answer that is wanted, once, before its first byte or at its end. */
static void begin_body(struct transfer *t)
{
    if (t->begun)
        return;
    t->begun = true;
    read_status(t);
    if (is_wanted(t) && t->r->begin)
        t->status = t->r->begin(t->r->arg, t->answer, t->e);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t length = size * count;
    begin_body(t);
    if (t->status)
        return 0;
    if (is_wanted(t)) {
        t->status = t->r->data(t->r->arg, bytes, length, t->e);
        return t->status ? 0 : length;
    }
    t->dropped += length;
    return t->dropped > DROPPED_MAX ? 0 : length;
}

/* libcurl's own limit of this kind knows no speed for the first second, and then ends
 * what is to be waited for a second only. */
static int judge_speed(struct transfer *t, curl_off_t moved)
{
    int64_t now = clock_monotonic_ns();
    if (now < t->since_ns + t->r->stall_seconds * INT64_C(1000000000))
        return 0;
    if (moved - t->moved < (curl_off_t)SLOW_BYTES * t->r->stall_seconds)
        return err_set(t->e, ERR_TIMEOUT, "%.100s is too slow or does not answer",
                       t->host);
    t->since_ns = now;
    t->moved = moved;
    return 0;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t down, curl_off_t c,
                       curl_off_t up)
{
    (void)a, (void)c;
    struct transfer *t = arg;
    if (!t->status)
        t->status = judge_speed(t, down + up);
    if (!t->status && t->r->tick)
        t->status = t->r->tick(t->r->arg, t->e);
    return t->status != 0;
}

/* ---- one hop --------------------------------------------------------------------- */

static void only_http(CURL *curl)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static void set_limits(struct transfer *t)
{
    CURL *curl = t->curl;
    long left = (long)((t->deadline_ns - clock_monotonic_ns()) / 1000000);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, left > 0 ? left : 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)t->r->stall_seconds);
    t->since_ns = clock_monotonic_ns();
    t->moved = 0;
}

static void set_options(struct transfer *t, const char *url)
{
    CURL *curl = t->curl;
    only_http(curl);
    set_limits(t);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->reason);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "whisper-transcriber/" WT_VERSION);
    /* Nothing of the environment: a proxy would resolve names for itself. */
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
}

static int add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (!longer)
        return ERR_NOMEM;
    *list = longer;
    return 0;
}

/* What is asked for, beyond the address. The list is freed after the request. */
static int set_request(struct transfer *t, struct curl_slist **headers)
{
    const struct net_request *r = t->r;
    int status = 0;
    char line[NET_VALIDATOR_SIZE + 16], range[32];
    for (size_t i = 0; !status && i < r->n_headers; i++)
        status = add_header(headers, r->headers[i]);
    if (r->body) {
        curl_easy_setopt(t->curl, CURLOPT_POST, 1L);
        curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, r->body);
        curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE,
                         (curl_off_t)r->body_length);
        if (!status)
            status = add_header(headers, "Expect:"); /* bodies are small */
    }
    if (r->from > 0 && r->validator && r->validator[0]) {
        (void)snprintf(range, sizeof range, "%lld-", (long long)r->from);
        (void)snprintf(line, sizeof line, "If-Range: %s", r->validator);
        curl_easy_setopt(t->curl, CURLOPT_RANGE, range);
        if (!status)
            status = add_header(headers, line);
    }
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, *headers);
    return status;
}

static CURLcode result_of(CURLM *multi)
{
    int left;
    const CURLMsg *m = curl_multi_info_read(multi, &left);
    return m && m->msg == CURLMSG_DONE ? m->data.result : CURLE_OUT_OF_MEMORY;
}

/* As curl_easy_perform, which asks on_progress only once a second when nothing comes. */
static CURLcode perform(CURL *curl)
{
    CURLcode code = CURLE_OUT_OF_MEMORY;
    int running = 1;
    CURLM *multi = curl_multi_init();
    if (!multi || curl_multi_add_handle(multi, curl))
        goto done;
    while (running && !curl_multi_perform(multi, &running))
        if (running && curl_multi_poll(multi, NULL, 0, TICK_MS, NULL))
            break;
    if (!running)
        code = result_of(multi);
    (void)curl_multi_remove_handle(multi, curl);
done:
    curl_multi_cleanup(multi);
    return code;
}

static int judge(struct transfer *t, CURLcode code)
{
    if (t->status)
        return t->status;
    if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && t->dropped > DROPPED_MAX)) {
        begin_body(t);
        return t->status;
    }
    if (t->refused &&
        (code == CURLE_COULDNT_CONNECT || code == CURLE_ABORTED_BY_CALLBACK))
        return err_set(t->e, ERR_DENIED,
                       "%.100s leads to an address that is not on the public internet, "
                       "or to a port that is not the web's",
                       t->host);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return err_set(t->e, ERR_TIMEOUT, "%.100s is too slow or does not answer",
                       t->host);
    if (code == CURLE_OUT_OF_MEMORY)
        return err_set(t->e, ERR_NOMEM, "out of memory");
    return err_set(t->e, ERR_NETWORK, "%.100s: %s", t->host,
                   t->reason[0] ? t->reason : curl_easy_strerror(code));
}

static int host_of(const char *url, char **out)
{
    CURLU *u = curl_url();
    *out = NULL;
    if (u && !curl_url_set(u, CURLUPART_URL, url, 0))
        (void)curl_url_get(u, CURLUPART_HOST, out, 0);
    curl_url_cleanup(u);
    char *host = *out;
    size_t length = host ? strlen(host) : 0;
    if (length > 2 && host[0] == '[') {
        memmove(host, host + 1, length - 2);
        host[length - 2] = '\0';
    }
    return host ? 0 : ERR_INVALID;
}

/* One request; *next is where a redirect leads (the caller frees it), else NULL. */
static int hop(struct transfer *t, const char *url, char **next)
{
    char *to = NULL;
    struct curl_slist *headers = NULL;
    int status = net_guard_url(t->r->guard, url, t->e);
    if (status)
        return status;
    forget_answer(t->answer);
    t->begun = t->refused = false;
    t->head_bytes = t->dropped = 0;
    t->reason[0] = '\0';
    t->curl = curl_easy_init();
    if (!t->curl || host_of(url, &t->host)) {
        status = err_set(t->e, ERR_NOMEM, "out of memory");
        goto done;
    }
    set_options(t, url);
    status = set_request(t, &headers);
    if (status)
        (void)err_set(t->e, status, "out of memory");
    if (!status)
        status = judge(t, perform(t->curl));
    bool redirect = t->answer->status >= 300 && t->answer->status < 400;
    if (!status && redirect && t->r->redirects > 0)
        (void)curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &to);
    *next = to ? strdup(to) : NULL;
    if (to && !*next)
        status = err_set(t->e, ERR_NOMEM, "out of memory");
done:
    curl_slist_free_all(headers);
    curl_free(t->host);
    t->host = NULL;
    curl_easy_cleanup(t->curl);
    t->curl = NULL;
    return status;
}

static void init_library(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

int net_fetch(const struct net_request *r, struct net_answer *out, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct err own;
    (void)pthread_once(&once, init_library);
    struct transfer t = {.r = r, .answer = out, .e = e ? e : &own};
    t.deadline_ns = clock_monotonic_ns() + r->total_seconds * 1000000000;
    char *next = NULL;
    forget_answer(out);
    int status = hop(&t, r->url, &next);
    for (int i = 0; !status && next; i++) {
        char *url = next;
        next = NULL;
        status = i < r->redirects
                     ? hop(&t, url, &next)
                     : err_set(t.e, ERR_INVALID,
                               "the address redirects more than %d times", r->redirects);
        free(url);
    }
    free(next);
    return status;
}
