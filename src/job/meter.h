/* What this process has done since it began, counted for a monitor. The store knows how
 * things are; this is what happened. */
#ifndef JOB_METER_H
#define JOB_METER_H

#include "job/transcribe.h"
#include "store/job.h"

#include <pthread.h>

enum meter_stage {
    METER_LOAD, /* as in struct transcribe_times … */
    METER_DECODE,
    METER_VAD,
    METER_MEL,
    METER_ENCODER,
    METER_DECODER,
    METER_ALIGN,
    METER_SAVE, /* … and writing down the result */
    METER_STAGES
};

/* How an attempt at a job came to its end: see enum run_end. */
enum meter_attempt {
    METER_FINISHED,
    METER_FAILED,
    METER_CRASHED,
    METER_RETURNED,
    METER_PUT_OFF,
    METER_LOST,
    METER_ATTEMPTS
};

/* How a worker came to its. */
enum meter_death {
    METER_DIED,    /* by itself */
    METER_KILLED,  /* from outside, or for lack of memory */
    METER_STOPPED, /* by its service */
    METER_DEATHS
};

#define METER_BOUNDS 10
/* Upper bounds of times of jobs, in seconds. */
extern const double meter_bounds[METER_BOUNDS];

struct meter_times {
    uint64_t times[METER_BOUNDS + 1]; /* of each bucket alone; the last: longer */
    uint64_t count;
    double seconds;
};

#define METER_REASONS 48

struct meter_figures {
    uint64_t ended[JOB_STATUS_COUNT];
    struct meter_failure {
        char reason[48]; /* the error_code */
        uint64_t count;
    } failed[METER_REASONS];
    size_t n_failed;
    uint64_t attempts[METER_ATTEMPTS], deaths[METER_DEATHS];
    double audio_seconds, work_seconds; /* of attempts that were finished */
    double stages[METER_STAGES];        /* seconds */
    struct meter_times waited;          /* from a job's arrival until it is begun */
    struct meter_times took;            /* from then until it is completed */
};

struct meter {
    pthread_mutex_t lock;
    struct meter_figures figures; /* under lock */
};

void meter_init(struct meter *m);
void meter_release(struct meter *m);

/* All of it at one moment. */
void meter_read(struct meter *m, struct meter_figures *out);

/* A job has been begun for the first time. */
void meter_begun(struct meter *m, const struct job *j);
/* It has ended, in whatever state. */
void meter_ended(struct meter *m, const struct job *j);
void meter_attempt(struct meter *m, enum meter_attempt how);
void meter_death(struct meter *m, enum meter_death how);
/* An attempt was finished: what it took, what of the audio it did, and how long the
 * service wrote. A worker is not believed that a part took longer than all of it. */
void meter_worked(struct meter *m, const struct transcribe_times *times,
                  double audio_seconds, double work_seconds, double save_seconds);

const char *meter_stage_name(enum meter_stage stage);
const char *meter_attempt_name(enum meter_attempt how);
const char *meter_death_name(enum meter_death how);

#endif
