/* A transcript in pieces that fit into a message.
 *
 * The worker tells of what is new since the last time; most often that is one piece. */
#ifndef JOB_PARTS_H
#define JOB_PARTS_H

#include "format/transcript.h"

/* So much of a transcript, from its beginning. */
struct extent {
    size_t segments, notes, votes;
};

struct extent parts_all(const struct transcript *t);
bool parts_same(const struct extent *a, const struct extent *b);

/* Write the next piece behind *sent, as the JSON of a transcript, into `out`, which it
 * fills anew and never beyond its maximum; *sent moves to its end. It is all that is left
 * if that fits, else the first half, quarter … of it. `figures`: with those of the
 * report. ERR_TOO_LARGE when not even the smallest piece fits. */
int parts_next(const struct transcript *t, struct extent *sent, bool figures,
               struct buf *out, struct err *e);

#endif
