/* The log of changes, as the store gives it. */
#ifndef STORE_EVENT_H
#define STORE_EVENT_H

#include "store/job.h"

/* A line of the log: a job changed. Numbers rise and are never used twice. */
struct store_event {
    int64_t number;
    char job_id[ID_SIZE];
    char *caller;   /* owned, as are the other texts */
    char *filename; /* NULL when the job is gone */
    char *message;
    bool deleted; /* the job is gone; otherwise: */
    enum job_status status;
    int progress;
    int64_t time_ms;
};
struct store_event_list {
    struct store_event *events; /* owned [count] */
    size_t count;
};
void store_event_list_release(struct store_event_list *l);

/* The log has the lines with numbers above `floor`, up to `newest`. */
struct store_log_extent {
    int64_t floor, newest;
};

#endif
