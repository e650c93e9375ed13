/* The Wyoming door: a TCP port on which Home Assistant finds speech recognition.
 *
 * A thread for each connection, few of them: voice satellites are few, and what they say
 * is short. Every utterance is a job like any other, of the caller WYOMING_CALLER, that
 * is deleted once it is answered or the client has gone: nothing said in a home is kept.
 * The protocol knows no passwords; who can reach the port can use it. */
#ifndef WYOMING_SERVER_H
#define WYOMING_SERVER_H

#include "job/jobs.h"

#include <stdbool.h>

#define WYOMING_CALLER "wyoming"

struct wyoming_server;

/* Listen on WYOMING_HOST and WYOMING_PORT, or on a socket that the service manager hands
 * over (`given`; below 0: none); both pointers are borrowed. Utterances that a former
 * process left are deleted: nobody waits for them. */
int wyoming_start(struct wyoming_server **out, const struct config *c, struct jobs *jobs,
                  int given, struct err *e);
int wyoming_port(const struct wyoming_server *s);
/* Whether only this machine can reach it. */
bool wyoming_loopback(const struct wyoming_server *s);
/* Closes every connection and waits for their threads. NULL is fine. */
void wyoming_stop(struct wyoming_server *s);

#endif
