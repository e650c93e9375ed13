/* Whether the parts that the service needs do their work, asked of each in a thread of
 * its own: a database or a disk that answers nobody must not keep whoever asks waiting,
 * and is named after a moment. Nobody asks, nothing is done. */
#ifndef JOB_HEALTH_H
#define JOB_HEALTH_H

#include "job/jobs.h"

struct health;

/* `s` is borrowed and must be whole until health_stop. */
int health_start(struct health **out, struct jobs *s, struct err *e);
/* Waits for what is being asked. NULL is fine. */
void health_stop(struct health *h);

/* 0, or the error of the first part that fails, its name in front. What was found out a
 * moment ago still counts; who has not answered in 1.5 seconds is failing. */
int health_ready(struct health *h, struct err *e);

/* Whether the parts come back at all, be it with an error: ERR_TIMEOUT when one has been
 * asked for a minute and has not. */
int health_alive(struct health *h, struct err *e);

#endif
