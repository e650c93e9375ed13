#include "job/model_names.h"

#include "base/mem.h"
#include "engine/whisper.h"

bool model_name_is_english(const char *model)
{
    const char *dot = strstr(model, ".en");
    return dot && (dot[3] == '\0' || dot[3] == '-');
}

/* Cantonese came with the third large model, behind all others. */
int model_name_languages(const char *model)
{
    int all = whisper_language_count();
    if (model_name_is_english(model))
        return 1;
    return strstr(model, "large-v3") ? all : all - 1;
}
