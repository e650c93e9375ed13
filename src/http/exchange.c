#include "http/exchange.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/admit.h"
#include "http/refuse.h"
#include "http/router.h"

#include <strings.h>

#define DROPPED_BODY_MAX (64 << 10) /* of a request that should have none */
#define FORM_OVERHEAD    (1 << 20)  /* of a form around its file */

struct exchange {
    struct http_request request;
    struct http_server *server;     /* borrowed */
    const struct http_route *route; /* NULL before it is known */
    struct http_form *form;         /* owned */
    struct http_watched *watched;   /* borrowed */
    char *uri;                      /* owned: path, a NUL, query */
    const char *query;              /* in uri */
    char method[16];
    char id[65];
    char client[HTTP_ADDRESS_TEXT];
    int64_t started_ns, body_bytes, body_max;
    bool admitted, head, has_body, counted, bodied;
    size_t answered_bytes;
    struct MHD_UpgradeResponseHandle *upgrade; /* borrowed; NULL: no WebSocket */
    bool released;                             /* under the server's lock */
};

void *exchange_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct exchange *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->server = cls;
    x->uri = strdup(uri);
    if (!x->uri) {
        free(x);
        return NULL;
    }
    char *question = strchr(x->uri, '?');
    x->query = question ? question + 1 : "";
    if (question)
        *question = '\0';
    x->started_ns = clock_monotonic_ns();
    x->request = (struct http_request){.app = x->server->app,
                                       .path = x->uri,
                                       .id = x->id,
                                       .client = x->client,
                                       .content_length = -1,
                                       .connection = connection};
    http_response_init(&x->request.response);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->watched = info ? info->socket_context : NULL;
    return x;
}

static int connection_fd(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* ---- answering -------------------------------------------------------------------- */

/* What every answer carries unless the handler said otherwise. */
static void add_standard_headers(struct exchange *x)
{
    static const struct {
        const char *name, *value;
    } standard[] = {
        {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cache-Control", "no-store"},
    };
    struct http_response *r = &x->request.response;
    for (size_t i = 0; i < ARRAY_LENGTH(standard); i++)
        if (!http_params_get(&r->headers, standard[i].name))
            http_response_header(r, standard[i].name, standard[i].value);
    http_response_header(r, "X-Request-Id", x->id);
}

#define STREAM_BLOCK 4096

static struct MHD_Response *make_response(struct http_request *request)
{
    struct http_response *r = &request->response;
    struct MHD_Response *m;
    if (request->stream) {
        m = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, stream_read,
                                              request->stream, stream_free);
        if (!m)
            stream_free(request->stream);
        request->stream = NULL;
    } else if (r->fd >= 0) {
        m = MHD_create_response_from_fd_at_offset64((uint64_t)r->length, r->fd,
                                                    (uint64_t)r->offset);
        if (m)
            r->fd = -1; /* the library's now */
    } else if (r->fixed || !r->body.data) {
        void *bytes;
        const void *fixed = r->fixed ? r->fixed : "";
        memcpy(&bytes, &fixed, sizeof bytes); /* not written to: PERSISTENT */
        m = MHD_create_response_from_buffer(r->fixed ? r->fixed_length : 0, bytes,
                                            MHD_RESPMEM_PERSISTENT);
    } else {
        m = MHD_create_response_from_buffer(r->body.length, r->body.data,
                                            MHD_RESPMEM_MUST_FREE);
        if (m)
            buf_init(&r->body, HTTP_BODY_MAX); /* the bytes are the library's now */
    }
    for (size_t i = 0; m && i < r->headers.count; i++)
        (void)MHD_add_response_header(m, r->headers.list[i].name,
                                      r->headers.list[i].value);
    return m;
}

static enum MHD_Result queue(struct exchange *x)
{
    struct http_response *r = &x->request.response;
    later_run(&x->request);
    if (!r->status)
        http_respond_error(r, 500, "internal", "The request was not answered.");
    add_standard_headers(x);
    x->answered_bytes = r->fixed     ? r->fixed_length
                        : r->fd >= 0 ? (size_t)r->length
                                     : r->body.length;
    struct MHD_Response *m = make_response(&x->request);
    if (!m)
        return MHD_NO;
    enum MHD_Result queued =
        MHD_queue_response(x->request.connection, (unsigned)r->status, m);
    MHD_destroy_response(m);
    return queued;
}

/* The body has not been read whole: say no on the socket and close. */
static enum MHD_Result refuse(struct exchange *x)
{
    http_watch_phase(x->server->watch, x->watched, HTTP_PHASE_WORK);
    add_standard_headers(x);
    x->answered_bytes =
        http_refuse(connection_fd(x->request.connection), &x->request.response, x->head);
    return MHD_NO;
}

/* ---- the head --------------------------------------------------------------------- */

static void set_id(struct exchange *x)
{
    const char *given = http_request_header(&x->request, "X-Request-Id");
    char made[ID_SIZE];
    bool good = given && http_request_id_valid(given);
    (void)snprintf(x->id, sizeof x->id, "%s", good ? given : id_new(made));
}

static struct http_address set_client(struct exchange *x)
{
    struct http_address peer = {0};
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        x->request.connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info && info->client_addr)
        (void)http_address_from(info->client_addr, &peer);
    struct http_address client = http_client_address(
        &peer, http_request_header(&x->request, "X-Forwarded-For"), &x->server->trusted);
    http_address_text(&client, x->client);
    return client;
}

static void set_method(struct exchange *x, const char *method)
{
    x->head = !strcmp(method, "HEAD");
    (void)snprintf(x->method, sizeof x->method, "%s", method);
    x->request.method = x->head ? "GET" : x->method;
}

static int find_route(struct exchange *x)
{
    struct http_request *r = &x->request;
    struct buf allow;
    buf_init(&allow, 256);
    int status = ERR_NOT_FOUND;
    switch (http_router_find(x->server->routes, x->server->n_routes, x->method, r->path,
                             &x->route, &r->captures, &allow)) {
    case HTTP_MATCH:
        status = 0;
        break;
    case HTTP_NO_METHOD:
        http_response_header(&r->response, "Allow", buf_cstr(&allow));
        http_respond_error(&r->response, 405, "method_not_allowed",
                           "%s is not possible here; %s is", x->method, buf_cstr(&allow));
        break;
    case HTTP_BAD_PATH:
        http_respond_error(&r->response, 400, "bad_request",
                           "the path has a broken %% escape, or is not UTF-8");
        break;
    case HTTP_NO_PATH:
        http_respond_error(&r->response, 404, "not_found",
                           "there is nothing at this path");
        break;
    }
    buf_release(&allow);
    return status;
}

static int parse_query(struct exchange *x)
{
    struct err e;
    struct http_request *r = &x->request;
    if (!http_query_parse(&r->query, x->query, &e))
        return 0;
    http_respond_error(&r->response, 400, "bad_request", "%s", e.message);
    return e.code;
}

static int check_rate(struct exchange *x, const struct http_address *client)
{
    int64_t wait_ns = 0;
    if (!x->route->limited ||
        http_limiter_take(x->server->limiter, client, clock_monotonic_ns(), &wait_ns))
        return 0;
    long long seconds = (long long)(wait_ns / 1000000000) + 1;
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", seconds);
    http_response_header(&x->request.response, "Retry-After", text);
    http_respond_error(&x->request.response, 429, "rate_limited",
                       "too many uploads from this address; try again in %lld second%s",
                       seconds, seconds == 1 ? "" : "s");
    return ERR_STATE;
}

/* How large the body may be, and whether Content-Length says that it is larger. */
static int check_length(struct exchange *x)
{
    struct http_request *r = &x->request;
    const struct http_form_handler *form = x->route->form;
    const struct http_body_handler *body = x->route->body;
    int64_t file_max = form ? form->max_file_bytes(r) : body ? body->max_bytes(r) : 0;
    x->body_max = form ? file_max + FORM_OVERHEAD : body ? file_max : DROPPED_BODY_MAX;
    if (r->content_length <= x->body_max)
        return 0;
    if (form || file_max >= 1 << 20)
        http_respond_error(&r->response, 413, "too_large",
                           "the upload is larger than %lld MB, the most that this server "
                           "takes",
                           (long long)(file_max >> 20));
    else if (body)
        http_respond_error(&r->response, 413, "too_large",
                           "the body is larger than %lld bytes, the most that is taken",
                           (long long)file_max);
    else
        http_respond_error(&r->response, 413, "too_large", "this request takes no body");
    return ERR_TOO_LARGE;
}

static int begin_counting(struct exchange *x)
{
    struct http_server *s = x->server;
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    if (!stopping) {
        s->active++;
        x->counted = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (!stopping)
        return 0;
    http_response_header(&x->request.response, "Connection", "close");
    http_response_header(&x->request.response, "Retry-After", "10");
    http_respond_error(&x->request.response, 503, "stopping", "the server is stopping");
    return ERR_STATE;
}

static int admit(struct exchange *x, const char *method)
{
    struct http_request *r = &x->request;
    bool chunked = false;
    set_id(x);
    set_method(x, method);
    struct http_address client = set_client(x);
    int status = http_admit_framing(r, &chunked);
    x->has_body = status || chunked || r->content_length > 0;
    if (!status)
        status = begin_counting(x);
    if (!status)
        status = find_route(x);
    if (!status)
        status = parse_query(x);
    if (!status && (strcmp(r->method, "GET") != 0 || x->route->ws))
        status = http_admit_origin(r);
    if (!status && x->server->admit)
        status = x->server->admit(r, x->route);
    if (!status)
        status = check_rate(x, &client);
    if (!status)
        status = check_length(x);
    if (!status && x->route->form)
        status = http_form_new(&x->form, r, x->route->form);
    if (!status && x->route->body) {
        x->bodied = true;
        status = x->route->body->begin(r);
    }
    return status;
}

/* ---- WebSockets ------------------------------------------------------------------- */

/* Whether a header that is a list holds a word. */
static bool header_has(const struct http_request *r, const char *name, const char *word)
{
    const char *value = http_request_header(r, name);
    for (const char *p = value ? value : ""; *p;) {
        p += strspn(p, ", \t");
        size_t n = strcspn(p, ", \t");
        if (n == strlen(word) && !strncasecmp(p, word, n))
            return true;
        p += n;
    }
    return false;
}

/* libmicrohttpd marks the connection closed and then touches it once more. Were the
 * connection's own thread done by then, the listener could free it in between; so that
 * thread waits for us (exchange_completed). */
static void on_upgrade_release(void *arg)
{
    struct exchange *x = arg;
    struct http_server *s = x->server;
    (void)MHD_upgrade_action(x->upgrade, MHD_UPGRADE_ACTION_CLOSE);
    pthread_mutex_lock(&s->lock);
    x->released = true;
    pthread_cond_broadcast(&s->released);
    pthread_mutex_unlock(&s->lock);
}

static void on_upgraded(void *cls, struct MHD_Connection *connection, void *con_cls,
                        const char *extra, size_t extra_size, MHD_socket fd,
                        struct MHD_UpgradeResponseHandle *handle)
{
    (void)cls;
    (void)connection;
    struct exchange *x = con_cls;
    const struct http_ws_socket socket = {fd, extra, extra_size, on_upgrade_release, x};
    x->upgrade = handle;
    if (http_ws_add(x->server->ws, &socket, x->route->ws, &x->request))
        on_upgrade_release(x);
}

static enum MHD_Result upgrade(struct exchange *x)
{
    struct http_request *r = &x->request;
    const char *key = http_request_header(r, "Sec-WebSocket-Key");
    const char *version = http_request_header(r, "Sec-WebSocket-Version");
    char accept[HTTP_WS_ACCEPT_SIZE];
    if (x->head || !header_has(r, "Upgrade", "websocket") ||
        !header_has(r, "Connection", "upgrade") || !version ||
        strcmp(version, "13") != 0) {
        http_response_header(&r->response, "Upgrade", "websocket");
        http_response_header(&r->response, "Connection", "Upgrade");
        http_response_header(&r->response, "Sec-WebSocket-Version", "13");
        http_respond_error(&r->response, 426, "upgrade_required",
                           "this is a WebSocket: connect with ws:// and version 13");
        return queue(x);
    }
    if (!key || !http_ws_accept(key, accept)) {
        http_respond_error(&r->response, 400, "bad_request",
                           "Sec-WebSocket-Key is missing or malformed");
        return queue(x);
    }
    if (x->route->ws->check(r))
        return queue(x);
    struct MHD_Response *m = MHD_create_response_for_upgrade(on_upgraded, x->server);
    if (!m)
        return MHD_NO;
    (void)MHD_add_response_header(m, "Upgrade", "websocket");
    (void)MHD_add_response_header(m, "Sec-WebSocket-Accept", accept);
    (void)MHD_add_response_header(m, "X-Request-Id", x->id);
    r->response.status = 101;
    enum MHD_Result queued =
        MHD_queue_response(r->connection, MHD_HTTP_SWITCHING_PROTOCOLS, m);
    MHD_destroy_response(m);
    return queued;
}

/* ---- libmicrohttpd's calls -------------------------------------------------------- */

static enum MHD_Result take_head(struct exchange *x, const char *method)
{
    x->admitted = true;
    http_watch_phase(x->server->watch, x->watched, HTTP_PHASE_BODY);
    if (!admit(x, method))
        return MHD_YES;
    return x->has_body ? refuse(x) : queue(x);
}

static enum MHD_Result take_body(struct exchange *x, const char *bytes, size_t length)
{
    http_watch_bytes(x->server->watch, x->watched, length);
    x->body_bytes += (int64_t)length;
    if (x->body_bytes > x->body_max) {
        http_respond_error(&x->request.response, 413, "too_large",
                           "the body is larger than this server takes");
        return refuse(x);
    }
    if (x->form && http_form_feed(x->form, bytes, length))
        return refuse(x);
    if (x->bodied && x->route->body->data(&x->request, bytes, length))
        return refuse(x);
    return MHD_YES;
}

static enum MHD_Result take_end(struct exchange *x)
{
    http_watch_phase(x->server->watch, x->watched, HTTP_PHASE_WORK);
    if (x->route->ws)
        return upgrade(x);
    if (!x->form || !http_form_finish(x->form))
        x->route->handle(&x->request);
    return queue(x);
}

enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection,
                                const char *url, const char *method, const char *version,
                                const char *upload_data, size_t *upload_size,
                                void **con_cls)
{
    (void)cls;
    (void)connection;
    (void)url;
    (void)version;
    struct exchange *x = *con_cls;
    if (!x)
        return MHD_NO; /* memory was out when it began */
    if (!x->admitted)
        return take_head(x, method);
    if (*upload_size == 0)
        return take_end(x);
    size_t length = *upload_size;
    *upload_size = 0;
    return take_body(x, upload_data, length);
}

static void log_access(const struct exchange *x, enum MHD_RequestTerminationCode how)
{
    int status = x->request.response.status;
    double ms = (double)(clock_monotonic_ns() - x->started_ns) / 1e6;
    enum log_level level = status < 400 && !strncmp(x->uri, "/health", 7) ? LOG_DEBUG
                           : status >= 500                                ? LOG_WARNING
                                                                          : LOG_INFO;
    log_event(level, NULL, "%s %s %s %.400s -> %d, %lld in, %zu out, %.1f ms%s", x->id,
              x->client, x->method, x->uri, status, (long long)x->body_bytes,
              x->answered_bytes, ms,
              status == 0 && how != MHD_REQUEST_TERMINATED_COMPLETED_OK ? ", broken off"
                                                                        : "");
}

static void wait_for_release(struct http_server *s, const struct exchange *x)
{
    pthread_mutex_lock(&s->lock);
    while (!x->released)
        pthread_cond_wait(&s->released, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

void exchange_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                        enum MHD_RequestTerminationCode how)
{
    (void)connection;
    struct http_server *s = cls;
    struct exchange *x = *con_cls;
    if (!x)
        return;
    *con_cls = NULL;
    http_form_free(x->form);
    if (x->bodied)
        x->route->body->done(&x->request);
    if (x->request.on_end)
        x->request.on_end(&x->request);
    if (x->admitted)
        log_access(x, how);
    bool upgraded = x->request.response.status == 101;
    http_watch_phase(s->watch, x->watched, upgraded ? HTTP_PHASE_WORK : HTTP_PHASE_HEAD);
    if (x->counted) {
        pthread_mutex_lock(&s->lock);
        if (--s->active == 0)
            pthread_cond_broadcast(&s->idle);
        pthread_mutex_unlock(&s->lock);
    }
    if (x->upgrade)
        wait_for_release(s, x);
    if (x->request.caller && s->leave)
        s->leave(x->request.caller);
    http_params_release(&x->request.query);
    http_params_release(&x->request.captures);
    http_response_release(&x->request.response);
    free(x->uri);
    free(x);
}

/* ---- what a handler may ask -------------------------------------------------------- */

const char *http_request_header(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *http_request_query(const struct http_request *r, const char *name)
{
    return http_params_get(&r->query, name);
}

const char *http_request_capture(const struct http_request *r, const char *name)
{
    const char *value = http_params_get(&r->captures, name);
    return value ? value : "";
}

bool http_request_accepts(const struct http_request *r, const char *media_type)
{
    const char *p = http_request_header(r, "Accept");
    size_t length = strlen(media_type);
    for (; p && *p; p += strcspn(p, ","), p += *p == ',') {
        p += strspn(p, " \t");
        if (!strncasecmp(p, media_type, length) &&
            (!p[length] || strchr(",; \t", p[length])))
            return true;
    }
    return false;
}
