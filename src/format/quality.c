#include "format/quality.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

bool quality_exists(const struct quality *q)
{
    return q->known || q->n_notes || q->n_votes;
}

void quality_release(struct quality *q)
{
    for (size_t i = 0; i < q->n_notes; i++)
        free(q->notes[i].text);
    free(q->notes);
    free(q->votes);
    *q = (struct quality){0};
}

int quality_add_note(struct quality *q, const struct quality_note *note)
{
    if (mem_grow(&q->notes, &q->notes_capacity, q->n_notes + 1, sizeof *q->notes))
        return ERR_NOMEM;
    struct quality_note copy = *note;
    copy.text = mem_strdup(note->text);
    if (note->text && !copy.text)
        return ERR_NOMEM;
    q->notes[q->n_notes++] = copy;
    return 0;
}

int quality_add_vote(struct quality *q, const struct quality_vote *vote)
{
    for (size_t i = 0; i < q->n_votes; i++)
        if (q->votes[i].start == vote->start && q->votes[i].end == vote->end)
            return 0;
    if (mem_grow(&q->votes, &q->votes_capacity, q->n_votes + 1, sizeof *q->votes))
        return ERR_NOMEM;
    q->votes[q->n_votes++] = *vote;
    return 0;
}

static void take_figures(struct quality *q, const struct quality *more)
{
    struct quality all = *more;
    all.notes = q->notes;
    all.n_notes = q->n_notes;
    all.notes_capacity = q->notes_capacity;
    all.votes = q->votes;
    all.n_votes = q->n_votes;
    all.votes_capacity = q->votes_capacity;
    *q = all;
}

int quality_join(struct quality *q, const struct quality *more)
{
    int status = 0;
    for (size_t i = 0; !status && i < more->n_notes; i++)
        status = quality_add_note(q, &more->notes[i]);
    for (size_t i = 0; !status && i < more->n_votes; i++)
        status = quality_add_vote(q, &more->votes[i]);
    if (more->known)
        take_figures(q, more);
    return status;
}
