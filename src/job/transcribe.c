/* Decode, hear, write down. The engine's segments become the transcript's as they come,
 * so that the transcript is of use at every moment: after an error or a cancellation it
 * holds what was finished. */
#include "job/transcribe.h"

#include "base/mem.h"

struct run {
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

static void on_segment(void *arg, const struct whisper_segment *s)
{
    struct run *r = arg;
    const struct transcript_segment segment = {
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
    };
    if (r->rc == 0)
        r->rc = transcript_add(r->out, &segment);
    if (r->rc == 0 && r->callbacks && r->callbacks->segment)
        r->callbacks->segment(r->callbacks->arg, &segment);
}

static void on_window(void *arg, int64_t next_frame, int64_t total_frames)
{
    const struct run *r = arg;
    /* A window whose text was lost is no checkpoint. */
    if (r->rc == 0 && r->callbacks && r->callbacks->window)
        r->callbacks->window(r->callbacks->arg, next_frame, total_frames);
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
        };
        result->n_segments++; /* also when memory is out: it frees what it has */
        if ((s->text && !copy->text) || (s->n_tokens && !copy->tokens))
            rc = ERR_NOMEM;
        else if (s->n_tokens)
            memcpy(copy->tokens, s->tokens, s->n_tokens * sizeof(*s->tokens));
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

static int hear(struct whisper_session *session, const struct pcm *pcm, struct run *r,
                struct err *e)
{
    const struct whisper_callbacks engine = {
        .arg = r,
        .cancelled = on_cancelled,
        .language = on_language,
        .segment = on_segment,
        .window = on_window,
    };
    struct whisper_params params = r->options->params;
    if (r->options->known_language)
        params.language = r->options->known_language;

    struct whisper_result result;
    whisper_result_init(&result);
    int rc = restore(r->out, &result);
    if (rc < 0)
        err_set(e, rc, "no memory is left for the transcript");
    else
        rc = whisper_transcribe(session, pcm->samples, pcm->count, &params, &engine,
                                &result, e);
    whisper_result_release(&result);
    if (r->rc < 0)
        return err_set(e, r->rc, "no memory is left for the transcript");
    return rc;
}

int transcribe_file(struct whisper_session *session, int fd,
                    const struct transcribe_options *options,
                    const struct transcribe_callbacks *callbacks, struct transcript *out,
                    struct err *e)
{
    struct run r = {.options = options, .callbacks = callbacks, .out = out};
    struct media_limits limits = options->limits;
    if (callbacks && callbacks->cancelled && !limits.cancelled) {
        limits.cancelled = callbacks->cancelled;
        limits.cancelled_arg = callbacks->arg;
    }
    struct pcm pcm = {0};
    struct media_info info;
    int rc = media_decode(fd, &limits, &pcm, &info, e);
    if (rc < 0)
        return rc;
    describe(options, &info, out);
    if (callbacks && callbacks->decoded)
        callbacks->decoded(callbacks->arg, &info);
    rc = hear(session, &pcm, &r, e);
    pcm_release(&pcm);
    return rc;
}
