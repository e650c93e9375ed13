/* GET /metrics: figures for a monitor, in Prometheus' text format (0.0.4). */
#include "api/api.h"
#include "api/metrics.h"
#include "api/metrics_backup.h"
#include "api/metrics_care.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/kernels/kernels.h"
#include "job/queue_report.h"
#include "job/workers.h"

#define BODY_MAX ((size_t)1 << 20)
#define PREFIX   METRICS_PREFIX

void metrics_describe(struct buf *out, const char *name, const char *type,
                      const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_gauge(struct buf *out, const char *name, const char *help, double value)
{
    metrics_describe(out, name, "gauge", help);
    buf_printf(out, "%s %.12g\n", name, value);
}

void metrics_counter(struct buf *out, const char *name, const char *help, double value)
{
    metrics_describe(out, name, "counter", help);
    buf_printf(out, "%s %.12g\n", name, value);
}

/* Jobs of all callers: numbers tell nothing of what is in them. */
static void count_jobs(const struct store_queue_figures *f, struct buf *out)
{
    metrics_describe(out, PREFIX "jobs", "gauge", "Jobs that are kept, by their state.");
    for (int s = 0; s < JOB_STATUS_COUNT; s++)
        buf_printf(out, PREFIX "jobs{status=\"%s\"} %lld\n",
                   job_status_name((enum job_status)s), (long long)f->jobs[s]);
    metrics_describe(out, PREFIX "failed_jobs", "gauge",
                     "Failed jobs that are kept, by their error_code.");
    for (size_t i = 0; i < f->n_failures; i++)
        buf_printf(out, PREFIX "failed_jobs{reason=\"%s\"} %lld\n",
                   *f->failures[i].code ? f->failures[i].code : "unknown",
                   (long long)f->failures[i].jobs);
}

/* What tells whether more machines are wanted, or fewer. */
static void measure_queue(const struct store_queue_figures *f, const struct stranded *st,
                          int64_t at_once, int64_t now_ms, struct buf *out)
{
    struct queue_estimate q;
    queue_estimate(f, at_once, &q);
    int64_t oldest = f->oldest_ms && now_ms > f->oldest_ms ? now_ms - f->oldest_ms : 0;
    metrics_describe(out, PREFIX "queue_jobs", "gauge",
                     "Jobs that wait or are transcribed.");
    buf_printf(out,
               PREFIX "queue_jobs{state=\"waiting\"} %lld\n" PREFIX
                      "queue_jobs{state=\"running\"} %lld\n",
               (long long)f->jobs[JOB_PENDING], (long long)f->jobs[JOB_PROCESSING]);
    metrics_gauge(out, PREFIX "queue_oldest_seconds",
                  "Age of the oldest job that a worker could take now.",
                  (double)oldest / 1000);
    metrics_describe(
        out, PREFIX "queue_audio_seconds", "gauge",
        "Audio that is left to transcribe. Lengths that are not known yet are "
        "guessed from the bytes by the mean of the last completed jobs.");
    buf_printf(out,
               PREFIX "queue_audio_seconds{state=\"waiting\"} %.9g\n" PREFIX
                      "queue_audio_seconds{state=\"running\"} %.9g\n",
               q.waiting_seconds, q.running_seconds);
    metrics_gauge(out, PREFIX "queue_stranded_jobs",
                  "Jobs that wait for a model which no worker that is alive has.",
                  (double)stranded_count(st, f));
    if (q.speed > 0)
        metrics_gauge(out, PREFIX "real_time_factor",
                      "Seconds of audio in one second of a transcription, of the last 50 "
                      "completed jobs.",
                      q.speed);
    metrics_gauge(
        out, PREFIX "transcriptions_at_once",
        "Transcriptions that all living workers can do at the same time, or that are "
        "running when these are more.",
        (double)q.at_once);
    if (q.wait_seconds >= 0)
        metrics_gauge(
            out, PREFIX "queue_estimated_wait_seconds",
            "queue_audio_seconds / (real_time_factor * transcriptions_at_once).",
            q.wait_seconds);
}

/* Of all machines. A row is that of a process, which may do several jobs at once. */
static int count_workers(const struct api *api, struct buf *out, struct err *e)
{
    struct store_worker_list l;
    long long alive = 0, silent = 0, concurrency = 0, busy = 0;
    int status = jobs_workers(api->jobs, &l, e);
    if (status)
        return status;
    for (size_t i = 0; i < l.count; i++) {
        if (!worker_is_alive(&l.workers[i])) {
            silent++;
            continue;
        }
        alive++;
        concurrency += l.workers[i].concurrency;
        busy += l.workers[i].jobs;
    }
    store_worker_list_release(&l);
    metrics_describe(out, PREFIX "workers", "gauge",
                     "Processes with workers that are alive, on all machines.");
    buf_printf(out, PREFIX "workers %lld\n", alive);
    metrics_describe(out, PREFIX "workers_silent", "gauge",
                     "Those of which nothing was heard for 15 seconds: lost, or frozen. "
                     "After a minute they are forgotten; who stops in good order is so "
                     "at once.");
    buf_printf(out, PREFIX "workers_silent %lld\n", silent);
    metrics_describe(out, PREFIX "worker_concurrency", "gauge",
                     "Transcriptions that they can do at once.");
    buf_printf(out, PREFIX "worker_concurrency %lld\n", concurrency);
    metrics_describe(out, PREFIX "worker_jobs", "gauge",
                     "Jobs that they had when they were last heard of.");
    buf_printf(out, PREFIX "worker_jobs %lld\n", busy);
    return 0;
}

/* What is in the database; nothing when it does not answer. */
static int describe_jobs(const struct api *api, struct buf *out, struct err *e)
{
    struct store *store = jobs_store(api->jobs);
    struct store_queue_figures figures;
    struct stranded st;
    int64_t now_ms = clock_now_ms();
    int status = store_queue_figures(store, now_ms, &figures, e);
    if (!status)
        status = stranded_look(store, &st, e);
    if (status)
        return status;
    count_jobs(&figures, out);
    measure_queue(&figures, &st, jobs_at_once(api->jobs), now_ms, out);
    stranded_release(&st);
    return count_workers(api, out, e);
}

static void describe_build(struct buf *out)
{
    metrics_describe(out, PREFIX "build_info", "gauge",
                     "1, with the version and the instructions of the processor that are "
                     "used as labels.");
    buf_printf(out, PREFIX "build_info{version=\"" WT_VERSION "\",level=\"%s\"} 1\n",
               kernels_choose()->name);
}

static void answer(struct http_request *r, struct buf *body)
{
    http_respond_bytes(&r->response, 200, "text/plain; version=0.0.4; charset=utf-8",
                       body);
}

/* What all processes on a database have in common, a `serve` says. */
void api_worker_metrics(struct http_request *r)
{
    const struct api *api = r->app;
    struct buf body;
    buf_init(&body, BODY_MAX);
    describe_build(&body);
    metrics_work(api->jobs, &body);
    metrics_http(r, &body);
    metrics_machine(api->config, &body);
    answer(r, &body);
}

/* A part that cannot be told is left out: a monitor is to see what else there is, above
 * all that the database does not answer. */
void api_metrics(struct http_request *r)
{
    const struct api *api = r->app;
    struct buf body;
    struct err e = {0};
    buf_init(&body, BODY_MAX);
    describe_build(&body);
    metrics_describe(&body, PREFIX "ready", "gauge",
                     "Whether /health/ready answers 200.");
    buf_printf(&body, PREFIX "ready %d\n",
               !atomic_load(&api->stopping) && jobs_ready(api->jobs, &e) == 0);
    /* Who asks has not the patience to wait for the database again and again. */
    bool answers = !describe_jobs(api, &body, &e);
    if (answers)
        metrics_backup(api->jobs, &body);
    else
        log_warning("metrics: %s", e.message);
    metrics_care(api->jobs, answers, &body);
    metrics_work(api->jobs, &body);
    metrics_health(api->jobs, &body);
    metrics_http(r, &body);
    metrics_machine(api->config, &body);
    answer(r, &body);
}
