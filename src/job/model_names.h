/* What a model's name says of it. */
#ifndef JOB_MODEL_NAMES_H
#define JOB_MODEL_NAMES_H

#include <stdbool.h>

/* "base.en", "small.en-q5_1": one that knows only English. */
bool model_name_is_english(const char *model);
/* It knows the languages 0 … n - 1 of whisper_language_code: 1, 99, or 100. */
int model_name_languages(const char *model);

#endif
