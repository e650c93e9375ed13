/* Whether a request may come in: by its head on the library's thread, by what may block
 * on the pool. */
#include "base/clock.h"
#include "base/id.h"
#include "http/admit.h"
#include "http/exchange.h"
#include "http/router.h"

#define DROPPED_BODY_MAX (64 << 10) /* of a request that should have none */
#define FORM_OVERHEAD    (1 << 20)  /* of a form around its file */

static void set_id(struct exchange *x)
{
    const char *given = http_request_header(&x->request, "X-Request-Id");
    char made[ID_SIZE];
    bool good = given && http_request_id_valid(given);
    (void)snprintf(x->id, sizeof x->id, "%s", good ? given : id_new(made));
}

static void set_client(struct exchange *x)
{
    struct http_address peer = {0};
    if (x->connection)
        peer = x->connection->peer;
    x->client_address = http_client_address(
        &peer, http_request_header(&x->request, "X-Forwarded-For"), x->server->trusted);
    http_address_text(&x->client_address, x->client);
}

static void set_method(struct exchange *x, const char *method)
{
    x->is_head = x->request.is_head = !strcmp(method, "HEAD");
    (void)snprintf(x->method, sizeof x->method, "%s", method);
    x->request.method = x->is_head ? "GET" : x->method;
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
    case HTTP_NO_MEMORY:
        http_respond_json(&r->response, 500, NULL);
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
    if (e.code == ERR_NOMEM)
        http_respond_json(&r->response, 500, NULL);
    else
        http_respond_error(&r->response, 400, "bad_request", "%s", e.message);
    return e.code;
}

static int check_rate(struct exchange *x)
{
    int64_t wait_ns = 0;
    if (!x->route->limited || http_limiter_take(x->server->limiter, &x->client_address,
                                                clock_monotonic_ns(), &wait_ns))
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
    x->body.max = form ? file_max + FORM_OVERHEAD : body ? file_max : DROPPED_BODY_MAX;
    if (r->content_length <= x->body.max)
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

/* Of the request line; the headers have been looked at. The library leaves a NUL where a
 * space was, and has let others pass, with what stood behind them unseen. */
static int check_line(struct exchange *x, const char *method, const char *version)
{
    struct http_request *r = &x->request;
    const char *wrong = NULL;
    if ((size_t)(version - method) != strlen(method) + 1 + x->uri_length + 1)
        wrong = "the request line is malformed: a method, a path and a version, with one "
                "space between them";
    else if (strchr(r->path, ' ') || strchr(x->query, ' '))
        wrong = "the request line has a space in its path";
    else if (!strcmp(version, "HTTP/1.1") && !http_request_header(r, "Host"))
        wrong = "the request has no Host";
    if (!wrong)
        return 0;
    http_respond_error(&r->response, 400, "bad_request", "%s", wrong);
    return ERR_INVALID;
}

int exchange_judge(struct exchange *x, const char *method, const char *version)
{
    struct http_request *r = &x->request;
    int status = http_head_copy(&x->head, r->connection, method, version, &r->response);
    x->chunks.start = method + http_head_size(r->connection);
    r->head = x->head;
    set_id(x);
    set_method(x, method);
    set_client(x);
    if (!status)
        status = check_line(x, method, version);
    if (!status)
        status = http_admit_framing(r, &x->chunked);
    x->has_body = status || x->chunked || r->content_length > 0;
    x->expects = http_request_header(r, "Expect");
    if (!status)
        status = find_route(x);
    if (!status)
        status = parse_query(x);
    if (!status && (strcmp(r->method, "GET") != 0 || x->route->ws))
        status = http_admit_origin(r);
    return status;
}

int exchange_admit(struct exchange *x)
{
    struct http_request *r = &x->request;
    const struct http_route *route = x->route;
    int status = 0;
    if (x->server->admit)
        status = x->server->admit(r, route);
    if (!status)
        status = check_rate(x);
    if (!status)
        status = check_length(x);
    if (!status && route->form)
        status = http_form_new(&x->form, r, route->form);
    if (!status && route->body) {
        x->bodied = true;
        status = route->body->begin(r);
    }
    return status;
}
