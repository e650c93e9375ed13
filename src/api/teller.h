/* Transcripts told while they come into being, as OpenAI's clients read them: server-sent
 * events "transcript.text.delta", then "transcript.text.done".
 *
 * One thread tells all of them: events of jobs only ring its bell, because those who post
 * them must not wait, and what there is to say it reads from the store, so that a client
 * that comes late, or comes again, misses nothing. */
#ifndef API_TELLER_H
#define API_TELLER_H

#include "api/api.h"

struct teller;

/* `jobs` is borrowed. */
int teller_start(struct teller **out, struct jobs *jobs, struct err *e);
/* The service stops: who still waits for a text in so many seconds is told to come again.
 */
void teller_leave(struct teller *t, int seconds);
/* After the server has stopped, which closes every stream. NULL is fine. */
void teller_stop(struct teller *t);

/* Answer a request with the stream of a job, in whatever state that is; with `logprobs`,
 * which the job must keep, each event tells those of its text. On error nothing has been
 * answered. */
int teller_stream(struct teller *t, struct http_request *r, const char *job_id,
                  bool logprobs, struct err *e);

#endif
