/* Decode, hear, write down. The engine's segments become the transcript's as they come,
 * so that the transcript is of use at every moment: after an error or a cancellation it
 * holds what was finished. */
#include "job/transcribe.h"

#include "base/clock.h"
#include "base/mem.h"
#include "job/detect.h"

struct run {
    const struct whisper_session *session; /* borrowed */
    const struct whisper_result *result;   /* borrowed: what the engine has so far */
    size_t n_votes;                        /* of its report that were taken over */
    const struct transcribe_options *options;
    const struct transcribe_callbacks *callbacks; /* or NULL */
    struct transcript *out;
    int rc; /* the first failure inside a callback of the engine */
};

static bool on_cancelled(void *arg)
{
    const struct run *r = arg;
    const struct transcribe_callbacks *c = r->callbacks;
    return r->rc < 0 || (c && c->cancelled && c->cancelled(c->arg));
}

static void on_language(void *arg, int language, float probability)
{
    struct run *r = arg;
    const struct transcribe_options *o = r->options;
    struct transcript *t = r->out;
    snprintf(t->language, sizeof(t->language), "%s", whisper_language_code(language));
    snprintf(t->language_name, sizeof(t->language_name), "%s",
             whisper_language_name(language));
    t->language_probability = o->known_language ? o->known_probability : probability;
    if (r->callbacks && r->callbacks->language)
        r->callbacks->language(r->callbacks->arg, t->language, t->language_probability);
}

static bool each_window_has_its_language(const struct run *r)
{
    return r->result->multilingual;
}

/* The words of a segment, borrowing their texts; NULL with *failed when memory is out. */
static struct transcript_word *words_of(const struct whisper_segment *s, bool *failed)
{
    struct transcript_word *words = mem_array(s->n_words + 1, sizeof *words);
    *failed = !words;
    for (size_t i = 0; words && i < s->n_words; i++)
        words[i] = (struct transcript_word){.text = s->words[i].text,
                                            .start = s->words[i].start_seconds,
                                            .end = s->words[i].end_seconds,
                                            .probability = s->words[i].probability};
    return words;
}

/* What is text of a segment's tokens. */
static int take_logprobs(const struct run *r, const struct whisper_segment *s,
                         struct transcript_segment *out)
{
    static const char digits[] = "0123456789abcdef";
    out->logprobs = mem_array(s->n_tokens + 1, sizeof *out->logprobs);
    if (!out->logprobs)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->n_tokens; i++) {
        size_t length;
        const char *bytes = whisper_token_bytes(r->session, s->tokens[i], &length);
        if (!length)
            continue;
        char *hex = mem_array(2 * length + 1, 1);
        if (!hex)
            return ERR_NOMEM;
        for (size_t k = 0; k < length; k++) {
            hex[2 * k] = digits[(unsigned char)bytes[k] >> 4];
            hex[2 * k + 1] = digits[(unsigned char)bytes[k] & 15];
        }
        out->logprobs[out->n_logprobs++] =
            (struct transcript_token){.hex = hex, .logprob = s->logprobs[i]};
    }
    return 0;
}

static void drop_logprobs(struct transcript_segment *s)
{
    for (size_t i = 0; i < s->n_logprobs; i++)
        free(s->logprobs[i].hex);
    free(s->logprobs);
}

static void on_segment(void *arg, const struct whisper_segment *s)
{
    struct run *r = arg;
    struct transcript_segment segment = {
        .id = s->id,
        .seek = s->seek_frame,
        .start = s->start_seconds,
        .end = s->end_seconds,
        .text = s->text,
        .tokens = s->tokens,
        .n_tokens = s->n_tokens,
        .temperature = s->temperature,
        .avg_logprob = s->avg_logprob,
        .compression_ratio = s->compression_ratio,
        .no_speech_prob = s->no_speech_prob,
        .n_words = s->n_words,
    };
    const char *code = whisper_language_code(s->language);
    if (each_window_has_its_language(r) && code)
        snprintf(segment.language, sizeof segment.language, "%s", code);
    bool failed = false;
    if (r->options->params.word_timestamps)
        segment.words = words_of(s, &failed);
    else
        segment.n_words = 0;
    if (s->logprobs && take_logprobs(r, s, &segment))
        failed = true;
    if (r->rc == 0)
        r->rc = failed ? ERR_NOMEM : transcript_add(r->out, &segment);
    if (r->rc == 0 && r->callbacks && r->callbacks->segment)
        r->callbacks->segment(r->callbacks->arg, &segment);
    free(segment.words);
    drop_logprobs(&segment);
}

/* ---- the report ------------------------------------------------------------------ */

static void on_note(void *arg, const struct whisper_note *n)
{
    static const enum quality_kind kinds[WHISPER_NOTE_KINDS] = {
        [WHISPER_NOTE_NON_SPEECH] = QUALITY_NON_SPEECH,
        [WHISPER_NOTE_NO_SPEECH] = QUALITY_NO_SPEECH,
        [WHISPER_NOTE_HALLUCINATION] = QUALITY_HALLUCINATION,
        [WHISPER_NOTE_LOOP] = QUALITY_LOOP,
        [WHISPER_NOTE_HEARD_AGAIN] = QUALITY_HEARD_AGAIN,
        [WHISPER_NOTE_NO_TEXT] = QUALITY_NO_TEXT,
        [WHISPER_NOTE_LOW_CONFIDENCE] = QUALITY_LOW_CONFIDENCE,
    };
    static const enum quality_remedy remedies[] = {
        [WHISPER_REMEDY_NONE] = REMEDY_NONE,
        [WHISPER_REMEDY_RESAMPLED] = REMEDY_RESAMPLED,
        [WHISPER_REMEDY_SPLIT] = REMEDY_SPLIT,
        [WHISPER_REMEDY_CUT] = REMEDY_CUT,
    };
    struct run *r = arg;
    const struct quality_note note = {.kind = kinds[n->kind],
                                      .start = n->start_seconds,
                                      .end = n->end_seconds,
                                      .remedy = remedies[n->remedy],
                                      .value = n->value,
                                      .text = n->text};
    if (r->rc == 0)
        r->rc = quality_add_note(&r->out->quality, &note);
}

/* Votes that were cast since the last time. */
static void take_votes(struct run *r)
{
    const struct whisper_report *report = &r->result->report;
    for (; r->rc == 0 && r->n_votes < report->n_votes; r->n_votes++) {
        const struct whisper_vote *v = &report->votes[r->n_votes];
        const char *code = whisper_language_code(v->language);
        struct quality_vote vote = {.probability = v->probability,
                                    .start = v->start_seconds,
                                    .end = v->end_seconds};
        snprintf(vote.language, sizeof vote.language, "%s", code ? code : "");
        r->rc = quality_add_vote(&r->out->quality, &vote);
    }
}

static void take_figures(struct run *r)
{
    static const char *const detectors[] = {
        [WHISPER_DETECTOR_OFF] = "off",
        [WHISPER_DETECTOR_SILERO] = "silero",
        [WHISPER_DETECTOR_ENERGY] = "energy",
    };
    const struct whisper_report *report = &r->result->report;
    struct quality *q = &r->out->quality;
    take_votes(r);
    q->known = true;
    q->audio_seconds = report->audio_seconds;
    q->speech_seconds = report->speech_seconds;
    q->text_seconds = report->text_seconds;
    q->peak_dbfs = report->peak_dbfs;
    q->speech_dbfs = report->speech_dbfs;
    q->clipped_share = report->clipped_share;
    snprintf(q->detector, sizeof q->detector, "%s", detectors[report->detector]);
}

static void on_window(void *arg, int64_t next_frame, int64_t total_frames)
{
    struct run *r = arg;
    take_votes(r);
    /* A window whose text was lost is no checkpoint. */
    if (r->rc == 0 && r->callbacks && r->callbacks->window)
        r->callbacks->window(r->callbacks->arg, next_frame, total_frames);
}

static void on_ahead(void *arg, int64_t next_frame, const void *bytes, size_t length)
{
    const struct run *r = arg;
    if (r->rc == 0 && r->callbacks && r->callbacks->ahead)
        r->callbacks->ahead(r->callbacks->arg, next_frame, bytes, length);
}

static int restore_words(const struct transcript_segment *s, struct whisper_segment *copy)
{
    if (!s->words)
        return 0;
    copy->words = mem_array(s->n_words + 1, sizeof *copy->words);
    if (!copy->words)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->n_words; i++) {
        const struct transcript_word *w = &s->words[i];
        copy->words[i] = (struct whisper_word){.text = mem_strdup(w->text),
                                               .start_seconds = w->start,
                                               .end_seconds = w->end,
                                               .probability = w->probability};
        copy->n_words++;
        if (!copy->words[i].text)
            return ERR_NOMEM;
    }
    return 0;
}

/* The segments of an earlier attempt, as the engine knows them: it numbers on from them
 * and tells the model what was said before. */
static int restore(const struct transcript *t, struct whisper_result *result)
{
    if (t->n_segments == 0)
        return 0;
    int rc = mem_grow(&result->segments, &result->capacity, t->n_segments,
                      sizeof(*result->segments));
    for (size_t i = 0; rc == 0 && i < t->n_segments; i++) {
        const struct transcript_segment *s = &t->segments[i];
        struct whisper_segment *copy = &result->segments[result->n_segments];
        *copy = (struct whisper_segment){
            .id = s->id,
            .seek_frame = s->seek,
            .start_seconds = s->start,
            .end_seconds = s->end,
            .text = mem_strdup(s->text),
            .tokens = mem_array(s->n_tokens, sizeof(*s->tokens)),
            .n_tokens = s->n_tokens,
            .temperature = s->temperature,
            .avg_logprob = s->avg_logprob,
            .compression_ratio = s->compression_ratio,
            .no_speech_prob = s->no_speech_prob,
            .language = whisper_language_find(s->language[0] ? s->language : t->language),
        };
        result->n_segments++; /* also when memory is out: it frees what it has */
        if ((s->text && !copy->text) || (s->n_tokens && !copy->tokens))
            rc = ERR_NOMEM;
        else if (s->n_tokens)
            memcpy(copy->tokens, s->tokens, s->n_tokens * sizeof(*s->tokens));
        if (rc == 0)
            rc = restore_words(s, copy);
    }
    return rc;
}

static void describe(const struct transcribe_options *o, const struct media_info *info,
                     struct transcript *t)
{
    snprintf(t->task, sizeof(t->task), "%s",
             o->params.task == WHISPER_TRANSLATE ? "translate" : "transcribe");
    snprintf(t->model, sizeof(t->model), "%s", o->model_name ? o->model_name : "");
    t->duration = info->seconds;
    if (info->truncated)
        snprintf(
            t->warning, sizeof(t->warning),
            "The file is damaged or ends in the middle; the transcript covers the %.1f "
            "seconds that could be decoded.",
            info->seconds);
}

/* An earlier attempt has found the language. Whether its windows were heard each in its
 * own is told by its segments, where there are any: windows need not vote on it again. */
static void go_on(const struct transcribe_options *o, const struct transcript *t,
                  struct whisper_params *p)
{
    p->known_language = o->known_language;
    if (!o->known_language || t->n_segments == 0)
        return;
    if (t->segments[0].language[0])
        p->multilingual = true;
    else
        p->language = o->known_language;
}

static int hear(struct whisper_session *session, const struct pcm *pcm, struct run *r,
                struct err *e)
{
    const struct whisper_callbacks engine = {
        .arg = r,
        .cancelled = on_cancelled,
        .language = on_language,
        .segment = on_segment,
        .window = on_window,
        .ahead = on_ahead,
        .note = on_note,
    };
    struct whisper_params params = r->options->params;
    go_on(r->options, r->out, &params);

    struct whisper_result result;
    whisper_result_init(&result);
    r->result = &result;
    int rc = restore(r->out, &result);
    if (rc < 0)
        err_set(e, rc, "no memory is left for the transcript");
    else
        rc = whisper_transcribe(session, pcm->samples, pcm->count, &params, &engine,
                                &result, e);
    if (rc == 0 && r->rc == 0)
        take_figures(r);
    if (r->callbacks && r->callbacks->times)
        r->callbacks->times->engine = result.report.times;
    r->result = NULL;
    whisper_result_release(&result);
    if (r->rc < 0)
        return err_set(e, r->rc, "no memory is left for the transcript");
    return rc;
}

int transcribe_file(struct whisper_session *session, struct decoding *decoding,
                    const struct transcribe_options *options,
                    const struct transcribe_callbacks *callbacks, struct transcript *out,
                    struct err *e)
{
    struct run r = {
        .session = session, .options = options, .callbacks = callbacks, .out = out};
    struct pcm pcm = {0};
    struct media_info info;
    int64_t begun_ns = clock_monotonic_ns();
    int rc = media_finish(decoding, &pcm, &info, e);
    if (callbacks && callbacks->times)
        callbacks->times->decode = (double)(clock_monotonic_ns() - begun_ns) / 1e9;
    if (rc < 0)
        return rc;
    describe(options, &info, out);
    if (callbacks && callbacks->decoded)
        callbacks->decoded(callbacks->arg, &info, &pcm);
    rc =
        options->detect ? detect_into(session, &pcm, out, e) : hear(session, &pcm, &r, e);
    pcm_release(&pcm);
    return rc;
}
