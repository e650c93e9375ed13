/* The languages that the multilingual models know, in the order of their tokens: the
 * index of a language is the distance of its token from <|en|>. The last one, Cantonese,
 * came with large-v3. */
#include "base/mem.h"
#include "engine/whisper.h"

#include <strings.h>

struct language {
    const char *code, *name;
};

static const struct language languages[] = {
    {"en", "english"},     {"zh", "chinese"},    {"de", "german"},
    {"es", "spanish"},     {"ru", "russian"},    {"ko", "korean"},
    {"fr", "french"},      {"ja", "japanese"},   {"pt", "portuguese"},
    {"tr", "turkish"},     {"pl", "polish"},     {"ca", "catalan"},
    {"nl", "dutch"},       {"ar", "arabic"},     {"sv", "swedish"},
    {"it", "italian"},     {"id", "indonesian"}, {"hi", "hindi"},
    {"fi", "finnish"},     {"vi", "vietnamese"}, {"he", "hebrew"},
    {"uk", "ukrainian"},   {"el", "greek"},      {"ms", "malay"},
    {"cs", "czech"},       {"ro", "romanian"},   {"da", "danish"},
    {"hu", "hungarian"},   {"ta", "tamil"},      {"no", "norwegian"},
    {"th", "thai"},        {"ur", "urdu"},       {"hr", "croatian"},
    {"bg", "bulgarian"},   {"lt", "lithuanian"}, {"la", "latin"},
    {"mi", "maori"},       {"ml", "malayalam"},  {"cy", "welsh"},
    {"sk", "slovak"},      {"te", "telugu"},     {"fa", "persian"},
    {"lv", "latvian"},     {"bn", "bengali"},    {"sr", "serbian"},
    {"az", "azerbaijani"}, {"sl", "slovenian"},  {"kn", "kannada"},
    {"et", "estonian"},    {"mk", "macedonian"}, {"br", "breton"},
    {"eu", "basque"},      {"is", "icelandic"},  {"hy", "armenian"},
    {"ne", "nepali"},      {"mn", "mongolian"},  {"bs", "bosnian"},
    {"kk", "kazakh"},      {"sq", "albanian"},   {"sw", "swahili"},
    {"gl", "galician"},    {"mr", "marathi"},    {"pa", "punjabi"},
    {"si", "sinhala"},     {"km", "khmer"},      {"sn", "shona"},
    {"yo", "yoruba"},      {"so", "somali"},     {"af", "afrikaans"},
    {"oc", "occitan"},     {"ka", "georgian"},   {"be", "belarusian"},
    {"tg", "tajik"},       {"sd", "sindhi"},     {"gu", "gujarati"},
    {"am", "amharic"},     {"yi", "yiddish"},    {"lo", "lao"},
    {"uz", "uzbek"},       {"fo", "faroese"},    {"ht", "haitian creole"},
    {"ps", "pashto"},      {"tk", "turkmen"},    {"nn", "nynorsk"},
    {"mt", "maltese"},     {"sa", "sanskrit"},   {"lb", "luxembourgish"},
    {"my", "myanmar"},     {"bo", "tibetan"},    {"tl", "tagalog"},
    {"mg", "malagasy"},    {"as", "assamese"},   {"tt", "tatar"},
    {"haw", "hawaiian"},   {"ln", "lingala"},    {"ha", "hausa"},
    {"ba", "bashkir"},     {"jw", "javanese"},   {"su", "sundanese"},
    {"yue", "cantonese"},
};

/* Other names that the reference accepts. */
static const struct language aliases[] = {
    {"my", "burmese"},   {"es", "castilian"},     {"nl", "flemish"},
    {"ht", "haitian"},   {"lb", "letzeburgesch"}, {"zh", "mandarin"},
    {"ro", "moldavian"}, {"ro", "moldovan"},      {"pa", "panjabi"},
    {"ps", "pushto"},    {"si", "sinhalese"},     {"ca", "valencian"},
};

/* Codes that others use for a language of the list. */
static const struct language codes[] = {
    {"tl", "fil"}, {"no", "nb"}, {"jw", "jv"}, {"he", "iw"}, {"zh", "cmn"},
};

static int find_code(const char *code)
{
    for (size_t i = 0; i < ARRAY_LENGTH(languages); i++)
        if (!strcasecmp(code, languages[i].code))
            return (int)i;
    for (size_t i = 0; i < ARRAY_LENGTH(codes); i++)
        if (!strcasecmp(code, codes[i].name))
            return find_code(codes[i].code);
    return -1;
}

/* "en-US" and "pt_BR" are what people set. */
static int find_tag(const char *tag)
{
    char code[4];
    size_t length = strcspn(tag, "-_");
    if (!tag[length] || length >= sizeof code)
        return -1;
    memcpy(code, tag, length);
    code[length] = '\0';
    return find_code(code);
}

int whisper_language_find(const char *name)
{
    if (!name)
        return -1;
    int index = find_code(name);
    if (index < 0)
        index = find_tag(name);
    for (size_t i = 0; index < 0 && i < ARRAY_LENGTH(languages); i++)
        if (!strcasecmp(name, languages[i].name))
            index = (int)i;
    for (size_t i = 0; index < 0 && i < ARRAY_LENGTH(aliases); i++)
        if (!strcasecmp(name, aliases[i].name))
            index = find_code(aliases[i].code);
    return index;
}

int whisper_language_count(void)
{
    return (int)ARRAY_LENGTH(languages);
}

const char *whisper_language_code(int index)
{
    return index < 0 || index >= whisper_language_count() ? NULL : languages[index].code;
}

const char *whisper_language_name(int index)
{
    return index < 0 || index >= whisper_language_count() ? NULL : languages[index].name;
}
