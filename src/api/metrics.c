/* GET /metrics: figures for a monitor, in Prometheus' text format (0.0.4). */
#include "api/api.h"
#include "api/errors.h"
#include "api/metrics_backup.h"
#include "api/metrics_care.h"

#include "base/clock.h"
#include "job/queue_report.h"
#include "job/workers.h"

#include <stdio.h>
#include <unistd.h>

#define BODY_MAX ((size_t)64 << 10)
#define PREFIX   "whisper_transcriber_"

static void describe(struct buf *out, const char *name, const char *type,
                     const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(struct buf *out, const char *name, const char *help, double value)
{
    describe(out, name, "gauge", help);
    buf_printf(out, "%s %.9g\n", name, value);
}

/* Jobs of all callers: numbers tell nothing of what is in them. */
static void count_jobs(const struct store_queue_figures *f, struct buf *out)
{
    describe(out, PREFIX "jobs", "gauge", "Jobs that are kept, by their state.");
    for (int s = 0; s < JOB_STATUS_COUNT; s++)
        buf_printf(out, PREFIX "jobs{status=\"%s\"} %lld\n",
                   job_status_name((enum job_status)s), (long long)f->jobs[s]);
    describe(out, PREFIX "failed_jobs", "gauge",
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
    describe(out, PREFIX "queue_jobs", "gauge", "Jobs that wait or are transcribed.");
    buf_printf(out,
               PREFIX "queue_jobs{state=\"waiting\"} %lld\n" PREFIX
                      "queue_jobs{state=\"running\"} %lld\n",
               (long long)f->jobs[JOB_PENDING], (long long)f->jobs[JOB_PROCESSING]);
    gauge(out, PREFIX "queue_oldest_seconds",
          "Age of the oldest job that a worker could take now.", (double)oldest / 1000);
    describe(out, PREFIX "queue_audio_seconds", "gauge",
             "Audio that is left to transcribe. Lengths that are not known yet are "
             "guessed from the bytes by the mean of the last completed jobs.");
    buf_printf(out,
               PREFIX "queue_audio_seconds{state=\"waiting\"} %.9g\n" PREFIX
                      "queue_audio_seconds{state=\"running\"} %.9g\n",
               q.waiting_seconds, q.running_seconds);
    gauge(out, PREFIX "queue_stranded_jobs",
          "Jobs that wait for a model which no worker that is alive has.",
          (double)stranded_count(st, f));
    if (q.speed > 0)
        gauge(out, PREFIX "real_time_factor",
              "Seconds of audio in one second of a transcription, of the last 50 "
              "completed jobs.",
              q.speed);
    gauge(out, PREFIX "transcriptions_at_once",
          "Transcriptions that all living workers can do at the same time, or that are "
          "running when these are more.",
          (double)q.at_once);
    if (q.wait_seconds >= 0)
        gauge(out, PREFIX "queue_estimated_wait_seconds",
              "queue_audio_seconds / (real_time_factor * transcriptions_at_once).",
              q.wait_seconds);
}

/* Of all machines. A row is that of a process, which may do several jobs at once. */
static int count_workers(const struct api *api, struct buf *out, struct err *e)
{
    struct store_worker_list l;
    long long alive = 0, concurrency = 0, busy = 0;
    int status = jobs_workers(api->jobs, &l, e);
    if (status)
        return status;
    for (size_t i = 0; i < l.count; i++) {
        if (!worker_is_alive(&l.workers[i]))
            continue;
        alive++;
        concurrency += l.workers[i].concurrency;
        busy += l.workers[i].jobs;
    }
    store_worker_list_release(&l);
    describe(out, PREFIX "workers", "gauge",
             "Processes with workers that are alive, on all machines.");
    buf_printf(out, PREFIX "workers %lld\n", alive);
    describe(out, PREFIX "worker_concurrency", "gauge",
             "Transcriptions that they can do at once.");
    buf_printf(out, PREFIX "worker_concurrency %lld\n", concurrency);
    describe(out, PREFIX "worker_jobs", "gauge",
             "Jobs that they had when they were last heard of.");
    buf_printf(out, PREFIX "worker_jobs %lld\n", busy);
    return 0;
}

/* Of `serve` alone: the models are in its workers. */
static void measure_memory(struct buf *out)
{
    unsigned long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return;
    if (fscanf(f, "%lu %lu", &pages, &resident) == 2) {
        describe(out, "process_resident_memory_bytes", "gauge",
                 "Memory of this process that is in use, in bytes.");
        buf_printf(out, "process_resident_memory_bytes %llu\n",
                   (unsigned long long)resident *
                       (unsigned long long)sysconf(_SC_PAGESIZE));
    }
    fclose(f);
}

void api_metrics(struct http_request *r)
{
    const struct api *api = r->app;
    int64_t now_ms = clock_now_ms();
    struct store_queue_figures figures;
    struct stranded st;
    struct buf body;
    struct err e;
    if (store_queue_figures(jobs_store(api->jobs), now_ms, &figures, &e) ||
        stranded_look(jobs_store(api->jobs), &st, &e)) {
        api_error(&r->response, &e);
        return;
    }
    buf_init(&body, BODY_MAX);
    describe(&body, PREFIX "build_info", "gauge", "1, with the version as a label.");
    buf_str(&body, PREFIX "build_info{version=\"" WT_VERSION "\"} 1\n");
    describe(&body, PREFIX "ready", "gauge", "Whether /health/ready answers 200.");
    buf_printf(&body, PREFIX "ready %d\n", jobs_ready(api->jobs, &e) == 0);
    count_jobs(&figures, &body);
    measure_queue(&figures, &st, jobs_at_once(api->jobs), now_ms, &body);
    stranded_release(&st);
    if (count_workers(api, &body, &e)) {
        buf_release(&body);
        api_error(&r->response, &e);
        return;
    }
    metrics_backup(api->jobs, &body);
    metrics_care(api->jobs, &body);
    measure_memory(&body);
    http_respond_bytes(&r->response, 200, "text/plain; version=0.0.4; charset=utf-8",
                       &body);
}
