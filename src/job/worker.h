/* A worker: a child of the service that transcribes, some jobs at once, which share the
 * steps of one decoder.
 *
 * It holds the engine and starts the decoder, knows neither database nor storage, and
 * gets every job as open files. It ends when the service does. */
#ifndef JOB_WORKER_H
#define JOB_WORKER_H

#include "base/log.h"

#include <signal.h>

/* The descriptor on which the service's socket is inherited. */
#define WORKER_SOCKET_FD 3

/* Jobs at once, at most. */
#define WORKER_JOBS 8
/* Models that stay open: that of the last job and one more. */
#define WORKER_MODELS 2
/* Windows that the jobs of one model have together, at least. */
#define WORKER_BATCH 4

/* What asks a process to stop: SIGTERM, SIGINT and SIGHUP. A worker is started with these
 * blocked, so that none ends it before worker_ignore_stops is reached. */
void worker_stops(sigset_t *out);

/* Ignore them from now on, and those that came since the start. systemd and others tell
 * every process of a service to stop. The service ends its workers itself, when it has
 * put their jobs back; a worker that went by itself would look as if its job had crashed
 * it. */
void worker_ignore_stops(void);

/* What a worker logs where the service logs from `asked` on (enum log_level): who looks
 * for a fault wants to see the windows, everybody else only what went wrong. */
enum log_level worker_log_level(int asked);

/* For log_options.relay, with the address of the socket's descriptor: the service writes
 * the line. False when it cannot be told. */
bool worker_relay(void *arg, enum log_level level, const char *job, const char *message);

/* Serve jobs that come over `fd` until the other side closes it. Returns 0, or a negative
 * error when the protocol was broken. */
int worker_run(int fd);

#endif
