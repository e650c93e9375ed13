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

/* A recording is in several languages where a window is so sure of one, and leaves the
 * recording's so little. Those whose voices a model mixes up share the probability, and
 * what is doubtful to it is sure of none. */
#define VOTE_MIXED_SURE 0.8f
#define VOTE_MIXED_REST 0.1f

struct voice {
    int frames;
    float probabilities[VOTE_LANGUAGES];
};

struct election {
    int n_languages;
    double sums[VOTE_LANGUAGES];
    double frames; /* of all that have voted */
    struct voice voices[WHISPER_MAX_BATCH];
    int n_voices;
};

/* The probabilities [n_languages] that a window of so many frames gives; at most
 * WHISPER_MAX_BATCH windows vote. */
void vote_add(struct election *v, const float *probabilities, int frames);

/* The language with most, and its share; 0 and 0 when nobody has voted. */
int vote_result(const struct election *v, float *probability);

/* Are several languages spoken? A window is sure of the winner and another one of a
 * language that the winner is not. */
bool vote_is_mixed(const struct election *v);

#endif
