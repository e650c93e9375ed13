/* Requests and answers. */
#include "api/metrics.h"

#include "base/log.h"
#include "http/tally.h"

#define NAME(name) METRICS_PREFIX "http_" name

/* Patterns hold no character that a label must not. */
static void labels(struct buf *out, const char *name, const struct http_tally_route *r)
{
    buf_printf(out, "%s{method=\"%s\",route=\"%s\"", name, r->method, r->pattern);
}

static bool is_used(const struct http_tally_route *r)
{
    return r->count || r->open;
}

static void write_answers(const struct http_figures *f, struct buf *out)
{
    metrics_describe(out, NAME("requests_total"), "counter",
                     "Requests that have ended, by route and by the status of the "
                     "answer. \"none\": the client had gone before there was one.");
    for (const struct http_tally_route *r = f->routes; r < f->routes + f->n_routes; r++)
        for (size_t i = 0; i < r->n_answers; i++) {
            labels(out, NAME("requests_total"), r);
            if (r->answers[i].status)
                buf_printf(out, ",status=\"%d\"", r->answers[i].status);
            else
                buf_str(out, ",status=\"none\"");
            buf_printf(out, "} %llu\n", (unsigned long long)r->answers[i].count);
        }
}

static void write_times_of(const struct http_tally_route *r, struct buf *out)
{
    uint64_t below = 0;
    for (size_t i = 0; i < HTTP_TALLY_BOUNDS; i++) {
        below += r->times[i];
        labels(out, NAME("request_duration_seconds_bucket"), r);
        buf_printf(out, ",le=\"%g\"} %llu\n", http_tally_bounds[i],
                   (unsigned long long)below);
    }
    labels(out, NAME("request_duration_seconds_bucket"), r);
    buf_printf(out, ",le=\"+Inf\"} %llu\n", (unsigned long long)r->count);
    labels(out, NAME("request_duration_seconds_sum"), r);
    buf_printf(out, "} %.9g\n", r->seconds);
    labels(out, NAME("request_duration_seconds_count"), r);
    buf_printf(out, "} %llu\n", (unsigned long long)r->count);
}

static void write_times(const struct http_figures *f, struct buf *out)
{
    metrics_describe(out, NAME("request_duration_seconds"), "histogram",
                     "From the first byte of a request to the last of its answer: of an "
                     "upload with the time that it came in, of a stream and of a "
                     "WebSocket as long as it was open.");
    for (size_t i = 0; i < f->n_routes; i++)
        if (f->routes[i].count)
            write_times_of(&f->routes[i], out);
}

static void write_bytes(const struct http_figures *f, struct buf *out)
{
    metrics_describe(out, NAME("received_bytes_total"), "counter",
                     "Bytes of bodies that were taken.");
    for (size_t i = 0; i < f->n_routes; i++)
        if (is_used(&f->routes[i])) {
            labels(out, NAME("received_bytes_total"), &f->routes[i]);
            buf_printf(out, "} %llu\n", (unsigned long long)f->routes[i].bytes_in);
        }
    metrics_describe(out, NAME("sent_bytes_total"), "counter",
                     "Bytes of bodies that were sent.");
    for (size_t i = 0; i < f->n_routes; i++)
        if (is_used(&f->routes[i])) {
            labels(out, NAME("sent_bytes_total"), &f->routes[i]);
            buf_printf(out, "} %llu\n", (unsigned long long)f->routes[i].bytes_out);
        }
}

static void write_open(const struct http_figures *f, struct buf *out)
{
    metrics_describe(out, NAME("requests_open"), "gauge",
                     "Requests that have begun and not ended, this one among them: "
                     "uploads that come in, callers that wait for a text, streams of "
                     "events, WebSockets.");
    for (size_t i = 0; i < f->n_routes; i++)
        if (is_used(&f->routes[i])) {
            labels(out, NAME("requests_open"), &f->routes[i]);
            buf_printf(out, "} %lld\n", (long long)f->routes[i].open);
        }
}

/* What was refused and why: "rate_limited", "busy", "unauthorized" … */
static void write_errors(const struct http_figures *f, struct buf *out)
{
    metrics_describe(out, NAME("errors_total"), "counter",
                     "Answers that were errors, by their error_code.");
    for (size_t i = 0; i < f->n_errors; i++)
        buf_printf(out, NAME("errors_total") "{error_code=\"%s\"} %llu\n",
                   f->errors[i].code, (unsigned long long)f->errors[i].count);
}

void metrics_http(const struct http_request *r, struct buf *out)
{
    struct http_figures f;
    struct err e = {0};
    if (http_request_figures(r, &f, &e)) {
        log_warning("metrics: %s", e.message);
        return;
    }
    write_answers(&f, out);
    write_times(&f, out);
    write_bytes(&f, out);
    write_open(&f, out);
    write_errors(&f, out);
    metrics_gauge(out, NAME("connections"), "Connections that are open.",
                  (double)f.connections);
    metrics_counter(out, NAME("connections_refused_total"),
                    "Connections that were closed at once: their client had too many.",
                    (double)f.turned_away);
    metrics_gauge(out, NAME("handlers_busy"),
                  "Threads that answer requests at this moment.", (double)f.busy);
    metrics_gauge(out, NAME("handlers_waiting"), "Requests that wait for such a thread.",
                  (double)f.line);
    http_figures_release(&f);
}
