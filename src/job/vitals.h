/* How the servers behind the job service are: see store/vitals.h and queue_health. */
#ifndef JOB_VITALS_H
#define JOB_VITALS_H

#include "job/jobs.h"
#include "queue/queue.h"
#include "store/vitals.h"

struct jobs_vitals {
    bool database_up;
    struct store_vitals database; /* of a database that is not up no more than its kind */
    bool has_queue_server;        /* Redis; else the database is the queue */
    struct queue_health queue;
};

/* Asks the database. What is wrong with it is in the log. */
void jobs_vitals(struct jobs *s, struct jobs_vitals *out);

#endif
