/* The public calls: what holds for a whole recording, whichever way is gone through it.
 */
#include "engine/longform.h"

#include "base/clock.h"
#include "engine/params.h"
#include "engine/search.h"
#include "engine/segments.h"
#include "engine/timeline.h"

/* Stretches of speech share windows however far apart they are: a model hears a short
 * window worse, and it costs as much as a long one. Texts are put back in their places by
 * their words (timing.c). Another language is not to be in the same window. */
#define JOIN_FRAMES              INT64_MAX
#define MULTILINGUAL_JOIN_FRAMES 0

/* Where each window has a language of its own, it had better not hold two. */
#define MULTILINGUAL_FRAMES 1500

/* A window that is cut at a pause ends a little before 30 s: behind a text that goes on
 * to the very end a model cannot see that it has ended. */
#define PACKED_FRAMES 2800

/* ---- checkpoints ------------------------------------------------------------------ */

int longform_check(const struct run *w, struct err *e)
{
    if (batcher_stopped(w->batcher, w->member))
        return err_set(e, ERR_CANCELLED, "the transcription was cancelled");
    return 0;
}

/* The gap before stretch i of the stream, or behind the last one; it may be empty. */
static struct speech_span gap_before(const struct timeline *t, size_t i)
{
    return (struct speech_span){
        i > 0 ? t->stretches[i - 1].end_frame : 0,
        i < t->n_stretches ? t->stretches[i].start_frame : t->total_frames,
    };
}

static int tell_gap(struct run *w, const struct speech_span *gap, struct err *e)
{
    const struct whisper_note note = {
        .kind = WHISPER_NOTE_NON_SPEECH,
        .start_seconds = (double)gap->start_frame / WHISPER_FRAMES_PER_SECOND,
        .end_seconds = (double)gap->end_frame / WHISPER_FRAMES_PER_SECOND,
    };
    return gap->start_frame < gap->end_frame ? report_note(w->r, w->c, &note, e) : 0;
}

/* Pass the gaps that end at `frame` or before it. */
static int pass_gaps(struct run *w, int64_t frame, bool tell, struct err *e)
{
    int rc = 0;
    for (; rc == 0 && w->next_gap <= w->t->n_stretches; w->next_gap++) {
        struct speech_span gap = gap_before(w->t, w->next_gap);
        if (gap.end_frame > frame)
            break;
        if (tell)
            rc = tell_gap(w, &gap, e);
    }
    return rc;
}

int longform_checkpoint(struct run *w, int64_t at, struct err *e)
{
    int64_t frame = timeline_recording(w->t, at);
    int rc = pass_gaps(w, frame, true, e);
    if (rc < 0)
        return rc;
    w->checkpoint = frame;
    if (w->c && w->c->window)
        w->c->window(w->c->arg, frame, w->t->total_frames);
    return 0;
}

/* ---- seats -------------------------------------------------------------------------
 */

void longform_free_seats(struct run *w, int left)
{
    while (w->n_seats > left)
        batcher_free_seat(w->batcher, w->member, w->seats[--w->n_seats]);
}

/* One; and where several are useful, to hear which language it is in, those that nobody
 * else wants. */
static int take_seats(struct run *w, int most, struct err *e)
{
    if (!batcher_wait_seat(w->batcher, w->member))
        return longform_check(w, e);
    do
        w->seats[w->n_seats++] = batcher_take_seat(w->batcher, w->member, NULL);
    while (w->n_seats < most && batcher_spare_seat(w->batcher));
    return 0;
}

/* ---- a recording ------------------------------------------------------------------ */

static int lay_out(struct run *w, struct err *e)
{
    struct whisper_session *s = w->s;
    const struct whisper_params *p = w->p;
    w->t = &s->timeline;
    return timeline_build(&s->timeline, s->speech.spans, s->speech.n_spans, p->clips,
                          p->n_clips, mel_frames(s->mel),
                          w->r->multilingual ? MULTILINGUAL_JOIN_FRAMES : JOIN_FRAMES, e);
}

int longform_split(struct run *w, struct err *e)
{
    if (w->r->multilingual)
        return 0;
    w->r->multilingual = true;
    batcher_join(w->batcher, w->member); /* what is encoded was of another stream */
    return lay_out(w, e);
}

static int find_speech(struct run *w, const float *samples, size_t n_samples,
                       struct whisper_times *times, struct err *e)
{
    struct whisper_session *s = w->s;
    const struct whisper_params *p = w->p;
    int64_t begun_ns = clock_monotonic_ns();
    int rc = mel_begin(s->mel, samples, n_samples, e);
    int64_t filtered_ns = clock_monotonic_ns();
    times->mel = (double)(filtered_ns - begun_ns) / 1e9;
    if (rc < 0)
        return rc;
    if (!p->vad_filter)
        return speech_all(&s->speech, samples, n_samples, e);
    rc = speech_find(&s->speech, s->vad, net_pool(s->net), samples, n_samples, &p->vad,
                     w->c ? w->c->cancelled : NULL, w->c ? w->c->arg : NULL, e);
    times->vad = (double)(clock_monotonic_ns() - filtered_ns) / 1e9;
    return rc;
}

int longform_begin(struct run *w, const float *samples, size_t n_samples, bool votes,
                   struct err *e)
{
    struct whisper_session *s = w->s;
    const struct whisper_params *p = w->p;
    w->r->duration_seconds = (double)n_samples / WHISPER_SAMPLE_RATE;
    if (!batcher_begin(w->batcher, w->member))
        return longform_check(w, e);
    struct whisper_times times = {0};
    int rc = find_speech(w, samples, n_samples, &times, e);
    batcher_end(w->batcher);
    w->member->times.mel += times.mel;
    w->member->times.vad += times.vad;
    if (rc == 0)
        rc = take_seats(w, votes ? w->s->max_windows : 1, e);
    if (rc < 0)
        return rc;
    search_manner(s->search, p, &w->manner);
    w->r->multilingual = p->multilingual;
    report_begin(w->r, &s->speech, p->vad_filter);
    report_level(w->r, &s->speech, samples, n_samples);
    return lay_out(w, e);
}

/* Side by side is the default where the voice detector's network knows the pauses and
 * what was left out: then fewer words are lost than in windows that end within a word
 * (docs/accuracy.md). A window that is told what was said before has to wait for it. */
static bool is_batched(const struct run *w)
{
    if (w->p->condition_on_previous_text)
        return false;
    return w->p->mode == WHISPER_MODE_BATCHED ||
           (w->p->mode == WHISPER_MODE_DEFAULT && w->s->speech.source == SPEECH_SILERO);
}

int longform_packed_frames(const struct run *w)
{
    return w->r->multilingual ? MULTILINGUAL_FRAMES : PACKED_FRAMES;
}

int longform_window_frames(const struct run *w)
{
    return w->r->multilingual ? MULTILINGUAL_FRAMES : WHISPER_WINDOW_FRAMES;
}

/* The language of the recording: given, found before, or voted on. */
static int settle_languages(struct run *w, int language, struct err *e)
{
    const char *name = w->p->known_language;
    int known = name ? whisper_language_find(name) : -1;
    if (language < 0 && (known < 0 || !w->r->multilingual))
        return vote_recording(w, known, e);
    longform_tell_language(w, language < 0 ? known : language, 1);
    return 0;
}

static int go(struct run *w, int language, struct err *e)
{
    int64_t start = w->p->start_frame, total = w->t->total_frames;
    w->is_batched = is_batched(w);
    int rc = settle_languages(w, language, e);
    if (rc < 0)
        return rc;
    pass_gaps(w, start > 0 ? start : -1, false, e); /* they were told of before */
    w->checkpoint = start;
    int64_t at = timeline_stream(w->t, start);
    rc = w->is_batched ? batched_hear(w, at, e) : sequential_hear(w, at, e);
    /* Behind the last word there may be something that is not heard. */
    if (rc == 0 && w->checkpoint < total && total >= WINDOW_MIN_FRAMES)
        rc = longform_checkpoint(w, w->t->length, e);
    report_end(w->r);
    return rc;
}

/* With the baton. */
static int transcribe(struct run *w, const float *samples, size_t n_samples, int language,
                      struct err *e)
{
    int rc = longform_check(w, e);
    if (rc == 0)
        rc = longform_begin(w, samples, n_samples, language < 0, e);
    if (rc == 0) {
        w->r->language = -1;
        w->r->language_probability = 0;
        rc = prompt_texts_init(&w->texts, w->s->tokenizer, w->p, e);
    }
    if (rc == 0) {
        rc = go(w, language, e);
        prompt_texts_release(&w->texts);
    }
    longform_free_seats(w, 0);
    return rc;
}

int whisper_transcribe(struct whisper_session *s, const float *samples, size_t n_samples,
                       const struct whisper_params *p, const struct whisper_callbacks *c,
                       struct whisper_result *r, struct err *e)
{
    struct member member = {.callbacks = c};
    struct run w = {.s = s,
                    .p = p,
                    .c = c,
                    .r = r,
                    .batcher = search_batcher(s->search),
                    .member = &member};
    int language;
    int rc = params_check(p, &s->model->config, &language, e);
    if (rc < 0)
        return rc;
    batcher_enter(w.batcher);
    batcher_join(w.batcher, &member);
    rc = transcribe(&w, samples, n_samples, language, e);
    r->report.times = member.times;
    batcher_leave(w.batcher);
    return rc;
}
