#include "api/worker_door.h"

#include "api/access.h"
#include "base/log.h"
#include "base/mem.h"

#define GRACE_SECONDS 1

struct worker_door {
    struct api api;
    struct http_server *server; /* owned */
};

static const struct http_route routes[] = {
    {"GET", "/metrics", api_worker_metrics, .access = API_READ},
    {"GET", "/health/live", api_health_live, .access = API_PUBLIC},
};

static int listen_for_monitors(struct worker_door *d, const struct config *c,
                               struct err *e)
{
    const struct http_server_options options = {
        .host = c->host,
        .port = (int)c->worker_metrics_port,
        .rate_limit = "off", /* by the gate, as at `serve` */
        .trusted_proxies = c->trusted_proxies,
        .routes = routes,
        .n_routes = ARRAY_LENGTH(routes),
        .app = &d->api,
        .admit = api_admit,
        .leave = api_leave,
    };
    int status = http_server_start(&d->server, &options, e);
    if (status)
        return err_prefix(e, "WORKER_METRICS_PORT");
    access_listen(d->api.access, http_server_loopback(d->server));
    log_info("its figures are at http://%s:%d/metrics", c->host,
             http_server_port(d->server));
    return 0;
}

int worker_door_open(struct worker_door **out, const struct config *config,
                     struct jobs *jobs, struct err *e)
{
    *out = NULL;
    if (!config->worker_metrics_port)
        return 0;
    struct worker_door *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_NOMEM, "out of memory");
    d->api.config = config;
    d->api.jobs = jobs;
    int status = access_new(&d->api.access, config, jobs_store(jobs), e);
    if (!status)
        status = listen_for_monitors(d, config, e);
    if (status) {
        worker_door_close(d);
        return status;
    }
    *out = d;
    return 0;
}

void worker_door_close(struct worker_door *d)
{
    if (!d)
        return;
    if (d->server)
        http_server_stop(d->server, GRACE_SECONDS);
    access_free(d->api.access);
    free(d);
}
