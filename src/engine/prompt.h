/* What the model is told before it hears a window. */
#ifndef ENGINE_PROMPT_H
#define ENGINE_PROMPT_H

#include "engine/tokenizer.h"

/* The texts of the parameters as tokens: " " and the trimmed text, as words within a text
 * begin with a space. */
struct prompt_texts {
    int32_t *initial, *hotwords, *prefix; /* owned, or NULL where there are none */
    size_t n_initial, n_hotwords, n_prefix;
};
int prompt_texts_init(struct prompt_texts *t, const struct tokenizer *tokenizer,
                      const struct whisper_params *p, struct err *e);
void prompt_texts_release(struct prompt_texts *t);

/* What holds for a whole recording; all is borrowed. */
struct prompt_context {
    const struct special_tokens *special;
    const struct whisper_params *params;
    const struct prompt_texts *texts;
    size_t n_text_ctx; /* of the model, at least 16 */
    /* What was said before the window, when that is known and not what the segments say;
     * no initial prompt is told then. Borrowed [n_said], or NULL. */
    const int32_t *said;
    size_t n_said;
};

struct prompt {
    int32_t *tokens; /* borrowed, in: room for n_text_ctx */
    size_t count;
    size_t sot;     /* tokens[sot] is start-of-transcript */
    size_t n_given; /* so many at the end begin the text already: the prefix */
};

/* The prompt of a window behind the segments [n_segments]: <|startofprev|>, hot words and
 * what was said before (`said`, of which the end counts, else prompt_history), where
 * there is any, in at most half the context together; <|startoftranscript|>; of a
 * multilingual model language and task;
 * <|notimestamps|> where none are wanted. While there is no segment yet: <|0.00|> and the
 * prefix, which takes no more than half of what is left. */
void prompt_write(const struct prompt_context *c, int language,
                  const struct whisper_segment *segments, size_t n_segments,
                  struct prompt *out);

/* What the model is told that was said before: the end of `initial` [n_initial] and the
 * tokens of the segments (none but the last `max`), into out [max]. Returns their number.
 *
 * Without condition_on_previous_text only the first window that has text hears the
 * initial prompt. With it, everything before a segment that took a temperature above
 * prompt_reset_on_temperature, or that no temperature made good enough, is forgotten:
 * such text is too unsure to build on. It depends on the finished segments alone, so that
 * a recording that is gone on with sounds the same as one that was never interrupted. */
size_t prompt_history(const struct whisper_params *p,
                      const struct whisper_segment *segments, size_t n_segments,
                      const int32_t *initial, size_t n_initial, int32_t *out, size_t max);

#endif
