/* What one client says, from its first sound to the job that hears it.
 *
 * A command of some seconds stays in memory, and becomes a WAV file that says how long it
 * is: that needs no FFmpeg and is heard at once. What is longer goes to the storage as it
 * comes. */
#ifndef WYOMING_UTTERANCE_H
#define WYOMING_UTTERANCE_H

#include "job/jobs.h"
#include "wyoming/protocol.h"

/* Sound of an utterance that is kept in memory: half a minute of 16 kHz mono. */
#define UTTERANCE_IN_MEMORY ((size_t)1 << 20)

struct utterance {
    struct jobs *jobs; /* borrowed */
    char model[64], language[32];
    char *hot_words; /* owned; NULL: none were told */
    bool begun;      /* its format is known */
    struct wyoming_format format;
    struct buf sound;      /* owned: while it fits into memory */
    struct upload *upload; /* owned: once it does not */
};

void utterance_init(struct utterance *u, struct jobs *jobs);
/* Forget everything, to begin anew; also frees all. */
void utterance_reset(struct utterance *u);

/* The data of a `transcribe` event: which model and language, which names to expect. A
 * language such as "en-US" counts as "en". */
int utterance_ask(struct utterance *u, const json_t *data, struct err *e);
/* The format of an `audio-start` or `audio-chunk`. ERR_INVALID when sound of another one
 * came before. */
int utterance_format(struct utterance *u, const json_t *data, struct err *e);
/* Errors as from upload_write. */
int utterance_add(struct utterance *u, const void *bytes, size_t length, struct err *e);
/* Make it a job, of the caller named; the utterance is empty again. ERR_INVALID when
 * nothing was said. Other errors as from jobs_submit. */
int utterance_submit(struct utterance *u, const char *caller, struct job *out,
                     struct err *e);

#endif
