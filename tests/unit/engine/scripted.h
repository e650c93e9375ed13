/* A scripted network, features and tokenizer: what a model would say in the window that
 * begins at a frame is written down by a test, so that the way through a recording is
 * tested without weights. The small vocabulary is that of test_search.c: 0 … 19 text, 20
 * end-of-text, markers, 32 … timestamps; 16 and 17 are so long that nobody says them in
 * less than one and two seconds. A test that links this replaces the network, the
 * features and the tokenizer of the engine. */
#ifndef TESTS_SCRIPTED_H
#define TESTS_SCRIPTED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/session.h"

enum { EOT = 20, SOT = 21, EN = 28, ZH = 29, BEGIN = 32, VOCAB = BEGIN + 1501 };
enum { CONTEXT = 24, WINDOWS = 4, SLOTS = 8 * WINDOWS };

/* What is said in the window at `frame`: up to the first 0, each with `logit` against 0
 * for all others. Id 0 itself cannot be said. A negative frame is any. `zh` is the logit
 * of the second language against 0 of the first. With `told` it holds only where the
 * model is told that token; of several that hold, the first. */
struct line {
    int64_t frame;
    float logit, no_speech;
    int32_t tokens[12];
    float zh;
    int32_t told;
};

struct net {
    const struct line *script;
    size_t n_lines;
    int64_t frame[WINDOWS]; /* encoded */
    int encoded;            /* windows, all in all */
    int most;               /* windows decoded in one step */
    int pause_us;           /* a step takes so long at least */
    int decoded;            /* steps */
    int32_t slot[SLOTS][CONTEXT];
    int length[SLOTS];
    int window[SLOTS];
    int n_read[WINDOWS];     /* tokens of the prompt */
    int32_t prompt[CONTEXT]; /* the last one that was read */
    int n_prompt;
};

extern struct net net;
extern int64_t void_frames; /* so many at the beginning hold no sound at all */

/* What the callbacks saw. */
struct watch {
    int64_t checkpoints[16];
    int n_checkpoints, n_segments, n_languages, n_notes, language, cancel_after;
};

struct fixture {
    struct whisper_model model;
    struct whisper_session *session;
    struct whisper_params params;
    struct whisper_result result;
    struct watch watch;
    struct err e;
};

/* With a voice detector, which hears somebody wherever it is loud. */
void begin_with_voice(struct fixture *f, const struct line *script, size_t n_lines);
void begin(struct fixture *f, const struct line *script, size_t n_lines);
/* A second recording, whose session is beside another's. End it first. */
void begin_beside(struct fixture *f, const struct fixture *other);
void end(struct fixture *f);

/* Transcribe so many seconds. What the net hears is scripted; the samples only have to
 * sound, where nothing else is said: [quiet_from, quiet_to) seconds do not. */
int go(struct fixture *f, double seconds);
extern double quiet_from, quiet_to;

void expect(const struct fixture *f, size_t i, const char *text, double start,
            double stop);

#endif
