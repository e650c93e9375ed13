/* What other processes on the same database do to jobs: subscribers hear of it, and what
 * waits is woken. */
#ifndef JOB_NEWS_H
#define JOB_NEWS_H

#include "job/service.h"

/* `s` is open all but for this. */
void news_start(struct jobs *s);
void news_stop(struct jobs *s);

/* Whether a recording without a row may belong to a request of another process (`beside`)
 * that is still coming in, or about to write it: one that began within the last day. */
bool news_may_be_coming(const struct jobs *s, const char *id);

#endif
