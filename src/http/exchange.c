#include "http/exchange.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/refuse.h"

#include <strings.h>

void *exchange_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct exchange *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->server = cls;
    x->uri = strdup(uri ? uri : "");
    if (!x->uri) {
        free(x);
        return NULL;
    }
    x->uri_length = strlen(x->uri);
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
    exchange_body_init(x);
    if (x->server->error_shape)
        x->request.response.shape = x->server->error_shape(x->uri);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->connection = info ? info->socket_context : NULL;
    return x;
}

int exchange_fd(const struct exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->request.connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

static void set_phase(struct exchange *x, enum http_phase phase)
{
    if (x->connection)
        http_watch_phase(x->server->watch, x->connection->watched, phase);
}

/* ---- between the two kinds of threads ---------------------------------------------- */

static void run_task(struct http_task *task)
{
    struct exchange *x =
        (struct exchange *)((char *)task - offsetof(struct exchange, task));
    log_request_begin(x->id); /* copied: x may be gone after its work */
    x->work(x);
    log_request_end();
}

void exchange_work(struct exchange *x, void (*work)(struct exchange *x))
{
    x->work = work;
    x->task.run = run_task;
    http_pool_add(x->server->pool, &x->task);
}

void exchange_park(struct exchange *x, void (*work)(struct exchange *x))
{
    set_phase(x, HTTP_PHASE_WORK);
    MHD_suspend_connection(x->request.connection);
    exchange_work(x, work);
}

void exchange_go(struct exchange *x)
{
    set_phase(x, x->stage == EXCHANGE_BODY ? HTTP_PHASE_BODY : HTTP_PHASE_WORK);
    MHD_resume_connection(x->request.connection);
}

/* ---- on the pool --------------------------------------------------------------------
 */

static void run_handler(struct exchange *x)
{
    struct http_request *r = &x->request;
    x->stage = EXCHANGE_ANSWER;
    if (x->route->ws)
        exchange_handshake(x);
    else if (!x->form || !http_form_finish(x->form))
        x->route->handle(r);
    if (exchange_later(x))
        exchange_go(x);
}

/* What has no body needs no second turn. */
static void run_head(struct exchange *x)
{
    x->worked = true;
    if (!exchange_admit(x)) {
        if (!x->has_body) {
            run_handler(x);
            return;
        }
        x->stage = EXCHANGE_BODY;
    } else {
        x->stage = EXCHANGE_ANSWER;
    }
    exchange_go(x);
}

static void log_access(const struct exchange *x)
{
    int status = x->request.response.status;
    double ms = (double)(clock_monotonic_ns() - x->started_ns) / 1e6;
    enum log_level level = status < 400 && !strncmp(x->uri, "/health", 7) ? LOG_DEBUG
                           : status >= 500                                ? LOG_WARNING
                                                                          : LOG_INFO;
    const struct http_request *r = &x->request;
    const struct log_field fields[] = {
        {"client", x->client, 0},
        {"method", x->method, 0},
        {"path", x->uri, 0},
        {"route", x->route ? x->route->pattern : "", 0},
        {"status", NULL, status},
        {"bytes_in", NULL, (double)x->body.total},
        {"bytes_out", NULL, (double)x->answered_bytes},
        {"milliseconds", NULL, ms},
        {"caller", r->caller_id ? r->caller_id : "", 0},
    };
    bool known = r->caller_id && *r->caller_id;
    log_request_begin(x->id);
    log_event_fields(level, fields, ARRAY_LENGTH(fields),
                     "%s %s %.400s -> %d, %lld in, %zu out, %.1f ms%s%s%s", x->client,
                     x->method, x->uri, status, (long long)x->body.total,
                     x->answered_bytes, ms, known ? ", caller " : "",
                     known ? r->caller_id : "",
                     x->broken_off && !status ? ", broken off" : "");
    log_request_end();
}

static void tally_end(const struct exchange *x)
{
    const struct http_response *response = &x->request.response;
    const struct http_tally_end end = {
        .route = x->route,
        .begun = x->counted,
        .status = response->status,
        .error_code = response->error_code,
        .seconds = (double)(clock_monotonic_ns() - x->started_ns) / 1e9,
        .bytes_in = (uint64_t)x->body.total,
        .bytes_out = x->answered_bytes,
    };
    http_tally_end(x->server->tally, &end);
}

static void end_counting(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    if (--s->active == 0)
        pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->lock);
}

void exchange_finish(struct exchange *x)
{
    struct http_server *s = x->server;
    http_form_free(x->form);
    if (x->bodied)
        x->route->body->done(&x->request);
    exchange_stream_release(x);
    x->request.gone |= x->broken_off;
    if (x->request.on_end)
        x->request.on_end(&x->request);
    if (x->head_seen) {
        log_access(x);
        tally_end(x);
    }
    if (x->request.caller && s->leave)
        s->leave(x->request.caller);
    http_params_release(&x->request.query);
    http_params_release(&x->request.captures);
    http_response_release(&x->request.response);
    exchange_body_release(x);
    bool counted = x->counted;
    free(x->head);
    free(x->uri);
    free(x);
    if (counted)
        end_counting(s);
}

/* ---- libmicrohttpd's calls ----------------------------------------------------------
 */

static int begin_counting(struct exchange *x)
{
    struct http_server *s = x->server;
    struct http_response *response = &x->request.response;
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    if (!stopping) {
        s->active++;
        x->counted = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (x->counted)
        http_tally_begin(s->tally, x->route);
    if (stopping) {
        http_response_header(response, "Connection", "close");
        http_response_header(response, "Retry-After", "10");
        http_respond_error(response, 503, "stopping", "the server is stopping");
        return ERR_STATE;
    }
    if (http_pool_full(s->pool)) {
        http_response_header(response, "Retry-After", "2");
        http_respond_error(response, 503, "busy",
                           "the server has more to do than it can; try again");
        return ERR_STATE;
    }
    return 0;
}

/* The answer goes out once the body is read, or at once when there is one that nobody
 * wants to read. */
static enum MHD_Result say(struct exchange *x)
{
    x->stage = EXCHANGE_ANSWER;
    return x->has_body && !x->body_whole ? exchange_refuse(x) : MHD_YES;
}

static enum MHD_Result take_head(struct exchange *x, const char *method,
                                 const char *version)
{
    x->head_seen = true;
    int status = exchange_judge(x, method, version);
    if (!status)
        status = begin_counting(x);
    if (!status) {
        exchange_park(x, run_head);
        return MHD_YES;
    }
    x->head_passed = true;
    return say(x);
}

/* Of a body that is still coming. The form may be at work on an earlier piece, and
 * answering, too: then this piece comes again. */
static enum MHD_Result refuse_body(struct exchange *x, size_t *length, int status,
                                   const char *error_code, const char *sentence)
{
    if (exchange_body_end(x) == EXCHANGE_BODY_BUSY)
        return MHD_YES;
    if (!x->body.broken)
        http_respond_error(&x->request.response, status, error_code, "%s", sentence);
    *length = 0;
    return say(x);
}

static enum MHD_Result take_body(struct exchange *x, const char *bytes, size_t *length)
{
    struct exchange_body *b = &x->body;
    if ((int64_t)*length > b->max - b->total)
        return refuse_body(x, length, 413, "too_large",
                           "the body is larger than this server takes");
    if (x->chunked && !http_chunks_look(&x->chunks, bytes, *length))
        return refuse_body(x, length, 400, "bad_request",
                           "the body's chunks are malformed: each begins with its size "
                           "in hexadecimal digits, and lines end with CR and LF");
    size_t offered = *length;
    bool good = true;
    if (x->form || x->bodied) {
        good = exchange_body_take(x, bytes, length);
    } else {
        b->total += (int64_t)*length;
        *length = 0;
    }
    if (x->connection)
        http_watch_bytes(x->server->watch, x->connection->watched, offered - *length);
    if (good)
        return MHD_YES;
    *length = 0;
    return say(x);
}

/* When the last CR and LF come apart, libmicrohttpd 0.9.75 takes the head's last line for
 * a trailer; where it lies tells. */
static enum MHD_Result look_at_trailer(void *arg, enum MHD_ValueKind kind,
                                       const char *name, const char *value)
{
    struct exchange *x = arg;
    (void)kind;
    (void)value;
    x->chunks.trailers = x->chunks.trailers || http_chunks_hold(&x->chunks, name);
    return MHD_YES;
}

static bool has_trailers(struct exchange *x)
{
    if (x->chunked)
        MHD_get_connection_values(x->request.connection, MHD_FOOTER_KIND, look_at_trailer,
                                  x);
    return x->chunks.trailers;
}

static enum MHD_Result take_end(struct exchange *x)
{
    x->body_whole = true;
    switch (exchange_body_end(x)) {
    case EXCHANGE_BODY_BUSY:
        return MHD_YES;
    case EXCHANGE_BODY_BROKEN:
        x->stage = EXCHANGE_ANSWER;
        return exchange_answer(x);
    case EXCHANGE_BODY_FED:
        break;
    }
    if (has_trailers(x)) {
        http_respond_error(&x->request.response, 400, "bad_request",
                           "send what is to be said in the head: no trailers are taken");
        x->stage = EXCHANGE_ANSWER;
        return exchange_answer(x);
    }
    x->stage = EXCHANGE_END;
    exchange_park(x, run_handler);
    return MHD_YES;
}

/* The first of the calls comes with the head, and again when it is resumed; the last with
 * the whole request. Those in between have bytes. */
static enum MHD_Result handle(struct exchange *x, const char *method, const char *version,
                              const char *bytes, size_t *length)
{
    if (x->stage == EXCHANGE_DROP)
        return MHD_NO;
    if (!x->head_seen)
        return take_head(x, method, version);
    if (x->stage == EXCHANGE_DRAIN) {
        bool more = *length > 0;
        *length = 0;
        return more ? MHD_YES : MHD_NO;
    }
    if (!x->head_passed) {
        x->head_passed = true;
        x->body_wanted = x->stage != EXCHANGE_ANSWER;
        return x->body_wanted ? MHD_YES : say(x);
    }
    if (x->stage == EXCHANGE_ANSWER)
        return exchange_answer(x);
    return *length > 0 ? take_body(x, bytes, length) : take_end(x);
}

enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection,
                                const char *url, const char *method, const char *version,
                                const char *upload_data, size_t *upload_size,
                                void **con_cls)
{
    (void)cls;
    (void)connection;
    (void)url;
    struct exchange *x = *con_cls;
    if (!x)
        return MHD_NO; /* memory was out when it began */
    return handle(x, method, version, upload_data, upload_size);
}

void exchange_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                        enum MHD_RequestTerminationCode how)
{
    (void)cls;
    (void)connection;
    struct exchange *x = *con_cls;
    if (!x)
        return;
    *con_cls = NULL;
    x->broken_off = how != MHD_REQUEST_TERMINATED_COMPLETED_OK;
    if (how == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED && x->stage == EXCHANGE_ANSWER)
        http_watch_abandon(exchange_fd(x));
    if (x->last && !x->broken_off)
        (void)http_drop_unread(exchange_fd(x));
    exchange_stream_detach(x);
    set_phase(x, HTTP_PHASE_HEAD);
    x->connection = NULL;
    x->request.connection = NULL;
    /* What was turned away at the door has nothing to release that could block, and must
     * not stand in the line that it was too much for. */
    if (!x->worked)
        exchange_finish(x);
    else if (exchange_body_over(x))
        exchange_work(x, exchange_finish);
}

/* ---- what a handler may ask -------------------------------------------------------- */

const char *http_request_header(const struct http_request *r, const char *name)
{
    return http_head_get(r->head, name);
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
