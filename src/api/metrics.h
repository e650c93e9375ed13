/* What GET /metrics is put together from: each part has a file. Private to the doors.
 *
 * The format is Prometheus' text (0.0.4); docs/metrics.md is the table of all of it. */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "api/api.h"
#include "base/buf.h"

#define METRICS_PREFIX "whisper_transcriber_"

/* The lines before a metric's values; `name` is whole, with its prefix. */
void metrics_describe(struct buf *out, const char *name, const char *type,
                      const char *help);
/* A metric that has one value. */
void metrics_gauge(struct buf *out, const char *name, const char *help, double value);
void metrics_counter(struct buf *out, const char *name, const char *help, double value);

/* ---- the parts ---- */
void metrics_http(const struct http_request *r, struct buf *out); /* metrics_http.c */
void metrics_machine(const struct config *config,
                     struct buf *out);                   /* metrics_machine.c */
void metrics_work(struct jobs *jobs, struct buf *out);   /* metrics_work.c */
void metrics_health(struct jobs *jobs, struct buf *out); /* metrics_health.c */

#endif
