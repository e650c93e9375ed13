/* A text that a sequence is likely to say, of which several tokens are read in one step
 * (Leviathan, Kalman and Matias, "Fast inference from transformers via speculative
 * decoding", 2023). A window that is heard a second time says mostly what it said the
 * first time; a row that is read with others gives the same bits as alone, and each is
 * looked at in its turn, so the text is what it would be without. */
#include "engine/search_state.h"

/* So far a draft is looked through for a token that was not expected. */
#define NEAR 8

void draft_begin(struct hearing *h)
{
    h->drafted = h->task->draft && h->task->temperature <= 0 && h->width == 1;
    h->at = 0;
    h->reach = SEARCH_SLOTS;
}

int draft_feed(const struct hearing *h, struct sequence *q)
{
    size_t most = h->room - h->chosen;
    if (!h->drafted || h->at >= h->task->n_draft)
        return 1;
    most = most < (size_t)h->reach ? most : (size_t)h->reach;
    size_t left = h->task->n_draft - h->at + 1;
    most = most < left ? most : left;
    for (size_t i = 0; i + 1 < most; i++)
        q->tokens[q->count + i] = h->task->draft[h->at + i];
    return most > 1 ? (int)most : 1;
}

/* The place nearest to `at` where the draft has that token, or a guess: this one is in
 * the place of another. */
static size_t find(const struct search_task *t, size_t at, int32_t token)
{
    for (size_t d = 1; d <= NEAR; d++) {
        if (at + d < t->n_draft && t->draft[at + d] == token)
            return at + d;
        if (d <= at && at - d < t->n_draft && t->draft[at - d] == token)
            return at - d;
    }
    return at;
}

void draft_follow(struct hearing *h, int32_t token)
{
    const struct search_task *t = h->task;
    if (!h->drafted)
        return;
    if (h->at < t->n_draft && t->draft[h->at] == token) {
        h->reach = h->reach < SEARCH_SLOTS / 2 ? 2 * h->reach : SEARCH_SLOTS;
    } else {
        h->at = find(t, h->at, token);
        h->reach = 2;
    }
    h->at++;
}
