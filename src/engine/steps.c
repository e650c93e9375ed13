/* The steps of the decoder: one for all windows that are decoded, whoever they belong to.
 */
#include "engine/search_state.h"

#include "base/clock.h"
#include "engine/threads.h"

#include <math.h>

/* Asked for only every so many steps: a step takes milliseconds. */
enum { STEPS_PER_CANCEL_CHECK = 4 };

static const float window_seconds = 30;

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
            s->inputs[*n] = (struct net_input){search_slot(h->window) + h->live[i],
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
    int slot = search_slot(h->window) + h->live[0], taken = 0;
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

/* Each window that was in a step has its share of the time. */
static void share_time(struct search *s, const bool *in, int64_t ns)
{
    int n = 0;
    for (int w = 0; w < s->max_windows; w++)
        n += in[w];
    for (int w = 0; w < s->max_windows; w++)
        if (in[w] && s->hearings[w].member)
            s->hearings[w].member->times.decoder += (double)ns / 1e9 / n;
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
    int64_t begun_ns = clock_monotonic_ns();
    copy_prompt_rows(s, n_decoded, n);
    if (n_decoded > 0)
        rc = net_decode(s->net, s->inputs, n_decoded, s->logits, &e);
    if (rc == 0)
        look_at_rows(s, n);
    int64_t ended_ns = clock_monotonic_ns();
    batcher_end_step(s->batcher);
    s->stepping = NULL;
    share_time(s, in, ended_ns - begun_ns);
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
        search_begin_hearing(s, &tasks[i], runner, m);
    bool waited = false;
    for (unsigned i = 0; rc == 0 && any_active(s, tasks, count); i++) {
        if (waited || i % STEPS_PER_CANCEL_CHECK == 0)
            ask_all(s);
        waited = false;
        if (m && m->stopped)
            rc = err_set(e, ERR_CANCELLED, "the transcription was cancelled");
        else if (batcher_begin_step(s->batcher, runner))
            step(s);
        else
            waited = true;
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
