#include "http/tally.h"

#include "base/mem.h"
#include "http/exchange.h"

const double http_tally_bounds[HTTP_TALLY_BOUNDS] = {0.005, 0.025, 0.1, 0.5, 1,
                                                     2.5,   10,    60,  600, 3600};

/* One lock for all of it: it is held for less than any request takes otherwise. */
struct http_tally {
    pthread_mutex_t lock;
    const struct http_route *routes; /* borrowed [n_routes - 1] */
    struct http_figures figures;     /* under lock; its routes are owned */
};

void http_figures_release(struct http_figures *f)
{
    free(f->routes);
    *f = (struct http_figures){0};
}

struct http_tally *http_tally_new(const struct http_route *routes, size_t n_routes)
{
    struct http_tally *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->routes = routes;
    t->figures.n_routes = n_routes + 1;
    t->figures.routes = mem_array(n_routes + 1, sizeof *t->figures.routes);
    if (!t->figures.routes) {
        free(t);
        return NULL;
    }
    for (size_t i = 0; i < n_routes; i++) {
        t->figures.routes[i].method = routes[i].method;
        t->figures.routes[i].pattern = routes[i].pattern;
    }
    t->figures.routes[n_routes].method = "other";
    t->figures.routes[n_routes].pattern = "other";
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void http_tally_free(struct http_tally *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    http_figures_release(&t->figures);
    free(t);
}

static struct http_tally_route *entry(struct http_tally *t,
                                      const struct http_route *route)
{
    size_t i = route ? (size_t)(route - t->routes) : t->figures.n_routes - 1;
    return &t->figures.routes[i];
}

void http_tally_begin(struct http_tally *t, const struct http_route *route)
{
    pthread_mutex_lock(&t->lock);
    entry(t, route)->open++;
    pthread_mutex_unlock(&t->lock);
}

/* There are more places than statuses that we know of. */
static void count_answer(struct http_tally_route *r, int status)
{
    size_t i = 0;
    while (i < r->n_answers && r->answers[i].status != status)
        i++;
    if (i == HTTP_TALLY_STATUSES)
        return;
    if (i == r->n_answers)
        r->answers[r->n_answers++].status = status;
    r->answers[i].count++;
}

static void count_time(struct http_tally_route *r, double seconds)
{
    size_t i = 0;
    while (i < HTTP_TALLY_BOUNDS && seconds > http_tally_bounds[i])
        i++;
    r->times[i]++;
    r->count++;
    r->seconds += seconds;
}

static void count_error(struct http_figures *f, const char *code)
{
    size_t i = 0;
    while (i < f->n_errors && strcmp(f->errors[i].code, code) != 0)
        i++;
    if (i == HTTP_TALLY_ERRORS)
        return;
    if (i == f->n_errors)
        (void)snprintf(f->errors[f->n_errors++].code, sizeof f->errors[i].code, "%s",
                       code);
    f->errors[i].count++;
}

void http_tally_end(struct http_tally *t, const struct http_tally_end *end)
{
    pthread_mutex_lock(&t->lock);
    struct http_tally_route *r = entry(t, end->route);
    if (end->begun)
        r->open--;
    count_answer(r, end->status);
    count_time(r, end->seconds);
    r->bytes_in += end->bytes_in;
    r->bytes_out += end->bytes_out;
    if (end->status >= 400 && *end->error_code)
        count_error(&t->figures, end->error_code);
    pthread_mutex_unlock(&t->lock);
}

void http_tally_turned_away(struct http_tally *t)
{
    pthread_mutex_lock(&t->lock);
    t->figures.turned_away++;
    pthread_mutex_unlock(&t->lock);
}

int http_request_figures(const struct http_request *r, struct http_figures *out,
                         struct err *e)
{
    const struct exchange *x =
        (const struct exchange *)((const char *)r - offsetof(struct exchange, request));
    struct http_server *s = x->server;
    struct http_tally *t = s->tally;
    size_t bytes = t->figures.n_routes * sizeof *t->figures.routes;
    *out = (struct http_figures){0};
    struct http_tally_route *copy =
        mem_array(t->figures.n_routes, sizeof *t->figures.routes);
    if (!copy)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_lock(&t->lock);
    *out = t->figures;
    memcpy(copy, t->figures.routes, bytes);
    pthread_mutex_unlock(&t->lock);
    out->routes = copy;
    const union MHD_DaemonInfo *info =
        s->daemon ? MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)
                  : NULL;
    out->connections = info ? info->num_connections : 0;
    http_pool_figures(s->pool, &out->busy, &out->line);
    return 0;
}
