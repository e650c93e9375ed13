/* What a reader should know of how a transcript came to be: what was left out and why,
 * what was mended, what is unsure, how good the sound was.
 *
 * Notes and votes come in while a recording is transcribed; the figures describe all of
 * it and come at the end. */
#ifndef FORMAT_QUALITY_H
#define FORMAT_QUALITY_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum quality_kind {
    QUALITY_NON_SPEECH,     /* left out: the voice detector heard nothing */
    QUALITY_NO_SPEECH,      /* left out: the model says that nobody speaks */
    QUALITY_HALLUCINATION,  /* left out: text where there cannot be any */
    QUALITY_LOOP,           /* a repetition was mended */
    QUALITY_HEARD_AGAIN,    /* speech without text was heard a second time */
    QUALITY_NO_TEXT,        /* speech for which there is no text */
    QUALITY_LOW_CONFIDENCE, /* text that is unsure */
    QUALITY_KINDS
};

enum quality_remedy {
    REMEDY_NONE,
    REMEDY_RESAMPLED,
    REMEDY_SPLIT,
    REMEDY_CUT,
    REMEDY_COUNT
};

struct quality_note {
    enum quality_kind kind;
    double start, end;          /* seconds */
    enum quality_remedy remedy; /* of a LOOP */
    float value; /* NO_SPEECH: probability; LOW_CONFIDENCE: mean log probability; LOOP:
                    how often it was said; else 0 */
    char *text;  /* owned or NULL: what was taken out */
};

struct quality_vote {
    char language[16]; /* a code */
    float probability;
    double start, end; /* seconds */
};

struct quality {
    bool known;                   /* the figures are here */
    double audio_seconds;         /* of the recording */
    double speech_seconds;        /* by the detector */
    double text_seconds;          /* that segments cover */
    float peak_dbfs, speech_dbfs; /* -inf: silence */
    float clipped_share;          /* of the samples */
    char detector[16];            /* "silero", "energy", "off" */
    struct quality_note *notes;   /* owned [n_notes], in the order of time per kind */
    size_t n_notes, notes_capacity;
    struct quality_vote *votes; /* owned [n_votes] */
    size_t n_votes, votes_capacity;
};

/* Whether there is anything to tell: not in what older versions wrote. */
bool quality_exists(const struct quality *q);
void quality_release(struct quality *q);

/* Append a deep copy. 0 or ERR_NOMEM. */
int quality_add_note(struct quality *q, const struct quality_note *note);
/* The same, unless that part has voted already: a recording that is gone on with may vote
 * again. */
int quality_add_vote(struct quality *q, const struct quality_vote *vote);

/* Append the notes and votes of `more`, and take its figures if it has them. */
int quality_join(struct quality *q, const struct quality *more);

#endif
