/* Windows to tokens. */
#include "engine/longform.h"

#include "base/mem.h"
#include "engine/prompt.h"
#include "engine/search.h"
#include "engine/timeline.h"

/* ---- a window -------------------------------------------------------------------- */

/* The features are the same everywhere, as they are more than 80 dB below the loudest
 * sound of the recording. Whatever a model says to that ("you", "Thank you.") it has not
 * heard. */
static bool is_void(const struct run *w, int frames)
{
    const float *x = w->s->features;
    size_t n = (size_t)frames * (size_t)w->s->model->config.n_mels;
    for (size_t i = 1; i < n; i++) {
        if (x[i] != x[0])
            return false;
    }
    return true;
}

/* What is behind the window's frames is 0, as in the reference's transcribe: not silence,
 * whose features are lower. The models hear better so (docs/model.md has the numbers). */
bool listen_take(struct run *w, const struct window *window)
{
    struct whisper_session *s = w->s;
    size_t n = timeline_pieces(w->t, window->at, window->frames, s->mel_pieces,
                               WHISPER_WINDOW_FRAMES);
    mel_gather(s->mel, s->mel_pieces, n, s->features);
    return !is_void(w, window->frames);
}

/* Encode the window whose features are at hand. */
static void encode(struct run *w, int64_t at)
{
    if (w->encoded_at == at)
        return;
    const float *windows[] = {w->s->features};
    net_encode(w->s->net, windows, 1);
    w->encoded_at = at;
}

int listen_language(struct run *w, const struct window *window, int *language,
                    float *probabilities, struct err *e)
{
    for (int i = 0; i < whisper_language_count(); i++)
        probabilities[i] = 0;
    encode(w, window->at);
    int rc = search_languages(w->s->search, 0, probabilities, e);
    if (rc < 0)
        return rc;
    *language = 0;
    for (int i = 1; i < w->s->model->config.n_languages; i++) {
        if (probabilities[i] > probabilities[*language])
            *language = i;
    }
    return 0;
}

/* ---- the ladder ------------------------------------------------------------------ */

/* How good is what was heard? */
static int judge(const struct run *w, const struct search_task *r, struct attempt *a,
                 struct err *e)
{
    char *text = tokenizer_decode(w->s->tokenizer, r->tokens, r->count);
    size_t length = text ? strlen(text) : 0;
    const char *trimmed = text ? words_trim(text, &length) : "";
    a->temperature = r->temperature;
    a->no_speech_prob = r->no_speech_prob;
    a->avg_logprob = r->avg_logprob;
    int rc =
        text ? text_compression_ratio(trimmed, length, &a->compression_ratio) : ERR_NOMEM;
    free(text);
    return rc == 0 ? 0 : err_set(e, rc, "no memory is left for the text");
}

/* Read the prompt in the encoded window. */
static int prompt(struct run *w, struct search_task *t, struct err *e)
{
    struct whisper_session *s = w->s;
    const struct whisper_result *r = w->r;
    const struct prompt_context c = {
        .special = tokenizer_specials(s->tokenizer),
        .params = w->p,
        .texts = &w->texts,
        .n_text_ctx = (size_t)s->model->config.n_text_ctx,
    };
    struct prompt told = {.tokens = s->prompt};
    prompt_write(&c, r->language, r->segments, r->n_segments, &told);
    t->prompt = told.tokens;
    t->n_prompt = told.count;
    t->sot = told.sot;
    t->n_given = told.n_given;
    return search_begin(s->search, t, 1, e);
}

/* Keep what was just heard: the search will reuse its tokens. */
static void keep(struct run *w, const struct attempt *a, const struct search_task *r,
                 struct heard *h)
{
    memcpy(w->s->kept, r->tokens, r->count * sizeof(*r->tokens));
    *h = (struct heard){.attempt = *a, .tokens = w->s->kept, .count = r->count};
}

/* Temperatures in turn, until one gives a text that is neither repetitive nor improbable.
 * Where none does, the best is kept; the reference keeps the last, whose words are half
 * chance. */
int run_listen(struct run *w, const struct window *window, struct heard *h, struct err *e)
{
    struct attempt a;
    struct search_task t = {
        .window = 0,
        .seek = (uint64_t)timeline_recording(w->t, window->at),
    };
    encode(w, window->at);
    int rc = prompt(w, &t, e);
    for (int i = 0; rc == 0 && i < w->p->n_temperatures; i++) {
        t.temperature = w->p->temperatures[i];
        t.attempt = (uint32_t)i;
        if ((rc = search_run(w->s->search, &t, 1, w->c, e)) < 0 ||
            (rc = judge(w, &t, &a, e)) < 0)
            return rc;
        bool good = !fallback_needed(w->p, &a);
        if (i == 0 || good || fallback_better(w->p, &a, &h->attempt))
            keep(w, &a, &t, h);
        if (good)
            break;
    }
    if (rc == 0)
        h->silent = fallback_silent(w->p, &h->attempt);
    return rc;
}
