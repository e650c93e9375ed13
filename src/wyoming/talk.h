/* One connection: its events in order, from the first byte to the end. */
#ifndef WYOMING_TALK_H
#define WYOMING_TALK_H

#include "job/jobs.h"

struct talk_options {
    const struct config *config; /* borrowed, as are all */
    struct jobs *jobs;
    int stop_fd; /* readable: the server stops */
};

/* Serve the client on the socket until it goes, errs or is too slow. The socket stays the
 * caller's. */
void talk_run(int fd, const struct talk_options *options);

/* Tell the client why it is turned away, and wait for a moment until it has read that. */
void talk_refuse(int fd, int stop_fd, const char *code, const char *sentence);

#endif
