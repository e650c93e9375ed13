/* Nothing is lost.
 *
 * A model may end its text before the speech ends, begin it late, leave out what lies
 * between two segments, or take a whole window for silence. The voice detector knows
 * better: what it calls speech and no text covers is heard again, as a window of its own,
 * once. */
#include "engine/longform.h"

#include "base/mem.h"
#include "engine/pack.h"

/* So much speech without text is worth a second hearing: shorter stretches are most often
 * times that are not exact. */
#define LEAST_SPEECH 150 /* frames */
/* Heard on both sides of it: times are not exact. */
#define MARGIN 20
/* Text of a second hearing may be so much less probable than log_prob_threshold. */
#define UNSURE 0.5f
/* As likely as not. */
#define SPEECH_PROBABILITY 0.5f

/* What is heard again, for one of the accounts. */
struct hole {
    struct heard heard;
    int64_t from, to; /* without text, in the stream */
    int account;
};

struct holes {
    struct hole *list; /* owned [n] */
    size_t n, capacity;
};

bool guard_speaks(const struct run *w, int64_t at)
{
    int64_t frame = timeline_recording(w->t, at);
    return speech_probability(&w->s->speech, frame) >= SPEECH_PROBABILITY;
}

int64_t guard_speech(const struct run *w, int64_t from, int64_t to)
{
    int64_t sum = 0;
    for (; w->s->speech.n_probabilities > 0 && from < to; from++)
        sum += guard_speaks(w, from);
    return sum;
}

/* Remember the stretch [from, to) of an account, heard in `window`. */
static int add_hole(struct holes *holes, int account, int language, int64_t from,
                    int64_t to, const struct window *window, struct err *e)
{
    if (mem_grow(&holes->list, &holes->capacity, holes->n + 1, sizeof(*holes->list)) < 0)
        return err_set(e, ERR_NOMEM, "no memory is left for the windows");
    holes->list[holes->n++] = (struct hole){
        .heard = {.window = *window, .language = language},
        .from = from,
        .to = to,
        .account = account,
    };
    return 0;
}

/* A stretch of part `h` without text, if there is speech in it. A whole window would be
 * heard as it was: its halves are. */
static int consider(const struct run *w, struct holes *holes, int account,
                    const struct heard *h, int64_t from, int64_t to, struct err *e)
{
    int64_t start = h->window.at, end = start + h->window.frames;
    if (to - from < LEAST_SPEECH || guard_speech(w, from, to) < LEAST_SPEECH)
        return 0;
    int64_t first = from - MARGIN > start ? from - MARGIN : start;
    int64_t last = to + MARGIN < end ? to + MARGIN : end;
    if (first > start || last < end) {
        const struct window window = {first, (int)(last - first)};
        return add_hole(holes, account, h->language, from, to, &window, e);
    }
    int64_t third = (end - start) / 3;
    int64_t middle = pack_cut(w->t, &w->s->speech, start + third, end - third);
    const struct window halves[] = {{start, (int)(middle - start)},
                                    {middle, (int)(end - middle)}};
    int rc = 0;
    for (int i = 0; rc == 0 && i < 2; i++) {
        int64_t at = halves[i].at, behind = at + halves[i].frames;
        if (guard_speech(w, at, behind) >= LEAST_SPEECH)
            rc = add_hole(holes, account, h->language, at, behind, &halves[i], e);
    }
    return rc;
}

/* Where a piece ends in the stream; whoever says nothing covers nothing. */
static bool has_text(const struct run *w, const struct heard *h, const struct piece *p)
{
    int32_t eot = tokenizer_specials(w->s->tokenizer)->eot;
    for (size_t i = p->from; i < p->to; i++) {
        if (h->tokens[i] < eot)
            return true;
    }
    return false;
}

/* The stretches of one part without text, up to `end` in the stream. */
static int find_holes(const struct run *w, struct holes *holes, int account,
                      const struct heard *h, int64_t end, struct err *e)
{
    int64_t done = h->window.at;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < h->n_pieces; i++) {
        const struct piece *p = &h->pieces[i];
        if (!has_text(w, h, p))
            continue;
        int64_t from = h->window.at + p->start_frame, to = h->window.at + p->end_frame;
        rc = consider(w, holes, account, h, done, from < end ? from : end, e);
        if (to > done)
            done = to;
    }
    return rc < 0 ? rc : consider(w, holes, account, h, done, end, e);
}

/* Text that ends long before a window that goes on: the next one begins there. */
static void step_back(const struct run *w, struct account *a)
{
    const struct heard *h = &a->parts[a->n_parts - 1];
    int64_t done = 0;
    for (size_t i = 0; i < h->n_pieces; i++) {
        if (has_text(w, h, &h->pieces[i]) && h->pieces[i].end_frame > done)
            done = h->pieces[i].end_frame;
    }
    int64_t from = h->window.at + done, to = a->window.at + a->advance;
    if (done >= LEAST_SPEECH && guard_speech(w, from, to) >= LEAST_SPEECH)
        a->advance = (int)(from - a->window.at);
}

/* Is what was heard again worth to be kept? The network is sure of the speech: so the
 * text may be less sure than elsewhere. */
static bool is_good(const struct run *w, const struct heard *h)
{
    return !h->is_void && !h->silent && h->n_pieces > 0 && h->verdict == VERDICT_FINE &&
           !(h->attempt.avg_logprob < w->p->log_prob_threshold - UNSURE);
}

/* Keep what was heard in a hole, or say that nothing was. */
static int keep(struct run *w, struct account *accounts, struct hole *hole, struct err *e)
{
    struct account *a = &accounts[hole->account];
    int advance;
    int rc = hear_cut(w, &hole->heard, false, &advance, e);
    bool good = rc == 0 && is_good(w, &hole->heard);
    if (rc == 0)
        rc = account_note(w, a, good ? WHISPER_NOTE_HEARD_AGAIN : WHISPER_NOTE_NO_TEXT,
                          hole->from, hole->to, 0, e);
    if (rc == 0 && good) {
        struct heard *part = account_part(a, &hole->heard.window, -1, e);
        if (!part)
            return ERR_NOMEM;
        *part = hole->heard;
        hole->heard = (struct heard){0};
    }
    return rc;
}

static int hear_again(struct run *w, struct account *accounts, struct holes *holes,
                      struct err *e)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < holes->n;) {
        struct heard heard[WHISPER_MAX_BATCH];
        int count = 0;
        while (count < w->n_seats && i + (size_t)count < holes->n) {
            heard[count] = holes->list[i + (size_t)count].heard;
            count++;
        }
        rc = longform_check(w, e);
        if (rc == 0)
            rc = listen_windows(w, heard, count, e);
        for (int j = 0; j < count; j++)
            holes->list[i++].heard = heard[j];
    }
    for (size_t i = 0; rc == 0 && i < holes->n; i++)
        rc = keep(w, accounts, &holes->list[i], e);
    return rc;
}

int guard_windows(struct run *w, struct account *accounts, int n, bool goes_on,
                  struct err *e)
{
    struct holes holes = {0};
    int rc = 0;
    for (int i = 0; rc == 0 && i < n; i++) {
        struct account *a = &accounts[i];
        if (goes_on)
            step_back(w, a);
        for (size_t j = 0; rc == 0 && j < a->n_parts; j++) {
            const struct heard *h = &a->parts[j];
            int64_t end = h->window.at + h->window.frames;
            int64_t done = a->window.at + a->advance;
            if (!h->is_void)
                rc = find_holes(w, &holes, i, h, end < done ? end : done, e);
        }
    }
    if (rc == 0)
        rc = hear_again(w, accounts, &holes, e);
    for (size_t i = 0; i < holes.n; i++)
        heard_release(&holes.list[i].heard);
    free(holes.list);
    return rc;
}
