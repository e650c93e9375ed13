/* Transcripts that are there until they were fetched (retain=none). */
#ifndef API_FLEETING_H
#define API_FLEETING_H

#include "api/api.h"

/* Whether the transcript of a completed job has been fetched before; then answers 410 and
 * releases the job. */
bool api_is_erased(struct http_request *r, struct job *job);

/* The answer holds the job's transcript: once it has been sent whole, the job is told so.
 * Takes r->state and http_request_on_end. */
void api_note_fetched(struct http_request *r, const struct job *job);

#endif
