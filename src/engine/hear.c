/* Windows to accounts: everything that is done about a window before it is written. */
#include "engine/longform.h"

#include "base/mem.h"

void account_release(struct account *a)
{
    for (size_t i = 0; i < a->n_parts; i++)
        heard_release(&a->parts[i]);
    for (size_t i = 0; i < a->n_notes; i++)
        free(a->notes[i].text);
    free(a->parts);
    free(a->notes);
    *a = (struct account){0};
}

struct heard *account_part(struct account *a, const struct window *window, int language,
                           struct err *e)
{
    if (mem_grow(&a->parts, &a->parts_capacity, a->n_parts + 1, sizeof(*a->parts)) < 0) {
        err_set(e, ERR_NOMEM, "no memory is left for the text");
        return NULL;
    }
    struct heard *h = &a->parts[a->n_parts++];
    *h = (struct heard){.window = *window, .language = language};
    return h;
}

int account_note(const struct run *w, struct account *a, enum whisper_note_kind kind,
                 int64_t from, int64_t to, float value, struct err *e)
{
    int64_t start, end;
    if (mem_grow(&a->notes, &a->notes_capacity, a->n_notes + 1, sizeof(*a->notes)) < 0)
        return err_set(e, ERR_NOMEM, "no memory is left for the report");
    timeline_text(w->t, from, to, &start, &end);
    a->notes[a->n_notes++] = (struct whisper_note){
        .kind = kind,
        .start_seconds = (double)start / WHISPER_FRAMES_PER_SECOND,
        .end_seconds = (double)end / WHISPER_FRAMES_PER_SECOND,
        .value = value,
    };
    return 0;
}

int hear_cut(const struct run *w, struct heard *h, bool goes_on, int *advance,
             struct err *e)
{
    int32_t begin = tokenizer_specials(w->s->tokenizer)->timestamp_begin;
    *advance = h->window.frames;
    if (h->is_void || h->silent || h->count == 0)
        return 0;
    h->pieces = mem_array(h->count, sizeof(*h->pieces));
    if (!h->pieces)
        return err_set(e, ERR_NOMEM, "no memory is left for the text");
    if (goes_on)
        h->n_pieces = segments_split(h->tokens, h->count, begin, h->window.frames,
                                     h->pieces, advance);
    else
        h->n_pieces =
            segments_cut(h->tokens, h->count, begin, h->window.frames, h->pieces);
    timing_bound(w, h);
    return 0;
}

/* Cut the parts of an account, which lie one behind the other and fill its window. */
static int cut(const struct run *w, struct account *a, bool goes_on, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < a->n_parts; i++) {
        struct heard *h = &a->parts[i];
        int advance;
        rc = hear_cut(w, h, goes_on && i + 1 == a->n_parts, &advance, e);
        a->advance = (int)(h->window.at - a->window.at) + advance;
    }
    return rc;
}

/* Tell of what the model took for silence, where a second hearing found no text either.
 */
static int tell_silence(const struct run *w, struct account *a, struct err *e)
{
    int rc = 0;
    size_t n_parts = a->n_parts;
    for (size_t i = 0; rc == 0 && i < n_parts; i++) {
        const struct heard *h = &a->parts[i];
        int64_t from = h->window.at, to = from + h->window.frames;
        bool found = !h->silent;
        for (size_t j = 0; j < n_parts; j++) {
            const struct heard *other = &a->parts[j];
            found |= other->n_pieces > 0 && other->window.at < to &&
                     other->window.at + other->window.frames > from;
        }
        if (!found)
            rc = account_note(w, a, WHISPER_NOTE_NO_SPEECH, from, to,
                              h->attempt.no_speech_prob, e);
    }
    return rc;
}

int hear_window(struct run *w, const struct window *window, bool goes_on,
                struct account *account, struct err *e)
{
    struct heard heard = {.window = *window, .language = -1};
    const struct said *before = NULL;
    *account = (struct account){.window = *window};
    int rc = listen_texts(w, &heard, 1, w->p->n_temperatures, e);
    if (rc == 0 && w->crew)
        rc = batched_exchange(w, &heard, &before, e);
    if (rc == 0 && before)
        rc = context_window(w, &heard, before, e);
    if (rc == 0)
        rc = listen_words(w, &heard, 1, e);
    struct heard *part = account_part(account, window, -1, e);
    if (!part) {
        heard_release(&heard);
        return ERR_NOMEM;
    }
    *part = heard;
    if (rc == 0)
        rc = mend_window(w, account, e);
    if (rc == 0)
        rc = cut(w, account, goes_on, e);
    if (rc == 0)
        rc = guard_windows(w, account, 1, goes_on, e);
    if (rc == 0)
        rc = thin_windows(w, account, 1, e);
    /* What could not be encoded any more was taken for silence. */
    if (rc == 0)
        rc = longform_check(w, e);
    return rc < 0 ? rc : tell_silence(w, account, e);
}
