/* What the model is told before it hears a window. */
#ifndef ENGINE_PROMPT_H
#define ENGINE_PROMPT_H

#include "engine/tokenizer.h"

/* The prompt of a window: <|startofprev|> and what was said before (history [n_history],
 * where there is any), <|startoftranscript|>, and for a multilingual model language and
 * task; <|notimestamps|> where none are wanted. Returns the number of tokens and where
 * start-of-transcript is; `out` has room for n_history + 5. */
size_t prompt_build(const struct special_tokens *special, int language,
                    const struct whisper_params *p, const int32_t *history,
                    size_t n_history, int32_t *out, size_t *sot);

/* What the model is told that was said before: the end of `initial` [n_initial] and the
 * tokens of the segments (none but the last `max`), into out [max]. Returns their number.
 *
 * Without condition_on_previous_text only the first window that has text hears the
 * initial prompt. With it, everything before a segment that took a temperature above 0.5,
 * or that no temperature made good enough, is forgotten: such text is too unsure to build
 * on. It depends on the finished segments alone, so that a recording that is gone on with
 * sounds the same as one that was never interrupted. */
size_t prompt_history(const struct whisper_params *p,
                      const struct whisper_segment *segments, size_t n_segments,
                      const int32_t *initial, size_t n_initial, int32_t *out, size_t max);

#endif
