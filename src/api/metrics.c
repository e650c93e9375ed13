/* GET /metrics: figures for a monitor, in Prometheus' text format (0.0.4). */
#include "api/api.h"
#include "api/errors.h"
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

/* Jobs of all callers: numbers tell nothing of what is in them. */
static int count_jobs(const struct api *api, struct buf *out, struct err *e)
{
    describe(out, PREFIX "jobs", "gauge", "Jobs that are kept, by their state.");
    for (int s = 0; s < JOB_STATUS_COUNT; s++) {
        const struct job_filter filter = {.by_status = true,
                                          .status = (enum job_status)s};
        struct job_list list = {0};
        int status = jobs_list(api->jobs, &filter, &list, e);
        if (status)
            return status;
        buf_printf(out, PREFIX "jobs{status=\"%s\"} %lld\n",
                   job_status_name((enum job_status)s), (long long)list.total);
        job_list_release(&list);
    }
    return 0;
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
    struct buf body;
    struct err e;
    buf_init(&body, BODY_MAX);
    describe(&body, PREFIX "build_info", "gauge", "1, with the version as a label.");
    buf_str(&body, PREFIX "build_info{version=\"" WT_VERSION "\"} 1\n");
    describe(&body, PREFIX "ready", "gauge", "Whether /health/ready answers 200.");
    buf_printf(&body, PREFIX "ready %d\n", jobs_ready(api->jobs, &e) == 0);
    if (count_jobs(api, &body, &e) || count_workers(api, &body, &e)) {
        buf_release(&body);
        api_error(&r->response, &e);
        return;
    }
    measure_memory(&body);
    http_respond_bytes(&r->response, 200, "text/plain; version=0.0.4; charset=utf-8",
                       &body);
}
