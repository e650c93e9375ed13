/* Which language is spoken? The vote of several windows. */
#ifndef ENGINE_VOTE_H
#define ENGINE_VOTE_H

#include "engine/whisper.h"

#define VOTE_LANGUAGES 128 /* more than any model knows */

/* A window that is so sure has a language of its own; a short one must be surer: a name
 * or a cry is no change of language. */
#define VOTE_SURE          0.5f
#define VOTE_ODDS          10.0f /* or so much surer than of the recording's language */
#define VOTE_SURE_IF_SHORT 0.8f
#define VOTE_SHORT_FRAMES  300

struct election {
    int n_languages;
    double sums[VOTE_LANGUAGES];
    double frames; /* of all that have voted */
};

/* The probabilities [n_languages] that a window of so many frames gives. */
void vote_add(struct election *v, const float *probabilities, int frames);

/* The language with most, and its share; 0 and 0 when nobody has voted. */
int vote_result(const struct election *v, float *probability);

#endif
