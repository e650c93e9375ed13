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
    again->said = NULL;
    again->n_said = 0;
    heard_release(h);
    *h = *again;
    *again = (struct heard){0};
}

/* Of the window behind which the next batch begins, as it was heard for itself. */
static int remember(struct run *w, const struct heard *h, struct err *e)
{
    struct said *s = &w->before;
    free(s->tokens);
    *s = (struct said){.window = h->window, .language = h->language};
    if (!can_be_told(w, h))
        return 0;
    s->tokens = mem_array(h->count, sizeof(*s->tokens));
    if (!s->tokens)
        return err_set(e, ERR_NOMEM, "no memory is left for the text");
    memcpy(s->tokens, h->tokens, h->count * sizeof(*s->tokens));
    s->count = h->count;
    return 0;
}

/* What was said in the window before heard[i]; all is borrowed. */
static struct said said_before(const struct run *w, const struct heard *heard, int i)
{
    if (i == 0)
        return w->before;
    const struct heard *h = &heard[i - 1];
    return (struct said){
        .window = h->window,
        .language = h->language,
        .tokens = h->tokens,
        .count = can_be_told(w, h) ? h->count : 0,
    };
}

int context_windows(struct run *w, struct heard *heard, int n, struct err *e)
{
    struct heard again[WHISPER_MAX_BATCH];
    int of[WHISPER_MAX_BATCH], count = 0, rc;
    for (int i = 0; i < n; i++) {
        const struct said before = said_before(w, heard, i);
        if (!is_told(w, &before, &heard[i]))
            continue;
        again[count] = (struct heard){
            .window = heard[i].window,
            .language = heard[i].language,
            .said = before.tokens,
            .n_said = before.count,
        };
        of[count++] = i;
    }
    rc = count > 0 ? listen_texts(w, again, count, 1, e) : 0;
    if (rc == 0)
        rc = remember(w, &heard[n - 1], e);
    for (int i = 0; i < count; i++) {
        if (rc == 0 && is_better(w, &again[i], &heard[of[i]]))
            take(&heard[of[i]], &again[i]);
        heard_release(&again[i]);
    }
    return rc;
}

int context_recall(struct run *w, const struct window *window, struct err *e)
{
    struct heard h = {.window = *window, .language = -1};
    int rc = listen_texts(w, &h, 1, w->p->n_temperatures, e);
    if (rc == 0)
        rc = remember(w, &h, e);
    heard_release(&h);
    return rc;
}
