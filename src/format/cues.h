/* Subtitles that people can read: a transcript's text as cues.
 *
 * Limits are those of Netflix's timed text guide for English (42 characters a line, two
 * lines, 5/6 s to 7 s, two frames between cues, 20 characters a second); a wide character
 * counts as two. Cues never overlap and never go back in time. A segment that is too long
 * is divided: at the times of its words when they are known, else in proportion to its
 * characters, best after a sentence, a clause, a pause. */
#ifndef FORMAT_CUES_H
#define FORMAT_CUES_H

#include "format/transcript.h"

struct cue_options {
    int max_line_width;     /* columns */
    int max_line_count;     /* lines of a cue */
    int max_words_per_line; /* 0: any number */
    float max_cps;          /* columns a second, as long as there is time */
    float min_cue_duration; /* seconds, as long as there is time */
    float max_cue_duration; /* seconds */
    bool highlight_words;   /* one cue for each word, which is underlined */
    bool raw_subtitles;     /* the segments, unchanged; all else is ignored */
    bool always_hours;      /* of the times of VTT, too; not a matter of cues */
};
void cue_options_init(struct cue_options *o);

/* The bytes of a cue's text that are one word. */
struct cue_word {
    size_t from, to;
    int64_t start_ms, end_ms;
};

struct cue {
    int64_t start_ms, end_ms;
    int columns;            /* of the text, a line break counted as a space */
    char *text;             /* owned; lines end with '\n', except the last */
    struct cue_word *words; /* owned [n_words]; NULL: their times are not known */
    size_t n_words;
};

struct cues {
    struct cue *list; /* owned [count] */
    size_t count, capacity;
};

/* `out` is initialised to zeros. 0 or ERR_NOMEM; release it in every case. */
int cues_build(const struct transcript *t, const struct cue_options *o, struct cues *out);
void cues_release(struct cues *c);

/* Whether the options can be met: ERR_STATE when words are to be highlighted and the
 * transcript does not know their times. */
int cues_check(const struct transcript *t, const struct cue_options *o, struct err *e);

#endif
