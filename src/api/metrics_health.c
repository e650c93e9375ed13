/* The servers behind us, and what waits in the database beside jobs. */
#include "api/metrics.h"

#include "base/clock.h"
#include "job/vitals.h"

#define NAME(name) METRICS_PREFIX name

static double age(int64_t since_ms)
{
    int64_t now_ms = clock_now_ms();
    return since_ms > 0 && now_ms > since_ms ? (double)(now_ms - since_ms) / 1000 : 0;
}

static void write_database(const struct store_vitals *v, struct buf *out)
{
    metrics_gauge(out, NAME("database_answer_seconds"),
                  "What the smallest question to the database took.", v->answer_seconds);
    metrics_gauge(out, NAME("database_size_bytes"), "What the database takes.",
                  (double)v->size_bytes);
    if (v->journal_bytes >= 0)
        metrics_gauge(out, NAME("database_journal_bytes"),
                      "What SQLite's write-ahead log takes.", (double)v->journal_bytes);
    metrics_gauge(out, NAME("database_connections_used"),
                  "Connections to the database that are in use, of this process.",
                  (double)v->connections);
    metrics_gauge(out, NAME("database_connections_max"),
                  "Connections to the database that this process may have.",
                  (double)v->connections_most);
}

static void write_waiting(const struct store_vitals *v, struct buf *out)
{
    metrics_describe(out, NAME("leases"), "gauge",
                     "Jobs that workers hold, on all machines. \"lapsed\": their worker "
                     "is silent, and nobody has put them back yet.");
    buf_printf(out,
               NAME("leases") "{state=\"held\"} %lld\n" NAME(
                   "leases") "{state=\"lapsed\"} %lld\n",
               (long long)(v->leases - v->leases_lapsed), (long long)v->leases_lapsed);
    metrics_gauge(out, NAME("oldest_running_seconds"),
                  "Since when the job that has been at work longest is.",
                  age(v->oldest_ms));
    metrics_describe(out, NAME("webhook_notices"), "gauge",
                     "Notices of webhooks that are to be sent, or were given up.");
    buf_printf(out,
               NAME("webhook_notices") "{state=\"waiting\"} %lld\n" NAME(
                   "webhook_notices") "{state=\"failed\"} %lld\n",
               (long long)v->notices, (long long)v->notices_failed);
    metrics_gauge(out, NAME("webhook_oldest_seconds"),
                  "Age of the oldest notice that is to be sent.",
                  age(v->oldest_notice_ms));
    metrics_gauge(out, NAME("uploads_open"),
                  "Uploads in several requests that are not whole yet.",
                  (double)v->uploads);
    metrics_gauge(out, NAME("uploads_open_bytes"), "What has come of these.",
                  (double)v->uploads_bytes);
}

static void write_redis(const struct queue_health *h, struct buf *out)
{
    metrics_gauge(out, NAME("redis_up"),
                  "Whether Redis hands out the jobs; else the database does.", h->up);
    if (h->answer_seconds > 0)
        metrics_gauge(out, NAME("redis_answer_seconds"),
                      "What a question to Redis took, the last time that it was asked.",
                      h->answer_seconds);
    if (h->used_bytes > 0)
        metrics_gauge(out, NAME("redis_memory_used_bytes"),
                      "Memory that Redis uses, at that time.", (double)h->used_bytes);
    if (h->used_bytes > 0)
        metrics_gauge(out, NAME("redis_memory_max_bytes"),
                      "Memory that Redis may use; 0: as much as there is.",
                      (double)h->most_bytes);
    metrics_gauge(out, NAME("redis_errands"),
                  "Changes that Redis is still to be told of by this process.",
                  (double)h->errands);
}

void metrics_health(struct jobs *jobs, struct buf *out)
{
    struct jobs_vitals v;
    jobs_vitals(jobs, &v);
    metrics_describe(out, NAME("database_up"), "gauge",
                     "Whether the database answers, and which kind it is.");
    buf_printf(out, NAME("database_up") "{kind=\"%s\"} %d\n", v.database.kind,
               v.database_up);
    if (v.database_up) {
        write_database(&v.database, out);
        write_waiting(&v.database, out);
    }
    if (v.has_queue_server)
        write_redis(&v.queue, out);
}
