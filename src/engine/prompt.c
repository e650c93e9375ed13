#include "engine/prompt.h"

#include "engine/fallback.h"

size_t prompt_build(const struct special_tokens *special, int language,
                    const struct whisper_params *p, const int32_t *history,
                    size_t n_history, int32_t *out, size_t *sot)
{
    size_t n = 0;
    if (n_history > 0) {
        out[n++] = special->sot_prev;
        for (size_t i = 0; i < n_history; i++)
            out[n++] = history[i];
    }
    *sot = n;
    out[n++] = special->sot;
    if (special->language_begin >= 0) {
        out[n++] = special->language_begin + language;
        out[n++] =
            p->task == WHISPER_TRANSLATE ? special->translate : special->transcribe;
    }
    if (p->without_timestamps)
        out[n++] = special->no_timestamps;
    return n;
}

static const float unsure_temperature = 0.5f;

/* Is the text of a segment too unsure to build on? */
static bool is_unsure(const struct whisper_params *p, const struct whisper_segment *s)
{
    const struct attempt a = {
        .temperature = s->temperature,
        .avg_logprob = s->avg_logprob,
        .compression_ratio = s->compression_ratio,
        .no_speech_prob = s->no_speech_prob,
    };
    return s->temperature > unsure_temperature || fallback_needed(p, &a);
}

size_t prompt_history(const struct whisper_params *p,
                      const struct whisper_segment *segments, size_t n_segments,
                      const int32_t *initial, size_t n_initial, int32_t *out, size_t max)
{
    size_t first = n_segments;
    while (p->condition_on_previous_text && first > 0 &&
           !is_unsure(p, &segments[first - 1]))
        first--;

    size_t total = first == 0 ? n_initial : 0;
    for (size_t i = first; i < n_segments; i++)
        total += segments[i].n_tokens;
    size_t skip = total > max ? total - max : 0, n = 0;

    for (size_t j = 0; first == 0 && j < n_initial; j++) {
        if (skip > 0)
            skip--;
        else
            out[n++] = initial[j];
    }
    for (size_t i = first; i < n_segments; i++) {
        for (size_t j = 0; j < segments[i].n_tokens; j++) {
            if (skip > 0)
                skip--;
            else
                out[n++] = segments[i].tokens[j];
        }
    }
    return n;
}
