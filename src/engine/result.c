/* Results: plain data. */
#include "engine/whisper.h"

void whisper_result_init(struct whisper_result *r)
{
    *r = (struct whisper_result){.language = -1};
}

void whisper_result_release(struct whisper_result *r)
{
    for (size_t i = 0; i < r->n_segments; i++) {
        free(r->segments[i].text);
        free(r->segments[i].tokens);
    }
    free(r->segments);
    whisper_result_init(r);
}
