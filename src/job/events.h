/* Who wants to hear of which job.
 *
 * Any thread posts; one thread (the supervisor's) delivers, in the order of posting. */
#ifndef JOB_EVENTS_H
#define JOB_EVENTS_H

#include "job/jobs.h"

struct events;

int events_new(struct events **out, struct err *e);
void events_free(struct events *ev);

/* See jobs_subscribe and jobs_unsubscribe. */
int events_subscribe(struct events *ev, const char *job_id, job_event_fn fn, void *arg);
void events_unsubscribe(struct events *ev, int handle);

/* The jobs that somebody has subscribed to by name, at most `max`. Returns how many. */
size_t events_wanted(struct events *ev, char (*ids)[ID_SIZE], size_t max);

/* Keep a copy for delivery. Nothing is kept while nobody has subscribed. */
void events_post(struct events *ev, const struct job_event *event);
/* Call the subscribers for all that was posted. */
void events_deliver(struct events *ev);

#endif
