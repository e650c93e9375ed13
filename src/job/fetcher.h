/* The fetcher: recordings that are named by a URL come in here, as the first part of
 * their job, with a few tries. */
#ifndef JOB_FETCHER_H
#define JOB_FETCHER_H

#include "job/service.h"

int fetcher_new(struct fetcher **out, struct jobs *s, struct err *e);
/* Begin, with what a former process left. With URL_FETCH off, what waits fails. Once, and
 * after the supervisor. */
int fetcher_start(struct fetcher *f, struct err *e);
/* Breaks downloads off: they go on at the next start. NULL is fine. */
void fetcher_close(struct fetcher *f);
/* There is something to fetch. From any thread; NULL is fine. */
void fetcher_wake(struct fetcher *f);

#endif
