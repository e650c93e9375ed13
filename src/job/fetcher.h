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
/* That job was cancelled or deleted, in the database already: its download, if one is at
 * it, ends at once. From any thread; NULL is fine. */
void fetcher_stop(struct fetcher *f, const char *job_id);

#endif
