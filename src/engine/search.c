#include "engine/search_state.h"

#include "base/mem.h"
#include "engine/threads.h"

#include <math.h>
#include <sys/mman.h>

/* Asked for only every so many steps: a step takes milliseconds. */
enum { STEPS_PER_CANCEL_CHECK = 4 };

static const float window_seconds = 30;

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

static int first_slot(int window)
{
    return window * SEARCH_SLOTS;
}

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
    net_slot_begin(s->net, first_slot(window), window);
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
        s->inputs[i] = (struct net_input){first_slot(t->window), t->prompt,
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
        s->inputs[n++] = (struct net_input){first_slot(t->window), t->prompt + done,
                                            (int)left, (int)left - 1};
    }
    int rc = n > 0 ? net_decode(s->net, s->inputs, n, s->logits, e) : 0;
    size_t row = (size_t)s->n_vocab;
    for (int i = 0; rc == 0 && i < n; i++)
        memcpy(s->rows[i].hearing->prompt_logits, s->logits + (size_t)i * row,
               row * sizeof(float));
    return rc;
}

int search_begin(struct search *s, struct search_task *tasks, int count, struct err *e)
{
    batcher_begin(s->batcher);
    int rc = read_first(s, tasks, count, e);
    if (rc == 0)
        rc = read_rest(s, tasks, count, e);
    batcher_end(s->batcher);
    for (int i = 0; rc == 0 && i < count; i++) {
        struct hearing *h = &s->hearings[tasks[i].window];
        h->n_prompt = tasks[i].n_prompt;
        h->n_given = tasks[i].n_given;
        h->has_prompt[0] = true;
    }
    return rc;
}

int search_languages(struct search *s, int window, float *probabilities, struct err *e)
{
    batcher_begin(s->batcher);
    forget(s, window);
    struct net_input input = {first_slot(window), &s->special.sot, 1, 0};
    int rc = net_decode(s->net, &input, 1, s->logits, e);
    if (rc == 0)
        rules_softmax(s->logits + s->special.language_begin, s->special.n_languages,
                      probabilities);
    batcher_end(s->batcher);
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
    int slot = first_slot(t->window) + index;
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
        net_slot_copy(s->net, slot, first_slot(t->window), 0);
    h->has_prompt[index] = true;
}

static void begin_hearing(struct search *s, const struct search_task *t, int runner,
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

/* There is no more room: what has not ended counts as it is. Of a beam only as many as
 * have not ended yet. */
static void offer_unfinished(struct hearing *h, bool beam)
{
    for (int i = 0; i < h->n_live && !(beam && h->n_ended >= h->width); i++) {
        const struct sequence *q = &h->sequences[h->live[i]];
        search_offer(h, q, q->sum, false);
        h->n_ended++;
    }
    h->n_live = 0;
}

/* ---- the steps ------------------------------------------------------------------- */

static void add_rows(struct search *s, struct hearing *h, int *n, size_t *n_logits)
{
    for (int i = 0; i < h->n_live; i++, (*n)++) {
        struct sequence *q = &h->sequences[h->live[i]];
        s->rows[*n] = (struct row){h, q};
        q->n_rows = h->chosen > 0 ? draft_feed(h, q) : 1;
        q->logits = s->logits + *n_logits * (size_t)s->n_vocab;
        *n_logits += (size_t)q->n_rows;
        if (h->chosen > 0)
            s->inputs[*n] = (struct net_input){first_slot(h->window) + h->live[i],
                                               &q->tokens[q->count - 1], q->n_rows, 0};
    }
}

/* The sequences that go on, those of whom the decoder is asked first. Returns their
 * number. */
static int collect(struct search *s, int *n_decoded)
{
    int n = 0;
    size_t n_logits = 0;
    for (int w = 0; w < s->max_windows; w++)
        if (s->hearings[w].active && s->hearings[w].chosen > 0)
            add_rows(s, &s->hearings[w], &n, &n_logits);
    *n_decoded = n;
    for (int w = 0; w < s->max_windows; w++)
        if (s->hearings[w].active && s->hearings[w].chosen == 0)
            add_rows(s, &s->hearings[w], &n, &n_logits);
    return n;
}

/* All begin with what follows the prompt, each with a row of its own: looking at it
 * changes it. */
static void copy_prompt_rows(struct search *s, int first, int n)
{
    for (int i = first; i < n; i++)
        memcpy(s->rows[i].sequence->logits, s->rows[i].hearing->prompt_logits,
               (size_t)s->n_vocab * sizeof(float));
}

/* What may follow the first `count` tokens of a sequence? Returns how many choices. */
static int look_at(const struct search *s, const struct hearing *h, struct sequence *q,
                   size_t count, float *logits, struct choice *out)
{
    float temperature = h->task->temperature;
    struct allowed a = rules_allow(&h->manner->rules, q->tokens, count, logits);
    if (temperature > 0) {
        *out =
            rules_sample(logits, &a, temperature, rng_uniform(&q->rng), s->special.eot);
        return 1;
    }
    /* The beam that is wanted, even when one of the choices ends the text. */
    int beam = h->manner->params->beam_size, most = beam > 1 ? beam + 1 : 1;
    int n = rules_top(logits, &a, most, out);
    if (n == 0) /* no number among them */
        *out = (struct choice){s->special.eot, -INFINITY};
    return n > 0 ? n : 1;
}

/* The row after the last token, and those after what was guessed, as long as that comes
 * true. */
static void look(void *arg, int task, int thread)
{
    (void)thread;
    struct search *s = arg;
    struct sequence *q = s->rows[task].sequence;
    const struct hearing *h = s->rows[task].hearing;
    q->n_choices = look_at(s, h, q, q->count, q->logits, q->choices);
    for (int i = 1; i < q->n_rows; i++) {
        size_t count = q->count + (size_t)i;
        if (q->choices[i - 1].token != q->tokens[count - 1])
            break;
        q->n_choices =
            i + look_at(s, h, q, count, q->logits + (size_t)i * (size_t)s->n_vocab,
                        &q->choices[i]);
    }
}

/* Rows are looked at by all threads: with many of them it takes as long as a good part of
 * the decoder. */
static void look_at_rows(struct search *s, int n)
{
    struct pool *pool = net_pool(s->net);
    if (pool && n > 1)
        pool_each(pool, n, look, s);
    else
        for (int i = 0; i < n; i++)
            look(s, i, 0);
}

/* Every sequence takes what was chosen for it. */
static void extend(struct search *s, struct hearing *h)
{
    int n = 0;
    for (int i = 0; i < h->n_live; i++) {
        struct sequence *q = &h->sequences[h->live[i]];
        struct choice c = q->choices[0];
        if (c.token == s->special.eot) {
            search_offer(h, q, q->sum + c.logprob, false);
            continue;
        }
        search_append(q, c);
        h->live[n++] = h->live[i];
    }
    h->n_live = n;
}

/* Sequences that repeat what nobody can have said go no further: the rest of their room
 * would be filled with the same. When it is the best of a beam, the others are what the
 * model believes even less. */
static void break_loops(struct search *s, struct hearing *h, bool beam)
{
    float seconds = h->task->seconds > 0 ? h->task->seconds : window_seconds;
    int n = 0;
    for (int i = 0; i < h->n_live; i++) {
        const struct sequence *q = &h->sequences[h->live[i]];
        struct loop l = loop_find(&s->special, s->paces, q->tokens, q->count, seconds);
        if (!loop_is_impossible(&l)) {
            h->live[n++] = h->live[i];
            continue;
        }
        search_offer(h, q, q->sum, true);
        if (beam && i == 0)
            break;
    }
    h->n_live = n;
}

static void advance(struct search *s, struct hearing *h)
{
    bool beam = h->task->temperature <= 0 && h->width > 1;
    h->chosen++;
    if (beam)
        beam_advance(s, h);
    else
        extend(s, h);
    break_loops(s, h, beam);
    if (h->chosen >= h->room)
        offer_unfinished(h, beam);
    if (h->n_live == 0)
        h->active = false;
}

/* The one sequence of a hearing with a draft takes all that came true and what came
 * instead of the rest, which its slot forgets. */
static void advance_drafted(struct search *s, struct hearing *h)
{
    struct sequence *q = &h->sequences[h->live[0]];
    int slot = first_slot(h->window) + h->live[0], taken = 0;
    while (h->active && taken < q->n_choices) {
        q->choices[0] = q->choices[taken++];
        draft_follow(h, q->choices[0].token);
        advance(s, h);
    }
    net_slot_truncate(s->net, slot, net_slot_length(s->net, slot) - (q->n_rows - taken));
}

static void hand_over(const struct hearing *h, struct search_task *t)
{
    const struct sequence *q = &h->best;
    t->tokens = q->tokens;
    t->logprobs = q->logprobs;
    t->count = q->count;
    t->looping = h->best_loops;
    t->avg_logprob = (float)(q->sum / (double)(q->count - h->n_given + 1));
    /* Only weights that are no numbers bring it here; reports need one. */
    if (!isfinite(t->avg_logprob))
        t->avg_logprob = -1000;
}

/* One step of all that are decoded, by whoever they belong to. Those that enter while it
 * is computed are not in it. */
static void step(struct search *s)
{
    bool in[WHISPER_MAX_BATCH] = {false};
    int n_decoded, n = collect(s, &n_decoded), rc = 0;
    struct err e = {0};
    for (int w = 0; w < s->max_windows; w++)
        in[w] = s->hearings[w].active;
    s->stepping = in;
    batcher_compute(s->batcher);
    copy_prompt_rows(s, n_decoded, n);
    if (n_decoded > 0)
        rc = net_decode(s->net, s->inputs, n_decoded, s->logits, &e);
    if (rc == 0)
        look_at_rows(s, n);
    batcher_end_step(s->batcher);
    s->stepping = NULL;
    for (int w = 0; w < s->max_windows; w++) {
        struct hearing *h = &s->hearings[w];
        if (!in[w])
            continue;
        if (rc == 0 && h->drafted) {
            advance_drafted(s, h);
        } else if (rc == 0) {
            advance(s, h);
        } else {
            h->rc = rc;
            h->why = e;
            h->active = false;
        }
        if (!h->active)
            batcher_wake(s->batcher, h->runner);
    }
}

/* Does anybody for whom is decoded want no more? Their listeners sleep. */
static void ask_all(struct search *s)
{
    for (int w = 0; w < s->max_windows; w++)
        if (s->hearings[w].active && s->hearings[w].member)
            (void)batcher_stopped(s->batcher, s->hearings[w].member);
}

static bool any_active(const struct search *s, const struct search_task *tasks, int count)
{
    for (int i = 0; i < count; i++)
        if (s->hearings[tasks[i].window].active)
            return true;
    return false;
}

/* Somebody else goes on with the steps. */
static void succeed(struct search *s)
{
    for (int w = 0; w < s->max_windows; w++)
        if (s->hearings[w].active) {
            batcher_succeed(s->batcher, s->hearings[w].runner);
            return;
        }
    batcher_succeed(s->batcher, -1);
}

/* Leave before the end; not from the middle of somebody's step, who would find us gone.
 */
static void abandon(struct search *s, const struct search_task *tasks, int count)
{
    for (int i = 0; i < count; i++) {
        struct hearing *h = &s->hearings[tasks[i].window];
        while (s->stepping && s->stepping[h->window])
            batcher_wait_step(s->batcher);
        h->active = false;
    }
}

int search_run(struct search *s, struct search_task *tasks, int count, struct member *m,
               struct err *e)
{
    int runner = count > 0 ? tasks[0].window : 0, rc = 0;
    for (int i = 0; i < count; i++)
        begin_hearing(s, &tasks[i], runner, m);
    for (unsigned i = 0; rc == 0 && any_active(s, tasks, count); i++) {
        if (i % STEPS_PER_CANCEL_CHECK == 0)
            ask_all(s);
        if (m && m->stopped)
            rc = err_set(e, ERR_CANCELLED, "the transcription was cancelled");
        else if (batcher_begin_step(s->batcher, runner))
            step(s);
    }
    if (rc < 0)
        abandon(s, tasks, count);
    for (int i = 0; i < count && rc == 0; i++) {
        const struct hearing *h = &s->hearings[tasks[i].window];
        if (h->rc < 0)
            rc = err_set(e, h->rc, "%s", h->why.message);
        else
            hand_over(h, &tasks[i]);
    }
    succeed(s);
    return rc;
}
