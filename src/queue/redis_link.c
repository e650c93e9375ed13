#include "queue/redis_link.h"

#include "base/clock.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>

#define WORDS_MAX (16u << 20)
#define REPLY_MAX (64u << 20)
#define PIECE     65536
#define MS_NS     INT64_C(1000000)

struct redis_link {
    CURL *curl;          /* owned */
    redisReader *reader; /* owned */
    curl_socket_t fd;    /* curl's */
    size_t heard;        /* bytes since the last reply was complete */
    bool broken;
};

/* ---- the words of a command ------------------------------------------------------- */

void redis_words_add(struct redis_words *w, const char *word)
{
    buf_add(&w->text, word, strlen(word) + 1);
    w->count++;
}

void redis_words_begin(struct redis_words *w, const char *words)
{
    w->text.maximum = WORDS_MAX;
    buf_reset(&w->text);
    w->count = 0;
    while (*words) {
        size_t length = strcspn(words, " ");
        buf_add(&w->text, words, length);
        buf_char(&w->text, '\0');
        w->count++;
        words += length + strspn(words + length, " ");
    }
}

void redis_words_number(struct redis_words *w, int64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)number);
    redis_words_add(w, text);
}

void redis_words_release(struct redis_words *w)
{
    buf_release(&w->text);
    w->count = 0;
}

/* ---- bytes ------------------------------------------------------------------------ */

static int broken(struct redis_link *l, int code, struct err *e, const char *what)
{
    l->broken = true;
    return err_set(e, code, "%s", what);
}

/* Until the socket is ready; 0, ERR_TIMEOUT, or ERR_CANCELLED. */
static int wait_for(struct redis_link *l, short events, int64_t until_ns, int wake_fd,
                    struct err *e)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = l->fd, .events = events},
                              {.fd = wake_fd, .events = POLLIN}};
        int64_t left_ms = (until_ns - clock_monotonic_ns() + MS_NS - 1) / MS_NS;
        if (left_ms <= 0)
            return err_set(e, ERR_TIMEOUT, "it does not answer in time");
        int n = poll(p, 2, left_ms > 60000 ? 60000 : (int)left_ms);
        if (n < 0 && errno != EINTR)
            return err_errno(e, "poll");
        if (n > 0 && p[1].revents)
            return err_set(e, ERR_CANCELLED, "woken");
        if (n > 0)
            return 0;
    }
}

static int send_all(struct redis_link *l, const char *bytes, size_t length,
                    int64_t until_ns, struct err *e)
{
    while (length > 0) {
        size_t sent = 0;
        CURLcode rc = curl_easy_send(l->curl, bytes, length, &sent);
        if (rc == CURLE_AGAIN) {
            int status = wait_for(l, POLLOUT, until_ns, -1, e);
            if (status) {
                l->broken = true;
                return status;
            }
        } else if (rc) {
            return broken(l, ERR_NETWORK, e, curl_easy_strerror(rc));
        }
        bytes += sent;
        length -= sent;
    }
    return 0;
}

/* More bytes for the reader. */
static int receive(struct redis_link *l, int64_t until_ns, int wake_fd, struct err *e)
{
    char piece[PIECE];
    for (;;) {
        size_t n = 0;
        CURLcode rc = curl_easy_recv(l->curl, piece, sizeof piece, &n);
        if (rc == CURLE_AGAIN) {
            int status = wait_for(l, POLLIN, until_ns, wake_fd, e);
            if (status)
                return status;
            continue;
        }
        if (rc)
            return broken(l, ERR_NETWORK, e, curl_easy_strerror(rc));
        if (n == 0)
            return broken(l, ERR_NETWORK, e, "it closed the connection");
        l->heard += n;
        if (l->heard > REPLY_MAX)
            return broken(l, ERR_TOO_LARGE, e, "its reply is too large");
        if (redisReaderFeed(l->reader, piece, n))
            return broken(l, ERR_CORRUPT, e, l->reader->errstr);
        return 0;
    }
}

/* ---- commands --------------------------------------------------------------------- */

static bool begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

/* What the server refuses, in our words. */
static int refusal(const redisReply *r, struct err *e)
{
    static const struct {
        const char *begins;
        int code;
    } known[] = {
        {"NOSCRIPT", ERR_NOT_FOUND},
        {"NOAUTH", ERR_DENIED},
        {"WRONGPASS", ERR_DENIED},
        {"NOPERM", ERR_DENIED},
        {"ERR invalid password", ERR_DENIED},
        {"ERR Client sent AUTH", ERR_DENIED},
        {"ERR AUTH", ERR_DENIED},
        {"ERR wrong number of arguments for 'auth'", ERR_UNSUPPORTED},
        {"ERR DB index", ERR_INVALID},
        {"ERR invalid DB index", ERR_INVALID},
    };
    int code = ERR_STATE;
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++)
        if (begins(r->str, known[i].begins))
            code = known[i].code;
    return err_set(e, code, "it says \"%.200s\"", r->str);
}

int redis_link_send(struct redis_link *l, const struct redis_words *w, int64_t timeout_ms,
                    struct err *e)
{
    if (l->broken)
        return err_set(e, ERR_NETWORK, "the connection has failed");
    const char **list = mem_array(w->count, sizeof *list);
    if (!list || buf_failed(&w->text)) {
        free(list);
        return err_set(e, ERR_NOMEM, "out of memory for a command");
    }
    const char *word = w->text.data;
    for (size_t i = 0; i < w->count; i++) {
        list[i] = word;
        word += strlen(word) + 1;
    }
    char *bytes = NULL;
    long long length = redisFormatCommandArgv(&bytes, (int)w->count, list, NULL);
    free(list);
    if (length < 0)
        return err_set(e, ERR_NOMEM, "out of memory for a command");
    int64_t until_ns = clock_monotonic_ns() + timeout_ms * MS_NS;
    int status = send_all(l, bytes, (size_t)length, until_ns, e);
    redisFreeCommand(bytes);
    return status;
}

int redis_link_hear(struct redis_link *l, int64_t timeout_ms, int wake_fd,
                    redisReply **out, struct err *e)
{
    int64_t until_ns = clock_monotonic_ns() + timeout_ms * MS_NS;
    *out = NULL;
    if (l->broken)
        return err_set(e, ERR_NETWORK, "the connection has failed");
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(l->reader, &reply))
            return broken(l, ERR_CORRUPT, e, l->reader->errstr);
        if (reply) {
            *out = reply;
            l->heard = 0;
            return 0;
        }
        int status = receive(l, until_ns, wake_fd, e);
        if (status)
            return status;
    }
}

int redis_link_ask(struct redis_link *l, const struct redis_words *w, int64_t timeout_ms,
                   redisReply **out, struct err *e)
{
    redisReply *reply = NULL;
    int64_t until_ns = clock_monotonic_ns() + timeout_ms * MS_NS;
    if (out)
        *out = NULL;
    int status = redis_link_send(l, w, timeout_ms, e);
    if (status)
        return status;
    int64_t left_ms = (until_ns - clock_monotonic_ns()) / MS_NS;
    status = redis_link_hear(l, left_ms > 1 ? left_ms : 1, -1, &reply, e);
    if (status || !reply) {
        l->broken = true; /* the reply may come when another one is waited for */
        return status ? status : ERR_NETWORK;
    }
    if (reply->type == REDIS_REPLY_ERROR)
        status = refusal(reply, e);
    if (!status && out)
        *out = reply;
    else
        freeReplyObject(reply);
    return status;
}

/* ---- open and close --------------------------------------------------------------- */

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void begin_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Workers and decoders are children of this process: they are to inherit no connection
 * that is logged in. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    (void)arg;
    (void)purpose;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* A connection without a request: "http" is one without TLS, "https" one with. */
static int set_up(CURL *c, const struct redis_address *a, struct err *e)
{
    char url[1200];
    int n = snprintf(url, sizeof url, "http%s://%s:%d/", a->tls ? "s" : "",
                     a->host ? a->host : "localhost", a->host ? a->port : 6379);
    if (n < 0 || (size_t)n >= sizeof url)
        return err_set(e, ERR_INVALID, "REDIS_URL: the name of the host is too long");
    CURLcode rc = curl_easy_setopt(c, CURLOPT_URL, url);
    rc = rc ? rc : curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
    rc = rc ? rc : curl_easy_setopt(c, CURLOPT_PROXY, "");
    rc = rc ? rc : curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    rc = rc ? rc : curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    rc = rc ? rc : curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    rc = rc ? rc : curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)REDIS_CONNECT_MS);
    rc = rc ? rc : curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)REDIS_CONNECT_MS);
    if (a->path)
        rc = rc ? rc : curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, a->path);
    if (a->tls) {
        rc = rc ? rc : curl_easy_setopt(c, CURLOPT_SSL_ENABLE_ALPN, 0L);
        rc = rc ? rc : curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
        rc = rc ? rc : curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
        if (a->ca_file)
            rc = rc ? rc : curl_easy_setopt(c, CURLOPT_CAINFO, a->ca_file);
    }
    return rc ? err_set(e, ERR_NOMEM, "%s", curl_easy_strerror(rc)) : 0;
}

static int connect_link(struct redis_link *l, const struct redis_address *a,
                        struct err *e)
{
    char why[CURL_ERROR_SIZE] = "";
    int status = set_up(l->curl, a, e);
    if (status)
        return status;
    (void)curl_easy_setopt(l->curl, CURLOPT_ERRORBUFFER, why);
    CURLcode rc = curl_easy_perform(l->curl);
    (void)curl_easy_setopt(l->curl, CURLOPT_ERRORBUFFER, NULL);
    if (rc)
        return err_set(e, rc == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_NETWORK,
                       "%.300s", *why ? why : curl_easy_strerror(rc));
    if (curl_easy_getinfo(l->curl, CURLINFO_ACTIVESOCKET, &l->fd))
        return err_set(e, ERR_NETWORK, "the connection is gone at once");
    return 0;
}

int redis_check_version(const char *info, struct err *e)
{
    static const char name[] = "redis_version:";
    const char *at = strstr(info, name);
    if (!at)
        return err_set(e, ERR_UNSUPPORTED, "it does not say which version it is");
    at += strlen(name);
    long major = strtol(at, NULL, 10);
    if (major >= REDIS_OLDEST_MAJOR)
        return 0;
    return err_set(e, ERR_UNSUPPORTED,
                   "Redis %.*s is too old: install Redis %d or later, or Valkey",
                   (int)strspn(at, "0123456789."), at, REDIS_OLDEST_MAJOR);
}

static int authenticate(struct redis_link *l, const char *user, const char *password,
                        struct err *e)
{
    struct redis_words w = {0};
    redis_words_begin(&w, "AUTH");
    if (user)
        redis_words_add(&w, user);
    redis_words_add(&w, password);
    int status = redis_link_ask(l, &w, REDIS_COMMAND_MS, NULL, e);
    redis_words_release(&w);
    /* Redis 5 has a password and no users; later ones call that user so. */
    if (status == ERR_UNSUPPORTED && user && !strcmp(user, "default"))
        return authenticate(l, NULL, password, e);
    if (status == ERR_UNSUPPORTED)
        return err_set(e, ERR_DENIED, "it knows no users: leave the user out of the URL");
    return status;
}

static int log_in(struct redis_link *l, const struct redis_address *a, struct err *e)
{
    struct redis_words w = {0};
    redisReply *info = NULL;
    int status = a->password ? authenticate(l, a->user, a->password, e) : 0;
    if (!status) {
        redis_words_begin(&w, "INFO server");
        status = redis_link_ask(l, &w, REDIS_COMMAND_MS, &info, e);
    }
    if (!status)
        status =
            redis_check_version(info->type == REDIS_REPLY_STRING ? info->str : "", e);
    if (!status && a->database) {
        redis_words_begin(&w, "SELECT");
        redis_words_number(&w, a->database);
        status = redis_link_ask(l, &w, REDIS_COMMAND_MS, NULL, e);
    }
    freeReplyObject(info);
    redis_words_release(&w);
    return status;
}

int redis_link_open(struct redis_link **out, const struct redis_address *a, struct err *e)
{
    char where[400];
    *out = NULL;
    (void)pthread_once(&once, begin_curl);
    struct redis_link *l = calloc(1, sizeof *l);
    if (!l || !(l->curl = curl_easy_init()) || !(l->reader = redisReaderCreate())) {
        redis_link_close(l);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    int status = connect_link(l, a, e);
    if (!status)
        status = log_in(l, a, e);
    if (status) {
        redis_link_close(l);
        (void)err_prefix(e, "%s", redis_address_print(a, where, sizeof where));
        return status;
    }
    *out = l;
    return 0;
}

void redis_link_close(struct redis_link *l)
{
    if (!l)
        return;
    if (l->curl)
        curl_easy_cleanup(l->curl);
    if (l->reader)
        redisReaderFree(l->reader);
    free(l);
}
