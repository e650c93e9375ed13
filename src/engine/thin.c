/* Nothing is swallowed.
 *
 * A model may write one sentence of two and give it the time of both: then no stretch is
 * without text, and guard.c finds nothing. But people do not fall silent while the voice
 * detector hears them: half of all segments are said in 1.5 times the least time that
 * their letters need, 95 of 100 in 2.2 times. What is said slower than that is heard
 * again, as a window of its own, in which it cannot be passed over; and where that gives
 * the same text with more in it, that is what was said. */
#include "engine/longform.h"

#include "base/mem.h"
#include "engine/pack.h"

/* Slower than so many times the least is too slow, for more than an odd second. */
#define SLOWEST       2
#define SLOWER_FRAMES 150
/* Heard on both sides of it: times are not exact. */
#define MARGIN 20
/* More than this is heard in two pieces: in one, the model may do the same again. */
#define PIECES_FRAMES 1000
/* A shorter window is not worth to be cut. */
#define LEAST_FRAMES 600
/* The second text has more to say than a word, and so much of the first is in it. */
#define MORE_FRAMES 40
#define KEPT        0.5f

/* What is heard instead of a piece: in one window or in two. */
struct second {
    struct heard parts[2];
    int n;
};

/* Is there much less text in a piece than there is time for? */
static bool is_thin(const struct run *w, const struct heard *h, const struct piece *p)
{
    int end = p->end_frame < h->window.frames ? p->end_frame : h->window.frames;
    int64_t from = h->window.at + p->start_frame, to = h->window.at + end;
    int64_t least = listen_needed(w, h->tokens + p->from, p->to - p->from);
    int64_t much = SLOWEST * least + SLOWER_FRAMES;
    return least > 0 && to - from >= much && guard_speech(w, from, to) >= much;
}

/* In which windows is a piece heard again? What is heard as it was is heard the same. */
static void choose_windows(const struct run *w, const struct heard *h,
                           const struct piece *p, struct second *out)
{
    int64_t start = h->window.at, end = start + h->window.frames;
    int64_t from = start + p->start_frame - MARGIN, to = start + p->end_frame + MARGIN;
    from = from > start ? from : start;
    to = to < end ? to : end;
    bool whole = from == start && to == end;
    *out = (struct second){0};
    if (whole && to - from < LEAST_FRAMES)
        return;
    int64_t middle = to;
    if (whole || to - from >= PIECES_FRAMES) {
        int64_t third = (to - from) / 3;
        middle = pack_cut(w->t, &w->s->speech, from + third, to - third);
    }
    out->n = middle < to ? 2 : 1;
    out->parts[0] = (struct heard){
        .window = {from, (int)(middle - from)},
        .language = h->language,
    };
    if (middle < to)
        out->parts[1] = (struct heard){
            .window = {middle, (int)(to - middle)},
            .language = h->language,
        };
}

/* Does the second hearing say what the piece says, and more? */
static int is_fuller(const struct run *w, const struct heard *h, const struct piece *p,
                     const struct second *s, bool *fuller, struct err *e)
{
    const struct special_tokens *special = tokenizer_specials(w->s->tokenizer);
    size_t n_text = p->to - p->from, n = s->parts[0].count + s->parts[1].count;
    const int32_t *text = h->tokens + p->from;
    float kept = 0;
    *fuller = false;
    for (int i = 0; i < s->n; i++) {
        if (!listen_is_sure(w, &s->parts[i]))
            return 0;
    }
    int32_t *tokens = mem_array(n + 1, sizeof(*tokens));
    int rc = tokens ? 0 : ERR_NOMEM;
    if (rc == 0) {
        n = 0;
        for (int i = 0; i < s->n; i++) {
            for (size_t j = 0; j < s->parts[i].count; j++)
                tokens[n++] = s->parts[i].tokens[j];
        }
        rc = verdict_kept(special, text, n_text, tokens, n, &kept);
    }
    *fuller = rc == 0 && kept >= KEPT &&
              listen_needed(w, tokens, n) >= listen_needed(w, text, n_text) + MORE_FRAMES;
    free(tokens);
    return rc < 0 ? err_set(e, rc, "no memory is left to compare texts") : 0;
}

/* Put a second hearing in the place of piece `index` of part `part`. */
static int replace(struct run *w, struct account *a, size_t part, size_t index,
                   struct second *s, struct err *e)
{
    const struct piece piece = a->parts[part].pieces[index];
    int64_t at = a->parts[part].window.at;
    int rc = account_note(w, a, WHISPER_NOTE_HEARD_AGAIN, at + piece.start_frame,
                          at + piece.end_frame, 0, e);
    for (int i = 0; rc == 0 && i < s->n; i++) {
        int advance;
        rc = hear_cut(w, &s->parts[i], false, &advance, e);
    }
    for (int i = 0; rc == 0 && i < s->n; i++) {
        struct heard *added = account_part(a, &s->parts[i].window, -1, e);
        if (!added)
            return ERR_NOMEM;
        *added = s->parts[i];
        s->parts[i] = (struct heard){0};
    }
    if (rc < 0)
        return rc;
    struct heard *h = &a->parts[part];
    h->n_pieces--;
    for (size_t i = index; i < h->n_pieces; i++)
        h->pieces[i] = h->pieces[i + 1];
    return 0;
}

/* *replaced: the piece is no more. */
static int hear_piece(struct run *w, struct account *a, size_t part, size_t index,
                      bool *replaced, struct err *e)
{
    const struct heard *h = &a->parts[part];
    struct second s;
    int rc = 0;
    *replaced = false;
    if (!is_thin(w, h, &h->pieces[index]))
        return 0;
    choose_windows(w, h, &h->pieces[index], &s);
    if (s.n == 0)
        return 0;
    for (int i = 0; rc == 0 && i < s.n; i++) { /* two may be more than the session has */
        rc = longform_check(w, e);
        if (rc == 0)
            rc = listen_windows(w, &s.parts[i], 1, e);
    }
    if (rc == 0)
        rc = is_fuller(w, h, &h->pieces[index], &s, replaced, e);
    if (rc == 0 && *replaced)
        rc = replace(w, a, part, index, &s, e);
    for (int i = 0; i < s.n; i++)
        heard_release(&s.parts[i]);
    return rc;
}

int thin_windows(struct run *w, struct account *accounts, int n, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < n; i++) {
        size_t n_parts = accounts[i].n_parts; /* what is added is not heard once more */
        for (size_t j = 0; j < n_parts; j++) {
            for (size_t k = 0; rc == 0 && k < accounts[i].parts[j].n_pieces;) {
                bool replaced;
                rc = hear_piece(w, &accounts[i], j, k, &replaced, e);
                k += !replaced;
            }
        }
    }
    return rc;
}
