/* The loop breaker.
 *
 * A window whose text repeats itself, or is longer than anybody could say, is cut at a
 * pause and heard again in two pieces, which have less room to go astray in, and where
 * one of them still does, in four; listen.c tries other temperatures in the short ones.
 * When the text was only suspect, and the pieces say the same, then it was said. What
 * nobody can have said and no piece mends is cut out. */
#include "engine/longform.h"

#include "base/mem.h"
#include "engine/fallback.h"
#include "engine/loop.h"
#include "engine/pack.h"
#include "engine/search.h"

/* What nobody can have said is judged where certainly nobody speaks: below this. */
#define SPOKEN_PROBABILITY 0.25f

/* Texts this alike are the same text. */
#define SAME_TEXT 0.7f

/* ---- judging ---------------------------------------------------------------------- */

static bool may_be_spoken(const struct run *w, int64_t at)
{
    int64_t frame = timeline_recording(w->t, at);
    return speech_probability(&w->s->speech, frame) >= SPOKEN_PROBABILITY;
}

/* In how many of the window's first i frames somebody may speak; NULL in *spoken when
 * that is not known. */
static int count_spoken(const struct run *w, const struct window *window, int **spoken)
{
    *spoken = NULL;
    if (w->s->speech.n_probabilities == 0)
        return 0;
    *spoken = mem_array((size_t)window->frames + 1, sizeof(**spoken));
    if (!*spoken)
        return ERR_NOMEM;
    for (int i = 0; i < window->frames; i++)
        (*spoken)[i + 1] = (*spoken)[i] + may_be_spoken(w, window->at + i);
    return 0;
}

/* Does a piece of the text repeat itself within? Who says a sentence again and again
 * pauses in between, and the model begins a new segment there; one that has gone astray
 * does not. */
static int find_repetitive(const struct run *w, const struct testimony *t, bool *out)
{
    *out = false;
    for (size_t i = 0; !*out && i < t->n_pieces; i++) {
        const struct piece *p = &t->pieces[i];
        struct attempt a = {0};
        int rc =
            listen_ratio(w, t->tokens + p->from, p->to - p->from, &a.compression_ratio);
        if (rc < 0)
            return rc;
        *out = fallback_repetitive(w->p, &a);
    }
    return 0;
}

int mend_judge(const struct run *w, const struct window *window, const int32_t *tokens,
               size_t count, bool repetitive, enum verdict *out, struct err *e)
{
    const struct special_tokens *special = tokenizer_specials(w->s->tokenizer);
    struct piece *pieces = mem_array(count + 1, sizeof(*pieces));
    int *spoken = NULL;
    int rc = pieces ? count_spoken(w, window, &spoken) : ERR_NOMEM;
    if (rc == 0) {
        struct testimony t = {
            .special = special,
            .paces = search_paces(w->s->search),
            .tokens = tokens,
            .count = count,
            .pieces = pieces,
            .n_pieces = segments_cut(tokens, count, special->timestamp_begin,
                                     window->frames, pieces),
            .frames = window->frames,
            .spoken = spoken,
            .repetitive = repetitive,
        };
        rc = find_repetitive(w, &t, &t.segment_repetitive);
        *out = verdict(&t);
    }
    free(pieces);
    free(spoken);
    return rc < 0 ? err_set(e, rc, "no memory is left to judge the text") : 0;
}

/* ---- hearing in pieces --------------------------------------------------------------
 */

/* Replace part i of an account by its two halves, not heard yet. */
static int split(const struct run *w, struct account *a, size_t i, struct err *e)
{
    const struct window whole = a->parts[i].window;
    int language = a->parts[i].language;
    int64_t end = whole.at + whole.frames;
    int64_t third = whole.frames / 3;
    int64_t at = pack_cut(w->t, &w->s->speech, whole.at + third, end - third);
    const struct window first = {whole.at, (int)(at - whole.at)};
    const struct window second = {at, (int)(end - at)};
    if (!account_part(a, &second, language, e))
        return ERR_NOMEM;
    heard_release(&a->parts[i]);
    for (size_t j = a->n_parts - 1; j > i + 1; j--)
        a->parts[j] = a->parts[j - 1];
    a->parts[i] = (struct heard){.window = first, .language = language};
    a->parts[i + 1] = (struct heard){.window = second, .language = language};
    return 0;
}

static bool can_be_split(const struct heard *h)
{
    return h->window.frames >= MEND_LEAST_FRAMES;
}

/* Split the parts that are as bad as `bad` or worse, and listen. */
static int split_and_listen(struct run *w, struct account *a, enum verdict bad,
                            struct err *e)
{
    for (size_t i = 0; i < a->n_parts; i++) {
        struct heard halves[2];
        if (a->parts[i].verdict < bad || !can_be_split(&a->parts[i]))
            continue;
        int rc = longform_check(w, e);
        if (rc == 0)
            rc = split(w, a, i, e);
        if (rc < 0)
            return rc;
        for (int j = 0; j < 2; j++) { /* two at once may be more than the session has */
            halves[j] = a->parts[i + (size_t)j];
            rc = rc < 0 ? rc : listen_windows(w, &halves[j], 1, e);
            a->parts[i + (size_t)j] = halves[j];
        }
        if (rc < 0)
            return rc;
        i++;
    }
    return 0;
}

/* All tokens of the parts, one behind the other. NULL when memory is out. */
static int32_t *join(const struct account *a, size_t *count)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_parts; i++)
        n += a->parts[i].count;
    int32_t *tokens = mem_array(n + 1, sizeof(*tokens));
    *count = 0;
    for (size_t i = 0; tokens && i < a->n_parts; i++) {
        for (size_t j = 0; j < a->parts[i].count; j++)
            tokens[(*count)++] = a->parts[i].tokens[j];
    }
    return tokens;
}

static int same_text(const struct run *w, const struct heard *h, const struct account *a,
                     bool *same, struct err *e)
{
    size_t n;
    float likeness = 0;
    int32_t *tokens = join(a, &n);
    int rc = tokens ? verdict_likeness(tokenizer_specials(w->s->tokenizer), h->tokens,
                                       h->count, tokens, n, &likeness)
                    : ERR_NOMEM;
    free(tokens);
    *same = likeness >= SAME_TEXT;
    return rc < 0 ? err_set(e, rc, "no memory is left to compare texts") : 0;
}

/* ---- what was done ------------------------------------------------------------------
 */

/* The note about a loop in `h`: what is repeated and how often. */
static int tell(const struct run *w, struct account *a, const struct heard *h,
                enum whisper_remedy remedy, struct err *e)
{
    const struct special_tokens *special = tokenizer_specials(w->s->tokenizer);
    struct loop l = loop_find(special, search_paces(w->s->search), h->tokens, h->count,
                              (float)h->window.frames / WHISPER_FRAMES_PER_SECOND);
    int rc = account_note(w, a, WHISPER_NOTE_LOOP, h->window.at,
                          h->window.at + h->window.frames, (float)l.repeats, e);
    if (rc < 0)
        return rc;
    struct whisper_note *note = &a->notes[a->n_notes - 1];
    note->remedy = remedy;
    if (l.period == 0)
        return 0;
    size_t to = l.first;
    for (size_t left = l.period; left > 0 && to < h->count; to++)
        left -= h->tokens[to] < special->eot;
    note->text = tokenizer_decode(w->s->tokenizer, h->tokens + l.first, to - l.first);
    return note->text ? 0 : err_set(e, ERR_NOMEM, "no memory is left for the report");
}

/* Take the repetition at the end out, but for what there is time for, once at least. */
static int cut_out(const struct run *w, struct account *a, struct heard *h, struct err *e)
{
    const struct special_tokens *special = tokenizer_specials(w->s->tokenizer);
    struct loop l = loop_find(special, search_paces(w->s->search), h->tokens, h->count,
                              (float)h->window.frames / WHISPER_FRAMES_PER_SECOND);
    int rc = tell(w, a, h, WHISPER_REMEDY_CUT, e);
    if (rc < 0 || l.repeats < 2)
        return rc;
    size_t keep = 1, text = 0, to = l.first;
    if (l.needed_seconds > 0)
        keep = (size_t)((float)l.repeats * l.seconds / l.needed_seconds);
    keep = keep < 1 ? 1 : keep < l.repeats ? keep : l.repeats;
    while (to < h->count && text < keep * l.period)
        text += h->tokens[to++] < special->eot;
    /* The timestamp that closes the segment stays. */
    if (to < h->count && h->tokens[h->count - 1] >= special->timestamp_begin) {
        h->tokens[to] = h->tokens[h->count - 1];
        h->logprobs[to++] = h->logprobs[h->count - 1];
    }
    h->count = to;
    return 0;
}

/* ---- an account ---------------------------------------------------------------------
 */

/* Part 0 is in doubt: hear it in pieces, and keep what is better. */
static int mend_account(struct run *w, struct account *a, struct err *e)
{
    struct account pieces = {.window = a->window};
    struct heard *h = &a->parts[0];
    struct heard *copy = account_part(&pieces, &h->window, h->language, e);
    bool same = false;
    int rc = copy ? 0 : ERR_NOMEM;
    if (copy)
        copy->verdict = h->verdict;
    if (rc == 0)
        rc = split_and_listen(w, &pieces, VERDICT_SUSPECT, e);
    if (rc == 0)
        rc = split_and_listen(w, &pieces, VERDICT_LIKELY, e);
    if (rc == 0)
        rc = same_text(w, h, &pieces, &same, e);
    if (rc == 0 && same && h->verdict == VERDICT_SUSPECT) {
        account_release(&pieces);
        return 0;
    }
    if (rc == 0)
        rc = tell(w, a, h, WHISPER_REMEDY_SPLIT, e);
    if (rc < 0) {
        account_release(&pieces);
        return rc;
    }
    heard_release(h);
    free(a->parts);
    a->parts = pieces.parts;
    a->n_parts = pieces.n_parts;
    a->parts_capacity = pieces.parts_capacity;
    return 0;
}

int mend_window(struct run *w, struct account *a, struct err *e)
{
    int rc = 0;
    struct heard *h = &a->parts[0];
    if (h->is_void || h->silent)
        return 0;
    if (h->mended)
        rc = tell(w, a, h, WHISPER_REMEDY_RESAMPLED, e);
    else if (h->verdict != VERDICT_FINE && can_be_split(h))
        rc = mend_account(w, a, e);
    for (size_t i = 0; rc == 0 && i < a->n_parts; i++) {
        if (a->parts[i].verdict == VERDICT_CERTAIN)
            rc = cut_out(w, a, &a->parts[i], e);
    }
    return rc;
}
