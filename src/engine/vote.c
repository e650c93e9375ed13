/* Which language is spoken?
 *
 * Several windows, spread over the speech, vote: a greeting in another tongue, a song at
 * the beginning or one badly heard window does not decide for an hour. A vote counts by
 * its probability and by the speech that it has heard. In a short recording a first
 * window that is sure decides alone. */
#include "engine/longform.h"

#include "base/mem.h"
#include "engine/pack.h"
#include "engine/vote.h"

/* Of two minutes or less, one window has heard a fair part. */
#define SHORT_WINDOWS 4

/* ---- counting ---------------------------------------------------------------------- */

void vote_add(struct election *v, const float *probabilities, int frames)
{
    struct voice *voice = &v->voices[v->n_voices++];
    voice->frames = frames;
    for (int i = 0; i < v->n_languages; i++) {
        v->sums[i] += (double)probabilities[i] * frames;
        voice->probabilities[i] = probabilities[i];
    }
    v->frames += frames;
}

int vote_result(const struct election *v, float *probability)
{
    int best = 0;
    for (int i = 1; i < v->n_languages; i++) {
        if (v->sums[i] > v->sums[best])
            best = i;
    }
    *probability = v->frames > 0 ? (float)(v->sums[best] / v->frames) : 0;
    return best;
}

static bool is_sure_of(const struct voice *v, int language)
{
    return v->frames >= VOTE_SHORT_FRAMES &&
           v->probabilities[language] >= VOTE_MIXED_SURE;
}

static bool is_sure_of_another(const struct election *v, const struct voice *voice,
                               int language)
{
    if (voice->probabilities[language] > VOTE_MIXED_REST)
        return false;
    for (int i = 0; i < v->n_languages; i++) {
        if (i != language && is_sure_of(voice, i))
            return true;
    }
    return false;
}

bool vote_is_mixed(const struct election *v)
{
    float probability;
    int winner = vote_result(v, &probability);
    bool its_own = false, another = false;
    for (int i = 0; i < v->n_voices; i++) {
        its_own = its_own || is_sure_of(&v->voices[i], winner);
        another = another || is_sure_of_another(v, &v->voices[i], winner);
    }
    return its_own && another;
}

/* ---- windows ------------------------------------------------------------------------
 */

struct ballot {
    struct window windows[WHISPER_MAX_BATCH];
    int n;
    size_t all; /* windows of the recording */
};

/* The windows that vote: the first one that will be heard, and others evenly spread. */
static int choose(const struct run *w, int most, struct ballot *b, struct err *e)
{
    struct window *windows = NULL;
    size_t n = 0, capacity = 0;
    int rc = pack_windows(w->t, &w->s->speech, longform_packed_frames(w),
                          !w->r->multilingual, &windows, &n, &capacity, e);
    b->all = n;
    b->n = n < (size_t)most ? (int)n : most;
    for (int i = 0; rc == 0 && i < b->n; i++)
        b->windows[i] = windows[(size_t)i * n / (size_t)b->n];
    free(windows);
    if (rc == 0 && n > 0 && !w->is_batched)
        b->windows[0] = sequential_window(w, 0);
    return rc;
}

/* The voice of one encoded window. */
static int count_one(struct run *w, const struct window *window, int index,
                     struct election *v, float *probabilities, struct err *e)
{
    int language;
    int rc = listen_language(w, index, &language, probabilities, e);
    if (rc < 0)
        return rc;
    int64_t end = window->at + window->frames;
    const struct whisper_vote vote = {
        .start_seconds =
            (double)timeline_recording(w->t, window->at) / WHISPER_FRAMES_PER_SECOND,
        .end_seconds =
            (double)timeline_recording_end(w->t, end) / WHISPER_FRAMES_PER_SECOND,
        .language = language,
        .probability = probabilities[language],
    };
    vote_add(v, probabilities, window->frames);
    return report_vote(w->r, &vote, e);
}

/* Let windows from `first` to `end` of the ballot vote, as many encoded at once as the
 * session has room for. */
static int count_windows(struct run *w, const struct ballot *b, int first, int end,
                         struct election *v, struct err *e)
{
    int index[WHISPER_MAX_BATCH];
    float *probabilities = mem_array((size_t)whisper_language_count(), sizeof(float));
    int rc = probabilities
                 ? 0
                 : err_set(e, ERR_NOMEM, "no memory is left to detect the language");
    for (int at = 0, n; rc == 0 && at < end; at += n) {
        n = end - at < w->n_seats ? end - at : w->n_seats;
        listen_encode(w, b->windows + at, n, index);
        rc = longform_check(w, e);
        for (int i = 0; rc == 0 && i < n; i++) {
            if (at + i >= first && index[i] >= 0)
                rc = count_one(w, &b->windows[at + i], index[i], v, probabilities, e);
        }
    }
    free(probabilities);
    return rc;
}

/* Does the first window decide alone? It is heard alone only where that may be: what is
 * encoded once is not encoded again when the transcription begins with it. */
static bool may_decide_alone(const struct run *w, const struct ballot *b)
{
    bool needed_anyway = w->is_batched && b->all <= WHISPER_DEFAULT_BATCH;
    return b->all <= SHORT_WINDOWS && !needed_anyway;
}

static int elect(struct run *w, struct election *v, struct err *e)
{
    struct ballot b;
    float probability;
    int most = w->p->language_detection_segments;
    if (most > WHISPER_MAX_BATCH)
        most = WHISPER_MAX_BATCH;
    int rc = choose(w, most < 1 ? 1 : most, &b, e), first = 0;
    if (rc == 0 && b.n > 1 && may_decide_alone(w, &b)) {
        rc = count_windows(w, &b, 0, 1, v, e);
        vote_result(v, &probability);
        if (rc < 0 || probability >= w->p->language_detection_threshold)
            return rc;
        first = 1;
    }
    return rc < 0 || b.n == 0 ? rc : count_windows(w, &b, first, b.n, v, e);
}

/* ---- the calls ----------------------------------------------------------------------
 */

void longform_tell_language(struct run *w, int language, float probability)
{
    w->r->language = language;
    w->r->language_probability = probability;
    if (language >= 0 && w->c && w->c->language)
        w->c->language(w->c->arg, language, probability);
}

int vote_recording(struct run *w, int known, struct err *e)
{
    struct election v = {.n_languages = w->s->model->config.n_languages};
    float probability;
    int rc = elect(w, &v, e);
    if (rc < 0)
        return rc;
    int language = vote_result(&v, &probability);
    if (known >= 0)
        longform_tell_language(w, known, 1);
    else if (v.frames > 0)
        longform_tell_language(w, language, probability);
    return vote_is_mixed(&v) ? longform_split(w, e) : 0;
}

int vote_window(struct run *w, int index, const struct window *window, int *language,
                struct err *e)
{
    float p[VOTE_LANGUAGES] = {0};
    int main = w->r->language, heard;
    int rc = listen_language(w, index, &heard, p, e);
    if (rc < 0)
        return rc;
    if (main < 0) {
        longform_tell_language(w, heard, p[heard]);
        main = heard;
    }
    bool is_short = window->frames < VOTE_SHORT_FRAMES;
    bool sure = p[heard] >= (is_short ? VOTE_SURE_IF_SHORT : VOTE_SURE) ||
                (!is_short && p[heard] >= VOTE_ODDS * p[main]);
    *language = sure ? heard : main;
    return 0;
}

int whisper_detect_language(struct whisper_session *s, const float *samples,
                            size_t n_samples, int *language, float *probabilities,
                            struct err *e)
{
    if (!s->model->config.multilingual)
        return err_set(e, ERR_UNSUPPORTED,
                       "this model knows only English and cannot tell languages apart; "
                       "choose a multilingual model (without \".en\")");
    struct whisper_params p;
    struct whisper_result r;
    struct election v = {.n_languages = s->model->config.n_languages};
    float probability;
    whisper_params_init(&p);
    whisper_result_init(&r);
    struct member member = {0};
    struct run w = {.s = s,
                    .p = &p,
                    .r = &r,
                    .batcher = search_batcher(s->search),
                    .member = &member};
    batcher_enter(w.batcher);
    batcher_join(w.batcher, &member);
    int rc = longform_begin(&w, samples, n_samples, true, e);
    if (rc == 0)
        rc = elect(&w, &v, e);
    longform_free_seats(&w, 0);
    batcher_leave(w.batcher);
    whisper_result_release(&r);
    if (rc < 0)
        return rc;
    *language = vote_result(&v, &probability);
    for (int i = 0; i < whisper_language_count(); i++) {
        bool known = i < v.n_languages;
        /* Nobody speaks: one is as good as another. */
        probabilities[i] = !known         ? 0
                           : v.frames > 0 ? (float)(v.sums[i] / v.frames)
                                          : 1.0f / (float)v.n_languages;
    }
    return 0;
}
