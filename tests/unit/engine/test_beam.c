/* The search over a made-up network, whose logits are drawn from the tokens before them:
 * beams against the reference's algorithm written plainly, patience, length penalty,
 * ties, and windows beside each other against one by one. 0 … 5 text, 6 end-of-text, 7 …
 * 15 markers, 16 … 31 timestamps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/search.h"

#include <math.h>

enum { EOT = 6, SOT = 7, NO_TIMES = 14, BEGIN = 16, VOCAB = 32 };
enum { CONTEXT = 24, WINDOWS = 3, SLOTS = WINDOWS * SEARCH_SLOTS, MOST = 40 };

static const struct special_tokens special = {
    .eot = EOT,
    .sot = SOT,
    .translate = 8,
    .transcribe = 9,
    .sot_lm = 10,
    .sot_prev = 11,
    .no_speech = 12,
    .no_timestamps = NO_TIMES,
    .timestamp_begin = BEGIN,
    .language_begin = 13,
    .n_languages = 1,
};

/* ---- the made-up network ----------------------------------------------------------- */

struct net {
    int window[SLOTS], length[SLOTS];
    int32_t tokens[SLOTS][CONTEXT];
    int rows, calls; /* decoded all in all */
    size_t copied;   /* positions */
    bool coarse;     /* few different logits: many ties */
    bool flat;       /* none but ties */
    float end;       /* added to end-of-text's */
    int32_t again;   /* if not 0: said again and again */
    uint64_t seed;
};

static struct net net;

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Logits after tokens [n] in a window. */
static void dream(int window, const int32_t *tokens, int n, float *logits)
{
    uint64_t h = mix(net.seed + 1 + (uint64_t)window);
    for (int i = 0; i < n; i++)
        h = mix(h * 31 + (uint64_t)tokens[i] + 1);
    for (int i = 0; i < VOCAB; i++) {
        h = mix(h + 0x9e3779b97f4a7c15u);
        float x = (float)(h >> 40) / (float)(1 << 24);
        logits[i] = net.flat ? 0 : net.coarse ? floorf(3 * x) : 6 * x;
        if (i >= BEGIN)
            logits[i] -= 3;
    }
    logits[EOT] += net.end;
    if (net.again)
        logits[net.again] += 20;
}

int net_open(struct net **out, const struct whisper_model *m, const struct net_options *o,
             struct err *e)
{
    (void)m;
    (void)o;
    (void)e;
    *out = &net;
    return 0;
}

void net_close(struct net *n)
{
    (void)n;
}

struct pool *net_pool(struct net *n)
{
    (void)n;
    return NULL;
}

void net_slot_begin(struct net *n, int slot, int window)
{
    n->window[slot] = window;
    n->length[slot] = 0;
}

void net_slot_copy(struct net *n, int to, int from, int same)
{
    if (to == from)
        return;
    assert_true(same <= n->length[from]);
    /* What is not copied must be there already. */
    assert_memory_equal(n->tokens[to], n->tokens[from], (size_t)same * sizeof(int32_t));
    n->copied += (size_t)(n->length[from] - same);
    memcpy(n->tokens[to], n->tokens[from], sizeof(n->tokens[to]));
    n->length[to] = n->length[from];
    n->window[to] = n->window[from];
}

int net_slot_length(const struct net *n, int slot)
{
    return n->length[slot];
}

void net_slot_truncate(struct net *n, int slot, int length)
{
    assert_true(length <= n->length[slot]);
    n->length[slot] = length;
}

int net_decode(struct net *n, const struct net_input *inputs, int count, float *logits,
               struct err *e)
{
    (void)e;
    n->calls++;
    for (int i = 0; i < count; i++) {
        const struct net_input *in = &inputs[i];
        int slot = in->slot;
        assert_int_equal(n->window[slot], slot / SEARCH_SLOTS);
        assert_true(n->length[slot] + in->n_tokens <= CONTEXT);
        for (int t = 0; t < in->n_tokens; t++) {
            n->tokens[slot][n->length[slot]++] = in->tokens[t];
            n->rows++;
            if (t < in->logits_from)
                continue;
            dream(n->window[slot], n->tokens[slot], n->length[slot], logits);
            logits += VOCAB;
        }
    }
    return 0;
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *length)
{
    (void)t;
    *length = id < EOT ? 4 : 0;
    return "word";
}

const struct special_tokens *tokenizer_specials(const struct tokenizer *t)
{
    (void)t;
    return &special;
}

const int32_t *tokenizer_non_speech(const struct tokenizer *t, size_t *count)
{
    (void)t;
    static const int32_t symbols[] = {5};
    *count = 1;
    return symbols;
}

int32_t tokenizer_blank(const struct tokenizer *t)
{
    (void)t;
    return 4;
}

/* ---- the reference, written plainly ------------------------------------------------ */

struct text {
    int32_t tokens[MOST];
    size_t count;
    double sum;
};

static const int32_t prompt[] = {SOT, 13, 9};
enum { N_PROMPT = 3 };

/* Log probabilities of what may follow. */
static void weigh(const struct rules *r, int window, const struct text *x, double *out)
{
    int32_t all[CONTEXT + MOST];
    memcpy(all, prompt, sizeof(prompt));
    memcpy(all + N_PROMPT, x->tokens, x->count * sizeof(*all));
    float logits[VOCAB];
    dream(window, all, N_PROMPT + (int)x->count, logits);
    struct allowed a = rules_allow(r, x->tokens, x->count, logits);
    double sum = 0;
    for (int i = 0; i < VOCAB; i++) {
        bool may = (i >= a.text_begin && i < a.text_end) ||
                   (i >= a.stamp_begin && i < a.stamp_end);
        out[i] = may ? (double)logits[i] : -INFINITY;
        sum += exp(out[i]);
    }
    for (int i = 0; i < VOCAB; i++)
        out[i] -= log(sum);
}

struct branch {
    int source;
    int32_t token;
    double logprob, sum;
};

static int by_logprob(const void *x, const void *y)
{
    const struct branch *a = x, *b = y;
    if (a->logprob != b->logprob)
        return a->logprob < b->logprob ? 1 : -1;
    return a->token - b->token;
}

static double score(const struct text *x, float penalty)
{
    return x->sum / pow(x->count ? (double)x->count : 1, (double)penalty);
}

/* The beam_size + 1 best of every beam, all of them sorted, and so on to the end. */
static struct text plain_beam(const struct rules *r, const struct whisper_params *p,
                              int window, size_t room)
{
    struct text beams[8] = {{{0}, 0, 0}}, next[8], ended[64];
    int n = 1, n_ended = 0, most = (int)lrintf((float)p->beam_size * p->patience);
    for (size_t step = 0; step < room && n > 0 && n_ended < most; step++) {
        struct branch all[8 * 9];
        int n_all = 0;
        for (int i = 0; i < n; i++) {
            double logprobs[VOCAB];
            struct branch mine[VOCAB];
            weigh(r, window, &beams[i], logprobs);
            for (int t = 0; t < VOCAB; t++)
                mine[t] = (struct branch){i, t, logprobs[t], beams[i].sum + logprobs[t]};
            qsort(mine, VOCAB, sizeof(*mine), by_logprob);
            for (int k = 0; k <= p->beam_size && isfinite(mine[k].logprob); k++)
                all[n_all++] = mine[k];
        }
        for (int i = 1; i < n_all; i++) /* stable */
            for (int j = i; j > 0 && all[j - 1].sum < all[j].sum; j--) {
                struct branch b = all[j];
                all[j] = all[j - 1];
                all[j - 1] = b;
            }
        int saved = 0;
        for (int i = 0; i < n_all && saved < p->beam_size; i++) {
            struct text x = beams[all[i].source];
            x.sum = all[i].sum;
            if (all[i].token == EOT) {
                if (n_ended < most)
                    ended[n_ended++] = x;
            } else {
                x.tokens[x.count++] = all[i].token;
                next[saved++] = x;
            }
        }
        n = saved;
        memcpy(beams, next, sizeof(beams));
    }
    for (int i = 0; n_ended < most && i < n && n_ended < p->beam_size; i++)
        ended[n_ended++] = beams[i];
    int best = 0;
    for (int i = 1; i < n_ended; i++)
        if (score(&ended[i], p->length_penalty) > score(&ended[best], p->length_penalty))
            best = i;
    return ended[best];
}

/* ---- the search -------------------------------------------------------------------- */

struct fixture {
    struct whisper_model model;
    struct search *s;
    struct whisper_params p;
    struct err e;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->model.config = (struct whisper_config){.n_vocab = VOCAB, .n_text_ctx = CONTEXT};
    net = (struct net){.seed = 1};
    assert_int_equal(search_open(&f->s, &f->model, &net, NULL, WINDOWS, &f->e), 0);
    batcher_enter(search_batcher(f->s));
    f->p = (struct whisper_params){
        .beam_size = 5,
        .patience = 1,
        .length_penalty = 1,
        .best_of = 5,
        .repetition_penalty = 1,
        .suppress_blank = true,
        .suppress_non_speech = true,
        .max_initial_timestamp = 0.1f,
    };
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    batcher_leave(search_batcher(f->s));
    search_close(f->s);
    free(f);
    return 0;
}

/* What the plain search must be told of the same parameters. */
static struct rules rules_of(const struct whisper_params *p)
{
    static const int32_t markers[] = {9, 8, SOT, 11, 10, 12, 5};
    return (struct rules){
        .special = special,
        .n_vocab = VOCAB,
        .suppressed = markers,
        .n_suppressed = ARRAY_LENGTH(markers) - (p->suppress_non_speech ? 0 : 1),
        .unwanted = p->suppress_tokens,
        .n_unwanted = p->n_suppress_tokens,
        .blank = p->suppress_blank ? 4 : -1,
        .timestamps = !p->without_timestamps,
        .max_initial = p->max_initial_timestamp > 0
                           ? (int32_t)lrintf(p->max_initial_timestamp * 50)
                           : -1,
        .repetition_penalty = p->repetition_penalty,
        .no_repeat_ngram = p->no_repeat_ngram_size,
    };
}

static struct search_task task_of(int window)
{
    return (struct search_task){.window = window,
                                .prompt = prompt,
                                .n_prompt = N_PROMPT,
                                .seek = 100 * (uint64_t)window};
}

static void run(struct fixture *f, struct search_task *tasks, int count)
{
    search_set_params(f->s, &f->p);
    assert_int_equal(search_begin(f->s, tasks, count, NULL, &f->e), 0);
    assert_int_equal(search_run(f->s, tasks, count, NULL, &f->e), 0);
}

/* Window 0 comes out as the plain search says. */
static void check(struct fixture *f)
{
    struct rules r = rules_of(&f->p);
    size_t room = f->p.max_new_tokens ? (size_t)f->p.max_new_tokens : CONTEXT / 2;
    struct text expected = plain_beam(&r, &f->p, 0, room);
    struct search_task t = task_of(0);
    run(f, &t, 1);
    assert_int_equal(t.count, expected.count);
    assert_memory_equal(t.tokens, expected.tokens, t.count * sizeof(*t.tokens));
    assert_true(fabs(t.avg_logprob - expected.sum / (double)(t.count + 1)) < 1e-4);
    double sum = 0;
    for (size_t i = 0; i < t.count; i++)
        sum += (double)t.logprobs[i];
    assert_true(sum >= expected.sum - 1e-3);
    assert_false(t.looping);
}

static void beams_are_the_references(void **state)
{
    struct fixture *f = *state;
    size_t longest = 0, unended = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        net.seed = seed;
        net.end = (float)(seed % 5) - 1;
        f->p.beam_size = 1 + (int)(seed % 8);
        f->p.without_timestamps = seed % 3 == 0;
        check(f);
        struct search_task t = task_of(0);
        run(f, &t, 1);
        longest = t.count > longest ? t.count : longest;
        unended += t.count == CONTEXT / 2;
    }
    /* Else it would not have tried much. */
    assert_true(longest >= 8 && unended > 3);
}

static void the_last_draw_of_equals_is_always_the_same(void **state)
{
    struct fixture *f = *state;
    net.coarse = true;
    for (uint64_t seed = 0; seed < 200; seed++) {
        net.seed = seed;
        f->p.beam_size = 2 + (int)(seed % 7);
        f->p.without_timestamps = seed % 2 == 0;
        struct search_task a = task_of(0), b = task_of(0);
        run(f, &a, 1);
        int32_t first[CONTEXT];
        size_t count = a.count;
        memcpy(first, a.tokens, count * sizeof(*first));
        run(f, &b, 1);
        assert_int_equal(b.count, count);
        assert_memory_equal(b.tokens, first, count * sizeof(*first));
    }
}

static void of_equals_the_first_is_taken(void **state)
{
    struct fixture *f = *state;
    net.flat = true;
    net.end = -30;
    f->p.without_timestamps = true;
    for (f->p.beam_size = 1; f->p.beam_size <= 8; f->p.beam_size++) {
        struct search_task t = task_of(0);
        run(f, &t, 1);
        assert_int_equal(t.count, CONTEXT / 2);
        for (size_t i = 0; i < t.count; i++)
            assert_int_equal(t.tokens[i], 0);
    }
}

static void patience_waits_for_more_texts(void **state)
{
    struct fixture *f = *state;
    static const float values[] = {0.2f, 0.5f, 1, 2, 3};
    int differ = 0, rows[ARRAY_LENGTH(values)] = {0};
    for (uint64_t seed = 0; seed < 100; seed++) {
        net.seed = seed;
        net.end = 1;
        float first = 0;
        for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
            f->p.patience = values[i];
            net.rows = 0;
            check(f);
            rows[i] += net.rows;
            struct search_task t = task_of(0);
            run(f, &t, 1);
            differ += i > 0 && t.avg_logprob != first;
            first = t.avg_logprob;
        }
    }
    assert_true(differ > 0);
    for (size_t i = 1; i < ARRAY_LENGTH(values); i++)
        assert_true(rows[i] > rows[i - 1]);
}

static void the_length_penalty_ranks(void **state)
{
    struct fixture *f = *state;
    size_t lengths[3] = {0};
    static const float values[] = {0, 1, 3};
    for (uint64_t seed = 0; seed < 100; seed++) {
        net.seed = seed;
        net.end = 1;
        for (size_t i = 0; i < 3; i++) {
            f->p.length_penalty = values[i];
            check(f);
            struct search_task t = task_of(0);
            run(f, &t, 1);
            lengths[i] += t.count;
        }
    }
    assert_true(lengths[0] < lengths[1] && lengths[1] < lengths[2]);
}

static void rules_hold_in_every_beam(void **state)
{
    struct fixture *f = *state;
    static const int32_t unwanted[] = {2};
    for (uint64_t seed = 0; seed < 60; seed++) {
        net.seed = seed;
        net.end = -2;
        f->p.suppress_tokens = unwanted;
        f->p.n_suppress_tokens = seed % 2;
        f->p.no_repeat_ngram_size = (int)(seed % 4);
        f->p.repetition_penalty = seed % 3 ? 1.0f : 1.5f;
        f->p.max_new_tokens = seed % 5 ? 0 : 7;
        check(f);
        struct search_task t = task_of(0);
        run(f, &t, 1);
        for (size_t i = 0; i < t.count; i++) {
            assert_true(t.tokens[i] != 2 || seed % 2 == 0);
            assert_true(t.tokens[i] != 5 && t.tokens[i] != NO_TIMES);
        }
        assert_true(seed % 5 || t.count <= 7);
    }
}

static void a_wide_beam_finds_the_best_of_all(void **state)
{
    struct fixture *f = *state;
    /* Three tokens may come and at most two of them in a row: 13 texts, all of which fit
     * in 9 beams and what they end in. */
    static const int32_t unwanted[] = {0, 1, 2, 13, 15, NO_TIMES};
    f->p.suppress_tokens = unwanted;
    f->p.n_suppress_tokens = ARRAY_LENGTH(unwanted);
    f->p.without_timestamps = true;
    f->p.suppress_blank = f->p.suppress_non_speech = false;
    f->p.max_new_tokens = 2;
    f->p.beam_size = 8;
    f->p.patience = 2;
    f->p.length_penalty = 0;
    struct rules r = rules_of(&f->p);
    for (uint64_t seed = 0; seed < 50; seed++) {
        net.seed = seed;
        double best = -INFINITY, first[VOCAB], second[VOCAB];
        struct text x = {{0}, 0, 0};
        weigh(&r, 0, &x, first);
        best = first[EOT];
        for (int32_t a = 3; a <= 5; a++) {
            x = (struct text){{a}, 1, first[a]};
            weigh(&r, 0, &x, second);
            for (int32_t b = 3; b <= EOT; b++)
                best = fmax(best, first[a] + second[b]);
        }
        struct search_task t = task_of(0);
        run(f, &t, 1);
        assert_true(fabs(t.avg_logprob * (double)(t.count + 1) - best) < 1e-4);
    }
}

/* ---- windows ----------------------------------------------------------------------- */

static void windows_do_not_see_each_other(void **state)
{
    struct fixture *f = *state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        net.seed = seed;
        net.end = (float)(seed % 3);
        struct search_task together[WINDOWS], alone;
        for (int w = 0; w < WINDOWS; w++) {
            together[w] = task_of(w);
            together[w].temperature = seed % 2 && w % 2 == 0 ? 0.8f : 0;
        }
        run(f, together, WINDOWS);
        for (int w = 0; w < WINDOWS; w++) {
            int32_t tokens[CONTEXT];
            float logprobs[CONTEXT];
            struct search_task *t = &together[w];
            memcpy(tokens, t->tokens, t->count * sizeof(*tokens));
            memcpy(logprobs, t->logprobs, t->count * sizeof(*logprobs));
            alone = task_of(w);
            alone.temperature = t->temperature;
            run(f, &alone, 1);
            assert_int_equal(alone.count, t->count);
            assert_memory_equal(alone.tokens, tokens, t->count * sizeof(*tokens));
            assert_memory_equal(alone.logprobs, logprobs, t->count * sizeof(*logprobs));
            assert_true(alone.avg_logprob == t->avg_logprob);
            assert_true(alone.no_speech_prob == t->no_speech_prob);
        }
    }
}

static void any_of_them_is_decoded_again(void **state)
{
    struct fixture *f = *state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        net.seed = seed;
        struct search_task t[WINDOWS], again[2];
        for (int w = 0; w < WINDOWS; w++)
            t[w] = task_of(w);
        run(f, t, WINDOWS);
        float untouched = t[1].avg_logprob;
        const int32_t *tokens = t[1].tokens;
        int32_t kept[CONTEXT];
        memcpy(kept, tokens, t[1].count * sizeof(*kept));
        /* The prompts are not read again, and what is between is left alone. */
        again[0] = t[2];
        again[1] = t[0];
        for (uint32_t attempt = 1; attempt < 4; attempt++) {
            again[0].temperature = again[1].temperature = (float)attempt / 4;
            again[0].attempt = again[1].attempt = attempt;
            assert_int_equal(search_run(f->s, again, 2, NULL, &f->e), 0);
        }
        assert_memory_equal(tokens, kept, t[1].count * sizeof(*kept));
        assert_true(t[1].avg_logprob == untouched);
        again[0].temperature = again[1].temperature = 0;
        float before[2] = {t[2].avg_logprob, t[0].avg_logprob};
        assert_int_equal(search_run(f->s, again, 2, NULL, &f->e), 0);
        assert_true(again[0].avg_logprob == before[0]);
        assert_true(again[1].avg_logprob == before[1]);
    }
}

static void draws_depend_on_seed_seek_and_attempt(void **state)
{
    struct fixture *f = *state;
    f->p.without_timestamps = true;
    net.end = -3;
    struct search_task t = task_of(0);
    t.temperature = 1;
    run(f, &t, 1);
    float first = t.avg_logprob;
    run(f, &t, 1);
    assert_true(t.avg_logprob == first);
    t.attempt = 1;
    run(f, &t, 1);
    assert_true(t.avg_logprob != first);
    t.attempt = 0;
    t.seek = 7;
    run(f, &t, 1);
    assert_true(t.avg_logprob != first);
    t.seek = 0;
    f->p.seed = 1;
    run(f, &t, 1);
    assert_true(t.avg_logprob != first);
}

static void a_window_that_is_done_costs_nothing_more(void **state)
{
    struct fixture *f = *state;
    f->p.beam_size = 1;
    for (uint64_t seed = 0; seed < 50; seed++) {
        net.seed = seed;
        struct search_task t[WINDOWS];
        for (int w = 0; w < WINDOWS; w++)
            t[w] = task_of(w);
        net.rows = net.calls = 0;
        run(f, t, WINDOWS);
        size_t rows = 0, longest = 0;
        for (int w = 0; w < WINDOWS; w++) {
            /* The last token is not read when there is no room for another. */
            size_t steps = t[w].count < CONTEXT / 2 ? t[w].count : CONTEXT / 2 - 1;
            rows += N_PROMPT + steps;
            longest = steps > longest ? steps : longest;
        }
        assert_int_equal(net.rows, rows);
        assert_int_equal(net.calls, longest + 1);
    }
}

static void beams_copy_little(void **state)
{
    struct fixture *f = *state;
    net.end = -2;
    size_t positions = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        net.seed = seed;
        struct search_task t = task_of(0);
        net.copied = 0;
        net.rows = 0;
        run(f, &t, 1);
        positions += net.copied;
        /* All of it at every step would be thousands. */
        assert_true(net.copied < 2 * (size_t)net.rows);
    }
    assert_true(positions > 0);
}

/* ---- loops ------------------------------------------------------------------------- */

static void a_loop_ends_early(void **state)
{
    struct fixture *f = *state;
    net.again = 1;
    f->p.without_timestamps = true;
    f->p.max_new_tokens = 20;
    static const float temperatures[] = {0, 0, 0.2f};
    for (size_t i = 0; i < ARRAY_LENGTH(temperatures); i++) {
        f->p.beam_size = i == 0 ? 1 : 3;
        f->p.best_of = 2;
        struct search_task t = task_of(0);
        t.temperature = temperatures[i];
        net.end = -60; /* nothing else ends it */
        t.seconds = 1; /* 12 words take longer */
        run(f, &t, 1);
        assert_true(t.looping);
        assert_int_equal(t.count, 12);
        assert_true(net.calls > 0);
        /* In 30 seconds anybody can. */
        t.seconds = 0;
        run(f, &t, 1);
        assert_false(t.looping);
        assert_int_equal(t.count, 20);
    }
    /* Whatever has ended is better, however improbable. */
    f->p.beam_size = 3;
    net.end = 12;
    struct search_task t = task_of(0);
    t.seconds = 1;
    run(f, &t, 1);
    assert_false(t.looping);
    assert_true(t.count < 12);
}

/* ---- what is given ----------------------------------------------------------------- */

/* ---- drafts ------------------------------------------------------------------------ */

/* A draft that is somehow like a text: `kind` 0 is the text; then some tokens are others,
 * some are missing, some are too many, and in the end nothing is right. */
static size_t make_draft(const struct text *t, int kind, uint64_t seed, int32_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < t->count && n + 2 < MOST; i++) {
        uint64_t chance = mix(seed * 1000 + i) % 6;
        if (kind == 1 && chance == 0)
            out[n++] = 6;
        else if (kind == 4)
            out[n++] = (int32_t)(mix(seed + i) % EOT);
        else if (kind != 2 || chance > 0)
            out[n++] = t->tokens[i];
        if (kind == 3 && chance == 0)
            out[n++] = 7;
    }
    return n;
}

/* With a draft comes out what comes out without, to the bit; and a good one saves steps.
 */
static void a_draft_changes_nothing_but_the_steps(void **state)
{
    struct fixture *f = *state;
    int calls[5] = {0}, without = 0;
    f->p.beam_size = 1;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        net = (struct net){.seed = seed, .end = seed % 3 ? -4 : 1};
        f->p.max_new_tokens = seed % 7 ? 0 : 9;
        f->p.repetition_penalty = seed % 5 ? 1 : 1.3f;
        struct search_task t = task_of(0);
        struct text plain;
        float logprobs[MOST];
        run(f, &t, 1);
        without += net.calls;
        plain.count = t.count;
        memcpy(plain.tokens, t.tokens, t.count * sizeof(*t.tokens));
        memcpy(logprobs, t.logprobs, t.count * sizeof(*t.logprobs));
        for (int kind = 0; kind < 5; kind++) {
            int32_t draft[MOST];
            struct search_task again = task_of(0), beside = task_of(1);
            again.draft = draft;
            again.n_draft = make_draft(&plain, kind, seed, draft);
            net.calls = 0;
            if (seed % 2) {
                run(f, &again, 1);
            } else { /* and beside one that has none */
                struct search_task both[2] = {beside, again};
                run(f, both, 2);
                again = both[1];
            }
            calls[kind] += net.calls;
            assert_int_equal(again.count, plain.count);
            assert_memory_equal(again.tokens, plain.tokens,
                                plain.count * sizeof(*plain.tokens));
            assert_memory_equal(again.logprobs, logprobs,
                                plain.count * sizeof(*logprobs));
            assert_true(again.avg_logprob == t.avg_logprob);
        }
    }
    assert_true(calls[0] < calls[1] && calls[1] < calls[4]);
    assert_true(without > 0);
}

static void a_prefix_begins_the_text(void **state)
{
    struct fixture *f = *state;
    static const int32_t begun[] = {SOT, 13, 9, BEGIN, 1, 2, 3, 0, 1};
    for (uint64_t seed = 0; seed < 30; seed++) {
        net.seed = seed;
        struct search_task t = task_of(0);
        t.prompt = begun;
        t.n_prompt = ARRAY_LENGTH(begun);
        t.n_given = 6;
        t.temperature = seed % 2 ? 0.5f : 0;
        run(f, &t, 1);
        assert_true(t.count >= 6);
        assert_memory_equal(t.tokens, begun + 3, 6 * sizeof(*begun));
        for (size_t i = 0; i < 6; i++)
            assert_true(t.logprobs[i] == 0);
        double sum = 0;
        for (size_t i = 6; i < t.count; i++)
            sum += (double)t.logprobs[i];
        /* End-of-text counts too, where it came. */
        assert_true(t.avg_logprob <= sum / (double)(t.count - 6 + 1) + 1e-6);
        assert_true(t.no_speech_prob > 0 && t.no_speech_prob < 1);
    }
}

static bool cancel(void *arg)
{
    return ++*(int *)arg >= 2;
}

static void cancelled_between_steps(void **state)
{
    struct fixture *f = *state;
    net.end = -30;
    int asked = 0;
    struct whisper_callbacks c = {.arg = &asked, .cancelled = cancel};
    struct member m = {.callbacks = &c};
    struct search_task t = task_of(0);
    search_set_params(f->s, &f->p);
    assert_int_equal(search_begin(f->s, &t, 1, NULL, &f->e), 0);
    net.calls = 0;
    assert_int_equal(search_run(f->s, &t, 1, &m, &f->e), ERR_CANCELLED);
    assert_int_equal(asked, 2);
    assert_true(net.calls < 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(beams_are_the_references),
        TEST(the_last_draw_of_equals_is_always_the_same),
        TEST(of_equals_the_first_is_taken),
        TEST(patience_waits_for_more_texts),
        TEST(the_length_penalty_ranks),
        TEST(rules_hold_in_every_beam),
        TEST(a_wide_beam_finds_the_best_of_all),
        TEST(windows_do_not_see_each_other),
        TEST(any_of_them_is_decoded_again),
        TEST(draws_depend_on_seed_seek_and_attempt),
        TEST(a_window_that_is_done_costs_nothing_more),
        TEST(beams_copy_little),
        TEST(a_loop_ends_early),
        TEST(a_draft_changes_nothing_but_the_steps),
        TEST(a_prefix_begins_the_text),
        TEST(cancelled_between_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
