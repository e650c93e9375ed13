#include "engine/search.h"

#include "base/mem.h"

#include <math.h>

struct candidate {
    int32_t *tokens; /* owned [capacity] */
    size_t count;    /* without end-of-text */
    double sum;      /* log probabilities, end-of-text among them */
    bool done;       /* end-of-text was chosen */
    struct rng rng;
    float *logits; /* borrowed: the row after its last token */
};

struct search {
    struct net *net;           /* borrowed */
    const struct tokenizer *t; /* borrowed */
    struct special_tokens special;
    int n_vocab, n_text_ctx;
    int32_t *suppressed; /* owned: symbols that are not speech, then markers */
    size_t n_non_speech, n_suppressed;
    int32_t blank;
    struct rules rules;

    size_t n_prompt;
    float *prompt_logits; /* owned [n_vocab]: the row after the prompt */
    float *logits;        /* owned [SEARCH_CANDIDATES][n_vocab] */
    struct candidate candidates[SEARCH_CANDIDATES];
};

/* Asked for only every so many steps: a step takes milliseconds. */
enum { STEPS_PER_CANCEL_CHECK = 4 };

/* ---- life ------------------------------------------------------------------------ */

static int open_suppressed(struct search *s)
{
    const struct special_tokens *sp = &s->special;
    const int32_t markers[] = {sp->transcribe, sp->translate, sp->sot,
                               sp->sot_prev,   sp->sot_lm,    sp->no_speech};
    size_t n;
    const int32_t *non_speech = tokenizer_non_speech(s->t, &n);
    s->suppressed = mem_array(n + ARRAY_LENGTH(markers), sizeof(*s->suppressed));
    if (!s->suppressed)
        return ERR_NOMEM;
    for (size_t i = 0; i < ARRAY_LENGTH(markers); i++)
        s->suppressed[i] = markers[i];
    if (n > 0)
        memcpy(s->suppressed + ARRAY_LENGTH(markers), non_speech,
               n * sizeof(*non_speech));
    s->n_non_speech = n;
    s->n_suppressed = n + ARRAY_LENGTH(markers);
    return 0;
}

static int open_scratch(struct search *s)
{
    size_t row = (size_t)s->n_vocab;
    s->prompt_logits = mem_aligned(row, sizeof(float));
    s->logits = mem_aligned(row * SEARCH_CANDIDATES, sizeof(float));
    if (!s->prompt_logits || !s->logits)
        return ERR_NOMEM;
    for (int i = 0; i < SEARCH_CANDIDATES; i++) {
        struct candidate *c = &s->candidates[i];
        c->tokens = mem_array((size_t)s->n_text_ctx, sizeof(*c->tokens));
        if (!c->tokens)
            return ERR_NOMEM;
    }
    return 0;
}

int search_open(struct search **out, const struct whisper_model *m, struct net *net,
                const struct tokenizer *t, struct err *e)
{
    *out = NULL;
    struct search *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(e, ERR_NOMEM, "no memory is left for the decoder's scratch");
    s->net = net;
    s->t = t;
    s->special = *tokenizer_specials(t);
    s->n_vocab = m->config.n_vocab;
    s->n_text_ctx = m->config.n_text_ctx;
    s->blank = tokenizer_blank(t);
    if (open_suppressed(s) < 0 || open_scratch(s) < 0) {
        search_close(s);
        return err_set(e, ERR_NOMEM, "no memory is left for the decoder's scratch");
    }
    *out = s;
    return 0;
}

void search_close(struct search *s)
{
    if (!s)
        return;
    for (int i = 0; i < SEARCH_CANDIDATES; i++)
        free(s->candidates[i].tokens);
    free(s->suppressed);
    free(s->prompt_logits);
    free(s->logits);
    free(s);
}

void search_set_rules(struct search *s, const struct whisper_params *p)
{
    s->rules = (struct rules){
        .special = s->special,
        .n_vocab = s->n_vocab,
        .suppressed = s->suppressed,
        /* The markers come first: they stay when symbols are allowed. */
        .n_suppressed = s->n_suppressed - (p->suppress_non_speech ? 0 : s->n_non_speech),
        .blank = p->suppress_blank ? s->blank : -1,
        .timestamps = !p->without_timestamps,
        .max_initial = -1,
    };
    if (p->max_initial_timestamp > 0)
        s->rules.max_initial = (int32_t)lrintf(p->max_initial_timestamp * 50);
}

/* ---- the prompt ------------------------------------------------------------------ */

int search_begin(struct search *s, const int32_t *prompt, size_t count, size_t sot,
                 float *no_speech_prob, struct err *e)
{
    net_slot_begin(s->net, 0, 0);
    s->n_prompt = count;
    /* All rows from start-of-transcript on, 4 at most: reading the decoder's weights a
     * second time would cost more than the rows between that nobody looks at. */
    struct net_input input = {0, prompt, (int)count, (int)sot};
    int rc = net_decode(s->net, &input, 1, s->logits, e);
    if (rc < 0)
        return rc;
    *no_speech_prob = rules_probability(s->logits, s->n_vocab, s->special.no_speech);
    size_t row = (size_t)s->n_vocab;
    memcpy(s->prompt_logits, s->logits + (count - sot - 1) * row, row * sizeof(float));
    return 0;
}

int search_languages(struct search *s, float *probabilities, struct err *e)
{
    net_slot_begin(s->net, 0, 0);
    struct net_input input = {0, &s->special.sot, 1, 0};
    int rc = net_decode(s->net, &input, 1, s->logits, e);
    if (rc < 0)
        return rc;
    rules_softmax(s->logits + s->special.language_begin, s->special.n_languages,
                  probabilities);
    return 0;
}

/* ---- the steps ------------------------------------------------------------------- */

static void begin_candidates(struct search *s, const struct search_options *o, int n)
{
    net_slot_truncate(s->net, 0, (int)s->n_prompt);
    for (int i = 0; i < n; i++) {
        struct candidate *c = &s->candidates[i];
        c->count = 0;
        c->sum = 0;
        c->done = false;
        c->logits = s->prompt_logits;
        rng_init(&c->rng, o->seed, o->window, o->attempt, (uint32_t)i);
        if (i > 0)
            net_slot_copy(s->net, i, 0);
    }
}

/* Choose the next token of a candidate. */
static void extend(struct search *s, struct candidate *c, float temperature)
{
    struct allowed a = rules_allow(&s->rules, c->tokens, c->count, c->logits);
    struct choice choice = temperature > 0
                               ? rules_sample(c->logits, &a, temperature,
                                              rng_uniform(&c->rng), s->special.eot)
                               : rules_best(c->logits, &a, s->special.eot);
    c->sum += choice.logprob;
    if (choice.token == s->special.eot)
        c->done = true;
    else
        c->tokens[c->count++] = choice.token;
}

/* One decoder step for all candidates that go on. Returns their number or an error. */
static int step(struct search *s, int n, struct err *e)
{
    struct net_input inputs[SEARCH_CANDIDATES];
    int live = 0;
    for (int i = 0; i < n; i++) {
        struct candidate *c = &s->candidates[i];
        if (c->done)
            continue;
        c->logits = s->logits + (size_t)live * (size_t)s->n_vocab;
        inputs[live++] = (struct net_input){i, &c->tokens[c->count - 1], 1, 0};
    }
    if (live == 0)
        return 0;
    int rc = net_decode(s->net, inputs, live, s->logits, e);
    return rc < 0 ? rc : live;
}

static bool is_cancelled(const struct whisper_callbacks *c)
{
    return c && c->cancelled && c->cancelled(c->arg);
}

static void pick(const struct search *s, int n, struct search_result *out)
{
    double sums[SEARCH_CANDIDATES];
    size_t counts[SEARCH_CANDIDATES];
    for (int i = 0; i < n; i++) {
        sums[i] = s->candidates[i].sum;
        counts[i] = s->candidates[i].count;
    }
    const struct candidate *c = &s->candidates[rules_rank(sums, counts, (size_t)n)];
    out->tokens = c->tokens;
    out->count = c->count;
    out->avg_logprob = (float)(c->sum / (double)(c->count + 1));
    /* Only weights that are no numbers bring it here; reports need one. */
    if (!isfinite(out->avg_logprob))
        out->avg_logprob = -1000;
}

int search_run(struct search *s, const struct search_options *o,
               struct search_result *out, struct err *e)
{
    int n = o->temperature > 0 ? o->best_of : 1;
    int max_steps = s->n_text_ctx / 2; /* the reference's sample_len */
    begin_candidates(s, o, n);
    for (int i = 0; i < max_steps; i++) {
        if (i % STEPS_PER_CANCEL_CHECK == 0 && is_cancelled(o->c))
            return err_set(e, ERR_CANCELLED, "the transcription was cancelled");
        if (i > 0) {
            int live = step(s, n, e);
            if (live < 0)
                return live;
            if (live == 0)
                break;
        }
        for (int j = 0; j < n; j++) {
            if (!s->candidates[j].done)
                extend(s, &s->candidates[j], o->temperature);
        }
        /* A token past the context may be chosen, but not read. */
        if (s->n_prompt + (size_t)i + 1 > (size_t)s->n_text_ctx)
            break;
    }
    pick(s, n, out);
    return 0;
}
