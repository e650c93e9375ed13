/* Beam search, as the reference's: of all tokens that may follow any sequence, the best
 * by the sum of log probabilities go on; those that end are set aside until there are
 * enough, and the best by length is taken. Equals are ranked by where they come from, so
 * that the same numbers always give the same text. */
#include "engine/search_state.h"

#include <math.h>

/* A sequence and a token that may follow it. */
struct branch {
    int source; /* of hearing.sequences */
    struct choice choice;
    double sum;
};

/* Insertion: a few dozen, in sorted runs already. */
static void sort_in(struct branch *branches, int n, struct branch b)
{
    int at = n;
    for (; at > 0 && branches[at - 1].sum < b.sum; at--)
        branches[at] = branches[at - 1];
    branches[at] = b;
}

static int gather(const struct hearing *h, struct branch *branches)
{
    int n = 0;
    for (int i = 0; i < h->n_live; i++) {
        const struct sequence *q = &h->sequences[h->live[i]];
        for (int j = 0; j < q->n_choices; j++) {
            struct choice c = q->choices[j];
            sort_in(branches, n++, (struct branch){h->live[i], c, q->sum + c.logprob});
        }
    }
    return n;
}

/* Set aside what ends, and move what goes on to the front. Returns their number. */
static int part(struct hearing *h, int32_t eot, struct branch *branches, int n)
{
    int going = 0;
    for (int i = 0; i < n && going < h->width; i++) {
        struct branch b = branches[i];
        if (b.choice.token != eot) {
            branches[going++] = b;
        } else if (h->n_ended < h->most_ended) {
            search_offer(h, &h->sequences[b.source], b.sum, false);
            h->n_ended++;
        }
    }
    return going;
}

/* ---- slots ----------------------------------------------------------------------- */

/* Tokens at the beginning of two sequences that are the same. */
static size_t alike(const struct sequence *a, const struct sequence *b)
{
    size_t n = a->count < b->count ? a->count : b->count, i = 0;
    while (i < n && a->tokens[i] == b->tokens[i])
        i++;
    return i;
}

/* Sequence `to` becomes like `from`. What both had read alike is in both slots already:
 * beams share most of their past. */
static void fork_sequence(struct search *s, struct hearing *h, int to, int from)
{
    struct sequence *q = &h->sequences[to];
    const struct sequence *source = &h->sequences[from];
    int slot = h->window * SEARCH_SLOTS, same = 0;
    if (h->has_prompt[to]) {
        int held = net_slot_length(s->net, slot + to);
        same = (int)(h->n_prompt + alike(q, source) - h->n_given);
        same = same < held ? same : held;
    }
    net_slot_copy(s->net, slot + to, slot + from, same);
    h->has_prompt[to] = true;
    memcpy(q->tokens, source->tokens, source->count * sizeof(*q->tokens));
    memcpy(q->logprobs, source->logprobs, source->count * sizeof(*q->logprobs));
    q->count = source->count;
}

/* Find a slot for each of the branches: the first of a sequence stays in its own, the
 * others take those whose sequences go on no more. */
static void place(struct search *s, struct hearing *h, const struct branch *branches,
                  int n)
{
    bool taken[SEARCH_SLOTS] = {false};
    int unused = 0;
    for (int i = 0; i < n; i++) {
        h->live[i] = taken[branches[i].source] ? -1 : branches[i].source;
        taken[branches[i].source] = true;
    }
    for (int i = 0; i < n; i++) {
        if (h->live[i] >= 0)
            continue;
        while (taken[unused])
            unused++;
        taken[unused] = true;
        h->live[i] = unused;
        fork_sequence(s, h, unused, branches[i].source);
    }
    h->n_live = n;
    for (int i = 0; i < n; i++) {
        struct sequence *q = &h->sequences[h->live[i]];
        search_append(q, branches[i].choice);
        q->sum = branches[i].sum;
    }
}

void beam_advance(struct search *s, struct hearing *h)
{
    struct branch branches[SEARCH_SLOTS * SEARCH_CHOICES];
    int n = gather(h, branches);
    n = part(h, s->special.eot, branches, n);
    place(s, h, branches, h->n_ended < h->most_ended ? n : 0);
}
