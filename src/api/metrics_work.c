/* What this process has done with jobs since it began. */
#include "api/metrics.h"

#include "job/meter.h"
#include "job/state.h"

#define NAME(name) METRICS_PREFIX name

static void write_ended(const struct meter_figures *f, struct buf *out)
{
    metrics_describe(out, NAME("jobs_ended_total"), "counter",
                     "Jobs that this process has seen to their end, by state.");
    for (int i = 0; i < JOB_STATUS_COUNT; i++)
        if (job_state_ended((enum job_status)i))
            buf_printf(out, NAME("jobs_ended_total") "{status=\"%s\"} %llu\n",
                       job_status_name((enum job_status)i),
                       (unsigned long long)f->ended[i]);
    metrics_describe(out, NAME("jobs_failed_total"), "counter",
                     "Those of them that failed, by error_code.");
    for (size_t i = 0; i < f->n_failed; i++)
        buf_printf(out, NAME("jobs_failed_total") "{reason=\"%s\"} %llu\n",
                   f->failed[i].reason, (unsigned long long)f->failed[i].count);
}

static void write_attempts(const struct meter_figures *f, struct buf *out)
{
    metrics_describe(out, NAME("attempts_total"), "counter",
                     "Attempts at jobs, by how they ended: \"returned\" and \"put_off\" "
                     "go on later, \"lost\" is another's now.");
    for (int i = 0; i < METER_ATTEMPTS; i++)
        buf_printf(out, NAME("attempts_total") "{end=\"%s\"} %llu\n",
                   meter_attempt_name((enum meter_attempt)i),
                   (unsigned long long)f->attempts[i]);
    metrics_describe(out, NAME("worker_deaths_total"), "counter",
                     "Workers of this process that have ended, by why; others are begun "
                     "in their place.");
    for (int i = 0; i < METER_DEATHS; i++)
        buf_printf(out, NAME("worker_deaths_total") "{cause=\"%s\"} %llu\n",
                   meter_death_name((enum meter_death)i),
                   (unsigned long long)f->deaths[i]);
}

static void write_stages(const struct meter_figures *f, struct buf *out)
{
    metrics_counter(out, NAME("transcribed_audio_seconds_total"),
                    "Audio that this process has transcribed.", f->audio_seconds);
    metrics_counter(out, NAME("transcription_seconds_total"),
                    "What that took, from handing a job to a worker until it was done.",
                    f->work_seconds);
    metrics_describe(out, NAME("stage_seconds_total"), "counter",
                     "What the parts of that took: loading the model, waiting for the "
                     "decoding of the file, finding speech, the spectrogram, the model's "
                     "encoder and decoder, times of words, writing the result.");
    for (int i = 0; i < METER_STAGES; i++)
        buf_printf(out, NAME("stage_seconds_total") "{stage=\"%s\"} %.9g\n",
                   meter_stage_name((enum meter_stage)i), f->stages[i]);
}

static void write_times(const char *name, const char *help, const struct meter_times *t,
                        struct buf *out)
{
    uint64_t below = 0;
    metrics_describe(out, name, "histogram", help);
    for (size_t i = 0; i < METER_BOUNDS; i++) {
        below += t->times[i];
        buf_printf(out, "%s_bucket{le=\"%g\"} %llu\n", name, meter_bounds[i],
                   (unsigned long long)below);
    }
    buf_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n", name,
               (unsigned long long)t->count, name, t->seconds, name,
               (unsigned long long)t->count);
}

void metrics_work(struct jobs *jobs, struct buf *out)
{
    struct meter_figures f;
    meter_read(jobs_meter(jobs), &f);
    write_ended(&f, out);
    write_attempts(&f, out);
    write_stages(&f, out);
    write_times(NAME("job_wait_seconds"),
                "From a job's arrival until a worker of this process began it.",
                &f.waited, out);
    write_times(NAME("job_duration_seconds"),
                "From then until it was completed, interruptions included.", &f.took,
                out);
}
