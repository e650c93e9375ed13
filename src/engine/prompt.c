#include "engine/prompt.h"

#include "base/mem.h"
#include "engine/fallback.h"

/* ---- texts ----------------------------------------------------------------------- */

static int encode(const struct tokenizer *tokenizer, const char *given, int32_t **out,
                  size_t *count, struct err *e)
{
    size_t length = given ? strlen(given) : 0, capacity = 0;
    const char *text = length ? words_trim(given, &length) : NULL;
    if (length == 0)
        return 0;
    char *spaced = mem_array(length + 1, 1);
    if (!spaced)
        return err_set(e, ERR_NOMEM, "no memory is left for the prompt");
    spaced[0] = ' ';
    memcpy(spaced + 1, text, length);
    int rc = tokenizer_encode(tokenizer, spaced, length + 1, out, count, &capacity, e);
    free(spaced);
    return rc;
}

int prompt_texts_init(struct prompt_texts *t, const struct tokenizer *tokenizer,
                      const struct whisper_params *p, struct err *e)
{
    *t = (struct prompt_texts){0};
    int rc = encode(tokenizer, p->initial_prompt, &t->initial, &t->n_initial, e);
    if (rc == 0)
        rc = encode(tokenizer, p->hotwords, &t->hotwords, &t->n_hotwords, e);
    if (rc == 0)
        rc = encode(tokenizer, p->prefix, &t->prefix, &t->n_prefix, e);
    if (rc < 0)
        prompt_texts_release(t);
    return rc;
}

void prompt_texts_release(struct prompt_texts *t)
{
    free(t->initial);
    free(t->hotwords);
    free(t->prefix);
    *t = (struct prompt_texts){0};
}

/* ---- a window -------------------------------------------------------------------- */

static void add(struct prompt *out, const int32_t *tokens, size_t n)
{
    if (n > 0)
        memcpy(out->tokens + out->count, tokens, n * sizeof(*tokens));
    out->count += n;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What comes before start-of-transcript. */
static void add_told(const struct prompt_context *c,
                     const struct whisper_segment *segments, size_t n_segments,
                     struct prompt *out)
{
    const struct prompt_texts *t = c->texts;
    size_t most = c->n_text_ctx / 2 - 1;
    size_t n_hotwords = smaller(t->n_hotwords, most);
    add(out, &c->special->sot_prev, 1);
    add(out, t->hotwords, n_hotwords);
    size_t left = most - n_hotwords, n_said = smaller(c->n_said, left);
    if (c->said)
        add(out, c->said + c->n_said - n_said, n_said);
    else
        out->count += prompt_history(c->params, segments, n_segments, t->initial,
                                     t->n_initial, out->tokens + out->count, left);
    if (out->count == 1)
        out->count = 0; /* nothing */
}

static void add_prefix(const struct prompt_context *c, struct prompt *out)
{
    size_t before = out->count;
    size_t n = smaller(c->texts->n_prefix, (c->n_text_ctx - before) / 2);
    if (!c->params->without_timestamps)
        add(out, &c->special->timestamp_begin, 1);
    add(out, c->texts->prefix, n);
    out->n_given = out->count - before;
}

void prompt_write(const struct prompt_context *c, int language,
                  const struct whisper_segment *segments, size_t n_segments,
                  struct prompt *out)
{
    const struct special_tokens *special = c->special;
    const struct whisper_params *p = c->params;
    out->count = out->n_given = 0;
    add_told(c, segments, n_segments, out);
    out->sot = out->count;
    add(out, &special->sot, 1);
    if (special->language_begin >= 0) {
        const int32_t spoken = special->language_begin + language;
        add(out, &spoken, 1);
        add(out,
            p->task == WHISPER_TRANSLATE ? &special->translate : &special->transcribe, 1);
    }
    if (p->without_timestamps)
        add(out, &special->no_timestamps, 1);
    if (n_segments == 0 && c->texts->n_prefix > 0)
        add_prefix(c, out);
}

/* ---- what was said before -------------------------------------------------------- */

/* Is the text of a segment too unsure to build on? */
static bool is_unsure(const struct whisper_params *p, const struct whisper_segment *s)
{
    const struct attempt a = {
        .temperature = s->temperature,
        .avg_logprob = s->avg_logprob,
        .compression_ratio = s->compression_ratio,
        .no_speech_prob = s->no_speech_prob,
    };
    return s->temperature > p->prompt_reset_on_temperature || fallback_needed(p, &a);
}

size_t prompt_history(const struct whisper_params *p,
                      const struct whisper_segment *segments, size_t n_segments,
                      const int32_t *initial, size_t n_initial, int32_t *out, size_t max)
{
    size_t first = n_segments;
    while (p->condition_on_previous_text && first > 0 &&
           !is_unsure(p, &segments[first - 1]))
        first--;

    size_t total = first == 0 ? n_initial : 0;
    for (size_t i = first; i < n_segments; i++)
        total += segments[i].n_tokens;
    size_t skip = total > max ? total - max : 0, n = 0;

    for (size_t j = 0; first == 0 && j < n_initial; j++) {
        if (skip > 0)
            skip--;
        else
            out[n++] = initial[j];
    }
    for (size_t i = first; i < n_segments; i++) {
        for (size_t j = 0; j < segments[i].n_tokens; j++) {
            if (skip > 0)
                skip--;
            else
                out[n++] = segments[i].tokens[j];
        }
    }
    return n;
}
