#include "api/metrics_backup.h"

#include "base/mem.h"
#include "job/backups.h"

#define PREFIX "whisper_transcriber_backup_"

void metrics_backup(struct jobs *jobs, struct buf *out)
{
    struct backup_state s;
    jobs_backups(jobs, &s);
    const struct {
        const char *name, *help;
        double value;
    } rows[] = {
        {"last_success_timestamp_seconds",
         "When the last copy was made, since 1970; 0: never.",
         (double)s.success_ms / 1000},
        {"last_failure_timestamp_seconds",
         "When making a copy failed last, since 1970; 0: never.",
         (double)s.failure_ms / 1000},
        {"last_size_bytes", "Bytes of all files of the last copy.", (double)s.bytes},
        {"drill_last_success_timestamp_seconds",
         "When a copy was last restored for a trial, since 1970; 0: never.",
         (double)s.drill_success_ms / 1000},
        {"drill_last_failure_timestamp_seconds",
         "When such a trial failed last, since 1970; 0: never.",
         (double)s.drill_failure_ms / 1000},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
        buf_printf(out,
                   "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s gauge\n" PREFIX
                   "%s %.13g\n",
                   rows[i].name, rows[i].help, rows[i].name, rows[i].name, rows[i].value);
}
