/* Windows to tokens. */
#include "engine/longform.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/search.h"

void heard_release(struct heard *h)
{
    free(h->tokens);
    free(h->logprobs);
    free(h->pieces);
    align_words_free(h->words, h->n_words);
    h->words = NULL;
    h->n_words = 0;
    h->n_pieces = 0;
    h->tokens = NULL;
    h->logprobs = NULL;
    h->pieces = NULL;
}

/* ---- encoding -------------------------------------------------------------------- */

/* What is behind the window's frames is 0, as in the reference's transcribe: not silence,
 * whose features are lower. The models hear better so (docs/model.md has the numbers).
 * False: there is no sound in it. Whatever a model says to that ("you", "Thank you.") it
 * has not heard. */
static bool take(struct run *w, const struct window *window, float *features)
{
    struct whisper_session *s = w->s;
    size_t n = timeline_pieces(w->t, window->at, window->frames, s->mel_pieces,
                               WHISPER_WINDOW_FRAMES);
    return mel_gather(s->mel, s->mel_pieces, n, features);
}

static int find_encoded(const struct run *w, const struct window *window)
{
    for (int i = 0; i < w->n_seats; i++)
        if (batcher_holds(w->batcher, w->member, w->seats[i], window))
            return i;
    return -1;
}

/* A seat that is not used for one of the windows. */
static int find_seat(const struct run *w, const bool *used)
{
    int seat = 0;
    while (seat + 1 < w->n_seats && used[seat])
        seat++;
    return seat;
}

static double seconds_between(int64_t from_ns, int64_t to_ns)
{
    return (double)(to_ns - from_ns) / 1e9;
}

/* A window into a seat: false where it has no sound, or where the run was stopped. */
static bool encode_one(struct run *w, const struct window *window, int seat)
{
    const float *features = w->s->features;
    struct net *net = w->s->net;
    if (batcher_stopped(w->batcher, w->member) || !batcher_begin(w->batcher, w->member))
        return false;
    int64_t begun_ns = clock_monotonic_ns();
    bool sounds = take(w, window, w->s->features);
    int64_t taken_ns = clock_monotonic_ns();
    if (sounds) {
        net_set_stop(net, w->c ? w->c->cancelled : NULL, w->c ? w->c->arg : NULL);
        net_encode(net, seat, &features, 1);
        net_set_stop(net, NULL, NULL);
    }
    int64_t encoded_ns = clock_monotonic_ns();
    batcher_end(w->batcher);
    w->member->times.mel += seconds_between(begun_ns, taken_ns);
    w->member->times.encoder += seconds_between(taken_ns, encoded_ns);
    return sounds && !batcher_stopped(w->batcher, w->member);
}

void listen_encode(struct run *w, const struct window *windows, int n, int *index)
{
    bool used[WHISPER_MAX_BATCH] = {false};
    for (int i = 0; i < n; i++) {
        index[i] = find_encoded(w, &windows[i]);
        if (index[i] >= 0)
            used[index[i]] = true;
    }
    for (int i = 0; i < n; i++) {
        int seat = index[i] >= 0 ? index[i] : find_seat(w, used);
        if (index[i] < 0) {
            batcher_encoded(w->batcher, w->member, w->seats[seat], NULL);
            if (!encode_one(w, &windows[i], w->seats[seat])) {
                index[i] = -1;
                continue;
            }
            batcher_encoded(w->batcher, w->member, w->seats[seat], &windows[i]);
        }
        used[seat] = true;
        index[i] = w->seats[seat];
    }
}

int listen_language(struct run *w, int index, int *language, float *probabilities,
                    struct err *e)
{
    for (int i = 0; i < whisper_language_count(); i++)
        probabilities[i] = 0;
    int rc = search_languages(w->s->search, index, w->member, probabilities, e);
    if (rc < 0)
        return rc;
    *language = 0;
    for (int i = 1; i < w->s->model->config.n_languages; i++) {
        if (probabilities[i] > probabilities[*language])
            *language = i;
    }
    return 0;
}

/* ---- the ladder ------------------------------------------------------------------ */

int listen_ratio(const struct run *w, const int32_t *tokens, size_t count, float *ratio)
{
    char *text = tokenizer_decode(w->s->tokenizer, tokens, count);
    if (!text)
        return ERR_NOMEM;
    size_t length = strlen(text);
    const char *trimmed = words_trim(text, &length);
    int rc = text_compression_ratio(trimmed, length, ratio);
    free(text);
    return rc;
}

/* How good is what was heard? */
static int judge(const struct run *w, const struct search_task *t, struct attempt *a,
                 struct err *e)
{
    *a = (struct attempt){
        .temperature = t->temperature,
        .avg_logprob = t->avg_logprob,
        .no_speech_prob = t->no_speech_prob,
    };
    int rc = listen_ratio(w, t->tokens, t->count, &a->compression_ratio);
    return rc == 0 ? 0 : err_set(e, rc, "no memory is left for the text");
}

/* Keep what was just heard: the search will reuse its tokens. */
static int keep(struct heard *h, const struct attempt *a, const struct search_task *t,
                struct err *e)
{
    free(h->tokens);
    free(h->logprobs);
    h->tokens = mem_array(t->count + 1, sizeof(*h->tokens));
    h->logprobs = mem_array(t->count + 1, sizeof(*h->logprobs));
    if (!h->tokens || !h->logprobs)
        return err_set(e, ERR_NOMEM, "no memory is left for the text");
    memcpy(h->tokens, t->tokens, t->count * sizeof(*t->tokens));
    memcpy(h->logprobs, t->logprobs, t->count * sizeof(*t->logprobs));
    h->count = t->count;
    h->attempt = *a;
    return 0;
}

/* The windows that are on the ladder; task i is of heard[of[i]]. */
struct ladder {
    struct run *w;
    struct heard *heard;
    struct search_task tasks[WHISPER_MAX_BATCH];
    int of[WHISPER_MAX_BATCH];
    int n;
};

/* What the model is told before it hears a window. Side by side, nobody knows yet which
 * is the first window with text: the first one is told what the first is to be told. */
static void write_prompt(const struct run *w, const struct heard *h, struct prompt *out)
{
    static const struct whisper_segment some = {0};
    const struct whisper_session *s = w->s;
    const struct prompt_context c = {
        .special = tokenizer_specials(s->tokenizer),
        .params = w->p,
        .texts = &w->texts,
        .n_text_ctx = (size_t)s->model->config.n_text_ctx,
        .said = h->said,
        .n_said = h->n_said,
    };
    if (w->is_batched)
        prompt_write(&c, h->language, &some, h->window.at > 0, out);
    else
        prompt_write(&c, h->language, w->r->segments, w->r->n_segments, out);
}

static void add_task(struct ladder *l, int i, int index)
{
    const struct whisper_session *s = l->w->s;
    const struct heard *h = &l->heard[i];
    size_t context = (size_t)s->model->config.n_text_ctx;
    struct prompt told = {.tokens = s->prompts + (size_t)index * context};
    write_prompt(l->w, h, &told);
    l->tasks[l->n] = (struct search_task){
        .window = index,
        .prompt = told.tokens,
        .n_prompt = told.count,
        .sot = told.sot,
        .n_given = told.n_given,
        .seek = (uint64_t)timeline_recording(l->w->t, h->window.at),
        .seconds = (float)h->window.frames / WHISPER_FRAMES_PER_SECOND,
        .draft = h->draft,
        .n_draft = h->n_draft,
        .manner = &l->w->manner,
    };
    l->of[l->n++] = i;
}

/* Is `a` with its verdict better than what is kept? What nobody can have said is worse
 * than anything. */
static bool is_better(const struct run *w, const struct attempt *a, enum verdict v,
                      const struct heard *h)
{
    bool impossible = v == VERDICT_CERTAIN;
    if (impossible != (h->verdict == VERDICT_CERTAIN))
        return !impossible;
    return fallback_better(w->p, a, &h->attempt);
}

/* A window of more than this in doubt is not heard again as it is, but in pieces
 * (mend.c), which have less room to go astray in. */
#define PIECES_FIRST_FRAMES 2000

/* Is no other attempt needed? Text that repeats itself from segment to segment is good
 * enough where there is time for it. */
static bool is_done(const struct run *w, const struct heard *h, const struct attempt *a,
                    enum verdict v)
{
    if (v != VERDICT_FINE && h->window.frames > PIECES_FIRST_FRAMES)
        return true;
    return v < VERDICT_LIKELY && !fallback_improbable(w->p, a);
}

static int climb_one(struct ladder *l, int i, bool first, bool *done, struct err *e)
{
    struct run *w = l->w;
    const struct search_task *t = &l->tasks[i];
    struct heard *h = &l->heard[l->of[i]];
    struct attempt a;
    enum verdict v = VERDICT_FINE;
    int rc = judge(w, t, &a, e);
    if (rc == 0)
        rc = mend_judge(w, &h->window, t->tokens, t->count, fallback_repetitive(w->p, &a),
                        &v, e);
    if (rc < 0)
        return rc;
    if (t->looping)
        v = VERDICT_CERTAIN;
    *done = is_done(w, h, &a, v);
    if (first || *done || is_better(w, &a, v, h)) {
        h->mended =
            !first && v < VERDICT_LIKELY && (h->mended || h->verdict >= VERDICT_LIKELY);
        h->verdict = v;
        rc = keep(h, &a, t, e);
    }
    return rc;
}

/* Judge what was just heard; those that are not good enough stay on the ladder. */
static int climb(struct ladder *l, bool first, struct err *e)
{
    int left = 0;
    for (int i = 0; i < l->n; i++) {
        bool done;
        int rc = climb_one(l, i, first, &done, e);
        if (rc < 0)
            return rc;
        if (done)
            continue;
        l->tasks[left] = l->tasks[i];
        l->of[left++] = l->of[i];
    }
    l->n = left;
    return 0;
}

/* Temperatures in turn, until one gives a text that is neither repetitive nor improbable.
 * Where none does, the best is kept; the reference keeps the last, whose words are half
 * chance. */
static int ladder(struct ladder *l, int n_temperatures, struct err *e)
{
    struct run *w = l->w;
    int rc = l->n > 0 ? search_begin(w->s->search, l->tasks, l->n, w->member, e) : 0;
    for (int i = 0; rc == 0 && l->n > 0 && i < n_temperatures; i++) {
        for (int j = 0; j < l->n; j++) {
            l->tasks[j].temperature = w->p->temperatures[i];
            l->tasks[j].attempt = (uint32_t)i;
        }
        rc = search_run(w->s->search, l->tasks, l->n, w->member, e);
        if (rc == 0)
            rc = climb(l, i == 0, e);
    }
    return rc;
}

/* Only a window that is sure of it has another language than the recording. */
static int settle_language(struct run *w, struct heard *h, int index, struct err *e)
{
    bool own = w->r->multilingual && w->s->model->config.multilingual;
    if (h->language >= 0)
        return 0;
    h->language = w->r->language;
    return own || h->language < 0 ? vote_window(w, index, &h->window, &h->language, e)
                                  : 0;
}

/* Encode what was heard or is to be. */
static void encode(struct run *w, const struct heard *heard, int n, int *index)
{
    struct window windows[WHISPER_MAX_BATCH] = {{0}};
    for (int i = 0; i < n; i++)
        windows[i] = heard[i].window;
    listen_encode(w, windows, n, index);
}

int listen_texts(struct run *w, struct heard *heard, int n, int n_temperatures,
                 struct err *e)
{
    struct ladder l = {.w = w, .heard = heard};
    int index[WHISPER_MAX_BATCH], rc = 0;
    encode(w, heard, n, index);
    for (int i = 0; rc == 0 && i < n; i++) {
        heard[i].is_void = index[i] < 0;
        if (heard[i].is_void)
            continue;
        rc = settle_language(w, &heard[i], index[i], e);
        if (rc == 0)
            add_task(&l, i, index[i]);
    }
    if (rc == 0)
        rc = ladder(&l, n_temperatures, e);
    for (int i = 0; i < n; i++)
        heard[i].silent = !heard[i].is_void && fallback_silent(w->p, &heard[i].attempt);
    return rc;
}

/* Its scratch is that of the session: nobody else computes. */
static int align(struct run *w, struct heard *h, int index, struct err *e)
{
    if (!batcher_begin(w->batcher, w->member))
        return longform_check(w, e);
    int64_t begun_ns = clock_monotonic_ns();
    int rc = timing_align(w, h, index, e);
    int64_t ended_ns = clock_monotonic_ns();
    batcher_end(w->batcher);
    w->member->times.align += seconds_between(begun_ns, ended_ns);
    return rc;
}

int listen_words(struct run *w, struct heard *heard, int n, struct err *e)
{
    int index[WHISPER_MAX_BATCH], rc = 0;
    encode(w, heard, n, index);
    for (int i = 0; rc == 0 && i < n; i++) {
        if (!heard[i].is_void && !heard[i].silent && timing_wanted(w, &heard[i]))
            rc = align(w, &heard[i], index[i], e);
    }
    return rc;
}

bool listen_is_sure(const struct run *w, const struct heard *h)
{
    return !h->is_void && !h->silent && h->count > 0 && h->verdict == VERDICT_FINE &&
           !fallback_needed(w->p, &h->attempt);
}

int listen_needed(const struct run *w, const int32_t *tokens, size_t count)
{
    return verdict_needed(tokenizer_specials(w->s->tokenizer), search_paces(w->s->search),
                          tokens, count);
}

int listen_windows(struct run *w, struct heard *heard, int n, struct err *e)
{
    int rc = listen_texts(w, heard, n, w->p->n_temperatures, e);
    return rc < 0 ? rc : listen_words(w, heard, n, e);
}
