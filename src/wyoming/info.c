#include "wyoming/info.h"

#include "base/mem.h"
#include "catalog/catalog.h"
#include "engine/whisper.h"
#include "job/model_names.h"

static json_t *languages_of(const char *model)
{
    json_t *list = json_array();
    int count = model_name_languages(model);
    for (int i = 0; i < count; i++)
        (void)json_array_append_new(list, json_string(whisper_language_code(i)));
    return list;
}

static json_t *describe(const char *model)
{
    return json_pack(
        "{s:s, s:s, s:b, s:s, s:{s:s, s:s}, s:o}", "name", model, "description", model,
        "installed", 1, "version", WT_VERSION, "attribution", "name", "OpenAI", "url",
        "https://github.com/openai/whisper", "languages", languages_of(model));
}

static json_t *describe_all(const struct config *c)
{
    struct catalog_present *present = NULL;
    size_t count = 0;
    char first[64] = "";
    json_t *list = json_array();
    (void)catalog_default(c, first, NULL);
    (void)catalog_list(c, &present, &count, NULL);
    if (first[0])
        (void)json_array_append_new(list, describe(first));
    for (size_t i = 0; i < count; i++)
        if (strcmp(present[i].name, first) != 0)
            (void)json_array_append_new(list, describe(present[i].name));
    free(present);
    return list;
}

/* Clients of the published library look into every one of these lists. What is preferred
 * is what they take for granted of a program that does not say. */
json_t *wyoming_info(const struct config *c)
{
    return json_pack("{s:[{s:s, s:s, s:b, s:s, s:{s:s, s:s}, s:o, s:b, s:b, s:b, "
                     "s:b}], s:[], s:[], s:[], s:[], "
                     "s:[], s:[]}",
                     "asr", "name", WYOMING_PROGRAM, "description",
                     "Whisper speech to text", "installed", 1, "version", WT_VERSION,
                     "attribution", "name", WYOMING_PROGRAM, "url",
                     "https://github.com/openai/whisper", "models", describe_all(c),
                     "supports_transcript_streaming", 1, "requires_external_vad", 1,
                     "prefers_auto_gain_enabled", 1, "prefers_noise_reduction_enabled", 1,
                     "tts", "handle", "intent", "wake", "mic", "snd");
}
