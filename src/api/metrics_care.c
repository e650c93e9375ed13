#include "api/metrics_care.h"

#include "api/metrics.h"
#include "job/care.h"
#include "job/pressure.h"
#include "job/holds.h"

#define PREFIX METRICS_PREFIX

static void measure_disks(struct jobs *s, struct buf *out)
{
    int level[PRESSURE_VOLUMES];
    jobs_pressure(s, level);
    metrics_describe(
        out, PREFIX "disk_pressure", "gauge",
        "How full a disk is. 0: there is room; 1: what has expired is removed at once; "
        "2: uploads are refused.");
    for (int v = 0; v < PRESSURE_VOLUMES; v++)
        if (level[v] >= 0)
            buf_printf(out, PREFIX "disk_pressure{volume=\"%s\"} %d\n",
                       pressure_volume_name((enum pressure_volume)v), level[v]);
}

static void count_holds(struct jobs *s, struct buf *out)
{
    struct store_hold_list l;
    struct err e;
    if (store_hold_list(jobs_store(s), &l, &e))
        return;
    metrics_describe(out, PREFIX "jobs_on_hold", "gauge", "Jobs that nobody may remove.");
    buf_printf(out, PREFIX "jobs_on_hold %zu\n", l.count);
    store_hold_list_release(&l);
}

void metrics_care(struct jobs *s, bool database, struct buf *out)
{
    struct care_note note;
    struct err e;
    measure_disks(s, out);
    if (!database)
        return;
    count_holds(s, out);
    if (care_note_read(jobs_store(s), &note, &e))
        return;
    metrics_describe(out, PREFIX "database_check_last_timestamp_seconds", "gauge",
                     "When `database check` was run last; 0: never.");
    buf_printf(out, PREFIX "database_check_last_timestamp_seconds %.3f\n",
               (double)note.time_ms / 1000);
    metrics_describe(out, PREFIX "database_check_last_findings", "gauge",
                     "How much was wrong with the database or the storage then.");
    buf_printf(out, PREFIX "database_check_last_findings %lld\n",
               (long long)note.findings);
}
