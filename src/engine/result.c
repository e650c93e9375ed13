/* Results: plain data. */
#include "engine/whisper.h"

void whisper_result_init(struct whisper_result *r)
{
    *r = (struct whisper_result){.language = -1};
}

void whisper_segment_release(struct whisper_segment *s)
{
    for (size_t i = 0; i < s->n_words; i++)
        free(s->words[i].text);
    free(s->words);
    free(s->text);
    free(s->tokens);
    free(s->logprobs);
    *s = (struct whisper_segment){0};
}

static void report_release(struct whisper_report *r)
{
    for (size_t i = 0; i < r->n_notes; i++)
        free(r->notes[i].text);
    free(r->notes);
    free(r->votes);
}

void whisper_result_release(struct whisper_result *r)
{
    for (size_t i = 0; i < r->n_segments; i++)
        whisper_segment_release(&r->segments[i]);
    free(r->segments);
    report_release(&r->report);
    whisper_result_init(r);
}
