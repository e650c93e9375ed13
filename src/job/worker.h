/* A worker: a child of the service that transcribes one job after another.
 *
 * It holds the engine and starts the decoder, knows neither database nor storage, and
 * gets every job as open files. It ends when the service does. */
#ifndef JOB_WORKER_H
#define JOB_WORKER_H

/* The descriptor on which the service's socket is inherited. */
#define WORKER_SOCKET_FD 3

/* Serve jobs that come over `fd` until the other side closes it. Returns 0, or a negative
 * error when the protocol was broken. */
int worker_run(int fd);

#endif
