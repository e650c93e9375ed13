/* The voice detector of a process: opened once, or one sentence why it is not there. */
#ifndef JOB_DETECTOR_H
#define JOB_DETECTOR_H

#include "engine/vad.h"

/* What follows from there being none; it ends a sentence. */
#define DETECTOR_NONE "; until then speech is told by its level alone"

/* On failure *out is NULL and the sentence in `e` says what is wrong, what to do and what
 * follows: enough for the log. */
int detector_open(struct vad **out, const char *path, struct err *e);

#endif
