#include "job/detect.h"

#include "base/mem.h"

/* A long recording is heard in so many excerpts, evenly spread, because a film may begin
 * with minutes of music: five minutes of sound tell as much as all of it, and sooner. */
#define EXCERPTS        6
#define EXCERPT_SAMPLES ((size_t)50 * WHISPER_SAMPLE_RATE)
#define HEARD_SAMPLES   (EXCERPTS * EXCERPT_SAMPLES)

/* The excerpts of a recording that is longer than they are, one behind the other. */
static float *take_excerpts(const struct pcm *pcm)
{
    float *out = mem_array(HEARD_SAMPLES, sizeof *out);
    size_t last = pcm->count - EXCERPT_SAMPLES;
    for (size_t i = 0; out && i < EXCERPTS; i++) {
        size_t from = last / (EXCERPTS - 1) * i;
        memcpy(out + i * EXCERPT_SAMPLES, pcm->samples + from,
               EXCERPT_SAMPLES * sizeof *out);
    }
    return out;
}

static void write_down(const float *probabilities, int language, struct transcript *out)
{
    int known = 0;
    bool differ = false;
    for (int i = 0; i < whisper_language_count(); i++) {
        known += probabilities[i] > 0;
        differ |= probabilities[i] > 0 && probabilities[i] < probabilities[language];
    }
    if (known > 1 && !differ) /* all the same: nobody has spoken */
        return;
    (void)snprintf(out->language, sizeof out->language, "%s",
                   whisper_language_code(language));
    (void)snprintf(out->language_name, sizeof out->language_name, "%s",
                   whisper_language_name(language));
    out->language_probability = (double)probabilities[language];
}

int detect_into(struct whisper_session *session, const struct pcm *pcm,
                struct transcript *out, struct err *e)
{
    const float *samples = pcm->samples;
    size_t count = pcm->count;
    float *excerpts = NULL;
    int language = -1;
    float *probabilities =
        mem_array((size_t)whisper_language_count(), sizeof *probabilities);
    if (count > HEARD_SAMPLES) {
        samples = excerpts = take_excerpts(pcm);
        count = HEARD_SAMPLES;
    }
    int status = probabilities && (samples || !count)
                     ? whisper_detect_language(session, samples, count, &language,
                                               probabilities, e)
                     : err_set(e, ERR_NOMEM, "no memory is left to tell the language");
    if (!status)
        write_down(probabilities, language, out);
    (void)snprintf(out->task, sizeof out->task, JOB_TASK_DETECT);
    free(excerpts);
    free(probabilities);
    return status;
}
