/* Jobs as JSON. */
#ifndef API_PRESENT_H
#define API_PRESENT_H

#include "job/jobs.h"

#include <jansson.h>

/* Of GET /jobs/{id}; a new reference, NULL when memory is out. */
json_t *present_job(const struct job *j, bool with_transcript);
/* Of the 202. */
json_t *present_accepted(const struct job *j);
/* Of the WebSocket; the caller frees the text, NULL when memory is out. */
char *present_progress(const char *job_id, enum job_status status, int progress,
                       const char *message, int64_t time_ms);
/* Of the stream of events, in one line; the same for the caller. */
char *present_event(const struct store_event *v);

#endif
