/* GET /events: every change of a caller's jobs, as server-sent events that can be gone on
 * with after a break. */
#ifndef API_EVENTS_H
#define API_EVENTS_H

#include "api/api.h"

struct api_events;

/* Start the thread that feeds all streams. The jobs are borrowed. */
int api_events_start(struct api_events **out, struct jobs *jobs, struct err *e);
/* End all streams, take no new ones: before the server is stopped. */
void api_events_stop(struct api_events *v);
/* After the server was stopped; NULL is fine. */
void api_events_free(struct api_events *v);

void api_events_stream(struct http_request *r);

#endif
