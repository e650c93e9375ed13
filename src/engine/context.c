/* A second hearing with context.
 *
 * Windows that are heard side by side do not know what was said before them: a name that
 * was clear is guessed again, a sentence begins in the middle. To hear them in turn, each
 * with the text before it, would mend that, and hand on whatever goes astray. So each is
 * heard twice: for itself, and told what the window before it was heard to say for
 * itself; of the two the more probable text stays. No mistake goes further than one
 * window, and nothing depends on how many are heard together. */
#include "engine/longform.h"

#include "base/mem.h"

/* The second text may need so much less time to be said: else it has left something out.
 */
#define LEFT_OUT_FRAMES 40

/* Is it sure enough to build on? */
static bool can_be_told(const struct run *w, const struct heard *h)
{
    return listen_is_sure(w, h) &&
           h->attempt.temperature <= w->p->prompt_reset_on_temperature;
}

/* Does the text before belong to this window: the same language, and no long silence
 * between them? */
static bool is_told(const struct run *w, const struct said *before, const struct heard *h)
{
    return before->count > 0 && before->language == h->language && !h->is_void &&
           !h->silent && h->verdict == VERDICT_FINE &&
           !timing_has_gap(w, before->window.at, h->window.at + 1);
}

static bool is_better(const struct run *w, const struct heard *again,
                      const struct heard *h)
{
    return listen_is_sure(w, again) &&
           again->attempt.avg_logprob > h->attempt.avg_logprob &&
           listen_needed(w, again->tokens, again->count) + LEFT_OUT_FRAMES >=
               listen_needed(w, h->tokens, h->count);
}

/* The second text takes the place of the first; whether somebody speaks was the question
 * of the first hearing. */
static void take(struct heard *h, struct heard *again)
{
    again->attempt.no_speech_prob = h->attempt.no_speech_prob;
    again->mended = h->mended;
    again->said = again->draft = NULL;
    again->n_said = again->n_draft = 0;
    heard_release(h);
    *h = *again;
    *again = (struct heard){0};
}

int context_said(const struct run *w, const struct heard *h, struct said *out,
                 struct err *e)
{
    *out = (struct said){.window = h->window, .language = h->language};
    if (!can_be_told(w, h))
        return 0;
    out->tokens = mem_array(h->count, sizeof(*out->tokens));
    if (!out->tokens)
        return err_set(e, ERR_NOMEM, "no memory is left for the text");
    memcpy(out->tokens, h->tokens, h->count * sizeof(*out->tokens));
    out->count = h->count;
    return 0;
}

int context_window(struct run *w, struct heard *h, const struct said *before,
                   struct err *e)
{
    if (!is_told(w, before, h))
        return 0;
    struct heard again = {
        .window = h->window,
        .language = h->language,
        .said = before->tokens,
        .n_said = before->count,
        .draft = h->tokens,
        .n_draft = h->count,
    };
    int rc = listen_texts(w, &again, 1, 1, e);
    if (rc == 0 && is_better(w, &again, h))
        take(h, &again);
    heard_release(&again);
    return rc;
}

int context_recall(struct run *w, const struct window *window, struct said *out,
                   struct err *e)
{
    struct heard h = {.window = *window, .language = -1};
    int rc = listen_texts(w, &h, 1, w->p->n_temperatures, e);
    if (rc == 0)
        rc = context_said(w, &h, out, e);
    heard_release(&h);
    return rc;
}
