#include "job/meter.h"

#include "job/state.h"

#include <string.h>

const double meter_bounds[METER_BOUNDS] = {0.1, 0.5, 2,    10,   30,
                                           120, 600, 1800, 7200, 28800};

void meter_init(struct meter *m)
{
    *m = (struct meter){0};
    pthread_mutex_init(&m->lock, NULL);
}

void meter_release(struct meter *m)
{
    pthread_mutex_destroy(&m->lock);
}

void meter_read(struct meter *m, struct meter_figures *out)
{
    pthread_mutex_lock(&m->lock);
    *out = m->figures;
    pthread_mutex_unlock(&m->lock);
}

static void count_time(struct meter_times *t, int64_t ms)
{
    double seconds = ms > 0 ? (double)ms / 1000 : 0;
    size_t i = 0;
    while (i < METER_BOUNDS && seconds > meter_bounds[i])
        i++;
    t->times[i]++;
    t->count++;
    t->seconds += seconds;
}

void meter_begun(struct meter *m, const struct job *j)
{
    if (j->attempt != 1)
        return;
    pthread_mutex_lock(&m->lock);
    count_time(&m->figures.waited, j->started_ms - j->created_ms);
    pthread_mutex_unlock(&m->lock);
}

static void count_failure(struct meter_figures *f, const char *reason)
{
    size_t i = 0;
    while (i < f->n_failed && strcmp(f->failed[i].reason, reason) != 0)
        i++;
    if (i == METER_REASONS)
        return;
    if (i == f->n_failed)
        (void)snprintf(f->failed[f->n_failed++].reason, sizeof f->failed[i].reason, "%s",
                       reason);
    f->failed[i].count++;
}

void meter_ended(struct meter *m, const struct job *j)
{
    if (!job_state_ended(j->status))
        return;
    pthread_mutex_lock(&m->lock);
    m->figures.ended[j->status]++;
    if (j->status == JOB_FAILED)
        count_failure(&m->figures, j->error_code ? j->error_code : "unknown");
    if (j->status == JOB_COMPLETED)
        count_time(&m->figures.took, j->completed_ms - j->started_ms);
    pthread_mutex_unlock(&m->lock);
}

void meter_attempt(struct meter *m, enum meter_attempt how)
{
    pthread_mutex_lock(&m->lock);
    m->figures.attempts[how]++;
    pthread_mutex_unlock(&m->lock);
}

void meter_death(struct meter *m, enum meter_death how)
{
    pthread_mutex_lock(&m->lock);
    m->figures.deaths[how]++;
    pthread_mutex_unlock(&m->lock);
}

void meter_worked(struct meter *m, const struct transcribe_times *times,
                  double audio_seconds, double work_seconds, double save_seconds)
{
    const double parts[METER_STAGES] = {
        [METER_LOAD] = times->load,
        [METER_DECODE] = times->decode,
        [METER_VAD] = times->engine.vad,
        [METER_MEL] = times->engine.mel,
        [METER_ENCODER] = times->engine.encoder,
        [METER_DECODER] = times->engine.decoder,
        [METER_ALIGN] = times->engine.align,
    };
    pthread_mutex_lock(&m->lock);
    struct meter_figures *f = &m->figures;
    for (int i = 0; i < METER_STAGES; i++)
        f->stages[i] += parts[i] < work_seconds ? parts[i] : work_seconds;
    f->stages[METER_SAVE] += save_seconds;
    f->audio_seconds += audio_seconds > 0 ? audio_seconds : 0;
    f->work_seconds += work_seconds;
    pthread_mutex_unlock(&m->lock);
}

const char *meter_stage_name(enum meter_stage stage)
{
    static const char *const names[METER_STAGES] = {
        "load", "decode", "vad", "mel", "encoder", "decoder", "align", "save"};
    return names[stage];
}

const char *meter_attempt_name(enum meter_attempt how)
{
    static const char *const names[METER_ATTEMPTS] = {"finished", "failed",  "crashed",
                                                      "returned", "put_off", "lost"};
    return names[how];
}

const char *meter_death_name(enum meter_death how)
{
    static const char *const names[METER_DEATHS] = {"died", "killed", "stopped"};
    return names[how];
}
