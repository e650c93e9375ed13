/* What goes out: an answer, a refusal, or a connection that becomes a WebSocket. */
#include "base/mem.h"
#include "http/exchange.h"
#include "http/refuse.h"

#include <errno.h>
#include <strings.h>

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

/* All of them, or there is no answer. The library also refuses what no header may hold:
 * that one is left out. */
static struct MHD_Response *add_headers(struct MHD_Response *m,
                                        const struct http_response *r)
{
    bool lacking = r->lacking;
    for (size_t i = 0; m && i < r->headers.count; i++) {
        errno = 0;
        if (!MHD_add_response_header(m, r->headers.list[i].name,
                                     r->headers.list[i].value))
            lacking |= errno == ENOMEM;
    }
    if (!m || !lacking)
        return m;
    MHD_destroy_response(m);
    return NULL;
}

static struct MHD_Response *make_response(struct exchange *x)
{
    struct http_response *r = &x->request.response;
    struct MHD_Response *m;
    if (x->request.stream) {
        m = exchange_stream_response(x);
        /* After a head alone libmicrohttpd 0.9.75 ends the chunks that it has not sent,
         * which the client takes for the next answer: no chunks then. */
        if (m && x->is_head)
            (void)MHD_set_response_options(m, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT,
                                           MHD_RO_END);
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
    return add_headers(m, r);
}

static enum MHD_Result queue(struct exchange *x, struct MHD_Response *m)
{
    if (!m)
        return MHD_NO;
    unsigned status = (unsigned)x->request.response.status;
    enum MHD_Result queued = MHD_queue_response(x->request.connection, status, m);
    MHD_destroy_response(m);
    return queued;
}

enum MHD_Result exchange_refuse(struct exchange *x)
{
    x->stage = EXCHANGE_DRAIN;
    if (x->connection)
        http_watch_phase(x->server->watch, x->connection->watched, HTTP_PHASE_DRAIN);
    add_standard_headers(x);
    if (x->request.response.lacking)
        return MHD_NO;
    x->answered_bytes = http_refuse(exchange_fd(x), &x->request.response, x->is_head);
    /* Who asks before it sends, and has not been told to, has sent nothing that would be
     * in the way. */
    return x->expects && !x->body_wanted ? MHD_NO : MHD_YES;
}

/* ---- WebSockets ------------------------------------------------------------------- */

/* Once libmicrohttpd knows, its thread calls exchange_completed. */
static void on_upgrade_release(void *arg)
{
    struct exchange *x = arg;
    (void)MHD_upgrade_action(x->upgrade, MHD_UPGRADE_ACTION_CLOSE);
}

/* On the pool: `open` may block. */
static void open_socket(struct exchange *x)
{
    if (http_ws_add(x->server->ws, &x->socket, x->route->ws, &x->request))
        on_upgrade_release(x);
}

static void on_upgraded(void *cls, struct MHD_Connection *connection, void *con_cls,
                        const char *extra, size_t extra_size, MHD_socket fd,
                        struct MHD_UpgradeResponseHandle *handle)
{
    (void)cls;
    (void)connection;
    struct exchange *x = con_cls;
    /* The connection's memory, with `extra` in it, stays until the release. */
    x->socket = (struct http_ws_socket){fd, extra, extra_size, on_upgrade_release, x};
    x->upgrade = handle;
    exchange_work(x, open_socket);
}

static struct MHD_Response *make_upgrade(struct exchange *x)
{
    struct http_response *r = &x->request.response;
    struct MHD_Response *m = MHD_create_response_for_upgrade(on_upgraded, x->server);
    return add_headers(m, r);
}

enum MHD_Result exchange_answer(struct exchange *x)
{
    struct http_response *r = &x->request.response;
    if (!r->status)
        http_respond_error(r, 500, "internal", "The request was not answered.");
    if (r->status == 101) {
        http_response_header(r, "X-Request-Id", x->id);
        return queue(x, make_upgrade(x));
    }
    x->last = x->chunked || atomic_load(&x->server->leaving);
    if (x->last)
        http_response_header(r, "Connection", "close"); /* see chunks.h, stop.c */
    add_standard_headers(x);
    x->answered_bytes = r->fixed     ? r->fixed_length
                        : r->fd >= 0 ? (size_t)r->length
                                     : r->body.length;
    if (x->connection)
        http_watch_phase(x->server->watch, x->connection->watched, HTTP_PHASE_ANSWER);
    enum MHD_Result queued = queue(x, make_response(x));
    if (queued && x->request.stream)
        exchange_stream_begin(x);
    return queued;
}

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

void exchange_handshake(struct exchange *x)
{
    struct http_request *r = &x->request;
    const char *key = http_request_header(r, "Sec-WebSocket-Key");
    const char *version = http_request_header(r, "Sec-WebSocket-Version");
    char accept[HTTP_WS_ACCEPT_SIZE];
    if (x->is_head || !header_has(r, "Upgrade", "websocket") ||
        !header_has(r, "Connection", "upgrade") || !version ||
        strcmp(version, "13") != 0) {
        http_response_header(&r->response, "Upgrade", "websocket");
        http_response_header(&r->response, "Connection", "Upgrade");
        http_response_header(&r->response, "Sec-WebSocket-Version", "13");
        http_respond_error(&r->response, 426, "upgrade_required",
                           "this is a WebSocket: connect with ws:// and version 13");
        return;
    }
    if (!key || !http_ws_accept(key, accept)) {
        http_respond_error(&r->response, 400, "bad_request",
                           "Sec-WebSocket-Key is missing or malformed");
        return;
    }
    if (x->route->ws->check(r))
        return;
    http_response_header(&r->response, "Upgrade", "websocket");
    http_response_header(&r->response, "Sec-WebSocket-Accept", accept);
    r->response.status = 101;
}
