#include "engine/search_state.h"

#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <sys/mman.h>

/* Rows of a prompt whose logits are computed in one piece with it, at most: from
 * start-of-transcript to the end. */
enum { PROMPT_ROWS = 4 };
_Static_assert(PROMPT_ROWS <= SEARCH_SLOTS, "a window has room for so many rows");

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

/* A mapping of their own: rows of windows and sequences that are not used take no memory.
 */
static int map_logits(struct search *s)
{
    size_t rows = (size_t)s->max_windows * (SEARCH_SLOTS + 1), row = (size_t)s->n_vocab;
    if (!size_mul(rows * sizeof(float), row, &s->memory_bytes))
        return ERR_NOMEM;
    void *memory = mmap(NULL, s->memory_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return ERR_NOMEM;
    s->memory = memory;
    s->prompt_logits = memory;
    s->logits = s->prompt_logits + (size_t)s->max_windows * row;
    return 0;
}

static int open_scratch(struct search *s)
{
    /* Of every window: its sequences, and the best one. */
    size_t windows = (size_t)s->max_windows, slots = windows * SEARCH_SLOTS;
    size_t sequences = windows * (SEARCH_SLOTS + 1);
    size_t context = (size_t)s->n_text_ctx, row = (size_t)s->n_vocab;
    s->hearings = mem_array(windows, sizeof(*s->hearings));
    s->tokens = mem_array(sequences * context, sizeof(*s->tokens));
    s->logprobs = mem_array(sequences * context, sizeof(*s->logprobs));
    s->inputs = mem_array(slots, sizeof(*s->inputs));
    s->rows = mem_array(slots, sizeof(*s->rows));
    s->paces = loop_paces(s->t, s->n_vocab);
    if (!s->hearings || !s->tokens || !s->logprobs || !s->inputs || !s->rows ||
        !s->paces || map_logits(s) < 0)
        return ERR_NOMEM;
    for (size_t w = 0; w < windows; w++) {
        struct hearing *h = &s->hearings[w];
        h->window = (int)w;
        h->prompt_logits = s->prompt_logits + w * row;
        for (size_t i = 0; i <= SEARCH_SLOTS; i++) {
            struct sequence *q = i < SEARCH_SLOTS ? &h->sequences[i] : &h->best;
            q->tokens = s->tokens + (w * (SEARCH_SLOTS + 1) + i) * context;
            q->logprobs = s->logprobs + (w * (SEARCH_SLOTS + 1) + i) * context;
        }
    }
    return 0;
}

int search_open(struct search **out, const struct whisper_model *m, struct net *net,
                const struct tokenizer *t, int max_windows, struct err *e)
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
    s->max_windows = max_windows;
    s->blank = tokenizer_blank(t);
    int rc = batcher_open(&s->batcher, max_windows, e);
    if (rc < 0) {
        search_close(s);
        return rc;
    }
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
    batcher_close(s->batcher);
    free(s->paces);
    free(s->hearings);
    free(s->tokens);
    free(s->logprobs);
    free(s->suppressed);
    if (s->memory)
        munmap(s->memory, s->memory_bytes);
    free(s->inputs);
    free(s->rows);
    free(s);
}

void search_manner(const struct search *s, const struct whisper_params *p,
                   struct search_manner *out)
{
    out->params = p;
    out->rules = (struct rules){
        .special = s->special,
        .n_vocab = s->n_vocab,
        .suppressed = s->suppressed,
        /* The markers come first: they stay when symbols are allowed. */
        .n_suppressed = s->n_suppressed - (p->suppress_non_speech ? 0 : s->n_non_speech),
        .unwanted = p->suppress_tokens,
        .n_unwanted = p->n_suppress_tokens,
        .blank = p->suppress_blank ? s->blank : -1,
        .timestamps = !p->without_timestamps,
        .max_initial = -1,
        .repetition_penalty = p->repetition_penalty,
        .no_repeat_ngram = p->no_repeat_ngram_size,
    };
    if (p->max_initial_timestamp > 0)
        out->rules.max_initial = (int32_t)lrintf(p->max_initial_timestamp * 50);
}

void search_set_params(struct search *s, const struct whisper_params *p)
{
    search_manner(s, p, &s->own);
}

struct batcher *search_batcher(const struct search *s)
{
    return s->batcher;
}

/* ---- the prompt ------------------------------------------------------------------ */

/* Logits are wanted after start-of-transcript, where silence is told, and after the last
 * token. The few rows between that nobody looks at cost less than reading the decoder's
 * weights a second time; a long beginning of the text comes in a second piece. */
static size_t first_piece(const struct search_task *t)
{
    return t->n_prompt - t->sot <= PROMPT_ROWS ? t->n_prompt : t->sot + 1;
}

static void forget(struct search *s, int window)
{
    struct hearing *h = &s->hearings[window];
    net_slot_begin(s->net, search_slot(window), window);
    memset(h->has_prompt, 0, sizeof(h->has_prompt));
    h->n_prompt = 0;
}

/* The first piece of every prompt. */
static int read_first(struct search *s, struct search_task *tasks, int count,
                      struct err *e)
{
    for (int i = 0; i < count; i++) {
        const struct search_task *t = &tasks[i];
        forget(s, t->window);
        s->inputs[i] = (struct net_input){search_slot(t->window), t->prompt,
                                          (int)first_piece(t), (int)t->sot};
    }
    int rc = net_decode(s->net, s->inputs, count, s->logits, e);
    const float *logits = s->logits;
    size_t row = (size_t)s->n_vocab;
    for (int i = 0; rc == 0 && i < count; i++) {
        size_t wanted = first_piece(&tasks[i]) - tasks[i].sot;
        tasks[i].no_speech_prob =
            rules_probability(logits, s->n_vocab, s->special.no_speech);
        logits += wanted * row;
        memcpy(s->hearings[tasks[i].window].prompt_logits, logits - row,
               row * sizeof(float));
    }
    return rc;
}

/* What is left of those that come in two pieces. */
static int read_rest(struct search *s, const struct search_task *tasks, int count,
                     struct err *e)
{
    int n = 0;
    for (int i = 0; i < count; i++) {
        const struct search_task *t = &tasks[i];
        size_t done = first_piece(t), left = t->n_prompt - done;
        if (left == 0)
            continue;
        s->rows[n].hearing = &s->hearings[t->window];
        s->inputs[n++] = (struct net_input){search_slot(t->window), t->prompt + done,
                                            (int)left, (int)left - 1};
    }
    int rc = n > 0 ? net_decode(s->net, s->inputs, n, s->logits, e) : 0;
    size_t row = (size_t)s->n_vocab;
    for (int i = 0; rc == 0 && i < n; i++)
        memcpy(s->rows[i].hearing->prompt_logits, s->logits + (size_t)i * row,
               row * sizeof(float));
    return rc;
}

static int cancelled(struct err *e)
{
    return err_set(e, ERR_CANCELLED, "the transcription was cancelled");
}

/* With the baton; of nobody (NULL) nothing is noted. */
static void note_time(struct member *m, int64_t from_ns, int64_t to_ns)
{
    if (m)
        m->times.decoder += (double)(to_ns - from_ns) / 1e9;
}

int search_begin(struct search *s, struct search_task *tasks, int count, struct member *m,
                 struct err *e)
{
    if (!batcher_begin(s->batcher, m))
        return cancelled(e);
    int64_t begun_ns = clock_monotonic_ns();
    int rc = read_first(s, tasks, count, e);
    if (rc == 0)
        rc = read_rest(s, tasks, count, e);
    int64_t ended_ns = clock_monotonic_ns();
    batcher_end(s->batcher);
    note_time(m, begun_ns, ended_ns);
    for (int i = 0; rc == 0 && i < count; i++) {
        struct hearing *h = &s->hearings[tasks[i].window];
        h->n_prompt = tasks[i].n_prompt;
        h->n_given = tasks[i].n_given;
        h->has_prompt[0] = true;
    }
    return rc;
}

int search_languages(struct search *s, int window, struct member *m, float *probabilities,
                     struct err *e)
{
    if (!batcher_begin(s->batcher, m))
        return cancelled(e);
    int64_t begun_ns = clock_monotonic_ns();
    forget(s, window);
    struct net_input input = {search_slot(window), &s->special.sot, 1, 0};
    int rc = net_decode(s->net, &input, 1, s->logits, e);
    if (rc == 0)
        rules_softmax(s->logits + s->special.language_begin, s->special.n_languages,
                      probabilities);
    int64_t ended_ns = clock_monotonic_ns();
    batcher_end(s->batcher);
    note_time(m, begun_ns, ended_ns);
    return rc;
}

/* ---- sequences ------------------------------------------------------------------- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Empty a sequence but for what was given, and its slot but for the prompt. */
static void begin_sequence(struct search *s, struct hearing *h, int index)
{
    const struct search_task *t = h->task;
    struct sequence *q = &h->sequences[index];
    int slot = search_slot(t->window) + index;
    const int32_t *given = t->prompt + t->n_prompt - t->n_given;
    for (size_t i = 0; i < t->n_given; i++) {
        q->tokens[i] = given[i];
        q->logprobs[i] = 0;
    }
    q->count = t->n_given;
    q->sum = 0;
    rng_init(&q->rng, h->manner->params->seed, t->seek, t->attempt, (uint32_t)index);
    if (h->has_prompt[index])
        net_slot_truncate(s->net, slot, (int)h->n_prompt);
    else
        net_slot_copy(s->net, slot, search_slot(t->window), 0);
    h->has_prompt[index] = true;
}

void search_begin_hearing(struct search *s, const struct search_task *t, int runner,
                          struct member *member)
{
    struct hearing *h = &s->hearings[t->window];
    const struct search_manner *manner = t->manner ? t->manner : &s->own;
    const struct whisper_params *p = manner->params;
    size_t most = p->max_new_tokens > 0
                      ? (size_t)p->max_new_tokens
                      : (size_t)s->n_text_ctx / 2; /* the reference's sample_len */
    h->task = t;
    h->manner = manner;
    h->runner = runner;
    h->member = member;
    h->active = true;
    h->chosen = 0;
    h->rc = 0;
    /* A token past the context may be chosen, but not read. */
    h->room = smaller(most, (size_t)s->n_text_ctx - h->n_prompt + 1);
    h->has_best = false;
    h->length_penalty = p->length_penalty;
    h->n_ended = 0;
    h->most_ended = (int)lrintf((float)p->beam_size * p->patience);
    h->most_ended = h->most_ended > 0 ? h->most_ended : 1;
    h->width = t->temperature > 0 ? p->best_of : p->beam_size;
    /* A beam spreads from one. */
    h->n_live = t->temperature > 0 ? h->width : 1;
    for (int i = 0; i < h->n_live; i++) {
        begin_sequence(s, h, i);
        h->live[i] = i;
    }
    draft_begin(h);
}

const uint8_t *search_paces(const struct search *s)
{
    return s->paces;
}

void search_append(struct sequence *q, struct choice c)
{
    q->tokens[q->count] = c.token;
    q->logprobs[q->count++] = c.logprob;
    q->sum += c.logprob;
}

void search_offer(struct hearing *h, const struct sequence *q, double sum, bool loops)
{
    struct sequence *best = &h->best;
    double score = rules_score(sum, q->count - h->n_given, h->length_penalty);
    if (h->has_best && (loops != h->best_loops ? loops : !(score > h->best_score)))
        return;
    memcpy(best->tokens, q->tokens, q->count * sizeof(*q->tokens));
    memcpy(best->logprobs, q->logprobs, q->count * sizeof(*q->logprobs));
    best->count = q->count;
    best->sum = sum;
    h->best_score = score;
    h->has_best = true;
    h->best_loops = loops;
}
