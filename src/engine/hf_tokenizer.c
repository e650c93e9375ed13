/* Hugging Face writes a token's bytes as characters: a printable byte of Latin-1 is
 * itself, every other one is the next free character from U+0100 on. */
#include "engine/hf_tokenizer.h"

#include "base/mem.h"
#include "engine/hf_json.h"
#include "engine/tokenizer.h"

#define MAX_TOKENIZER_BYTES (64u << 20)
#define MAX_TOKEN_BYTES     1024
#define ESCAPES             (256 + 68) /* 68 bytes are not printable */

struct vocabulary {
    struct model_source *source; /* borrowed */
    int16_t byte_of[ESCAPES];    /* character to byte, -1: none */
    const char **texts;          /* owned [n_ordinary]: borrowed from the JSON */
    bool *specials;              /* owned [n_vocab]: seen */
    int n_vocab, n_ordinary;
};

static bool is_printable(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

static void set_escapes(int16_t byte_of[ESCAPES])
{
    for (int i = 0; i < ESCAPES; i++)
        byte_of[i] = -1;
    int escaped = 256;
    for (int byte = 0; byte < 256; byte++)
        byte_of[is_printable(byte) ? byte : escaped++] = (int16_t)byte;
}

/* The bytes that `text` (valid UTF-8) stands for, appended at out[*used]. All characters
 * below U+0144 have at most two bytes. */
static bool unescape(const struct vocabulary *v, const char *text, uint8_t *out,
                     size_t *used)
{
    const uint8_t *at = (const uint8_t *)text;
    while (*at) {
        unsigned character = *at++;
        if (character >= 0xE0)
            return false;
        if (character >= 0xC0)
            character = (character & 0x1F) << 6 | (*at++ & 0x3F);
        if (character >= ESCAPES || v->byte_of[character] < 0)
            return false;
        out[(*used)++] = (uint8_t)v->byte_of[character];
    }
    return true;
}

/* ---- special tokens -------------------------------------------------------------- */

static int check_special(struct vocabulary *v, const char *text, json_int_t id,
                         struct err *e)
{
    char expected[SPECIAL_NAME_SIZE], shown[HF_SHOWN_SIZE];
    const struct whisper_config *c = &v->source->plan->config;
    if (id < v->n_ordinary || id >= v->n_vocab)
        return err_set(e, ERR_UNSUPPORTED,
                       "the token \"%s\" has the id %lld, which no special token of a "
                       "vocabulary of %d has",
                       hf_shown(text, shown), (long long)id, v->n_vocab);
    special_token_name(c, (int32_t)id, expected);
    bool same = !strcmp(text, expected) ||
                (!strcmp(expected, "<|nospeech|>") && !strcmp(text, "<|nocaptions|>"));
    if (!same)
        return err_set(e, ERR_UNSUPPORTED,
                       "the token %lld is \"%s\" where Whisper has \"%s\"", (long long)id,
                       hf_shown(text, shown), expected);
    v->specials[id] = true;
    return 0;
}

static int check_needed(const struct vocabulary *v, struct err *e)
{
    struct special_tokens s;
    char name[SPECIAL_NAME_SIZE];
    special_tokens_of(&v->source->plan->config, &s);
    const int32_t needed[] = {s.eot, s.sot, s.transcribe, s.no_timestamps};
    for (size_t i = 0; i < ARRAY_LENGTH(needed); i++)
        if (!v->specials[needed[i]])
            return err_set(e, ERR_CORRUPT, "the tokenizer has no token %s",
                           special_token_name(&v->source->plan->config, needed[i], name));
    return 0;
}

/* An entry of "added_tokens": {"id": 50257, "content": "<|endoftext|>", …}. Tokens that
 * are ordinary by their id are in the vocabulary as well, and are checked there. */
static int check_added(struct vocabulary *v, const json_t *list, struct err *e)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const json_t *id = json_object_get(entry, "id");
        const char *text = json_string_value(json_object_get(entry, "content"));
        if (!json_is_integer(id) || !text)
            return err_set(e, ERR_CORRUPT,
                           "entry %zu of added_tokens has no id or no content", i);
        json_int_t value = json_integer_value(id);
        if (value >= 0 && value < v->n_ordinary && strncmp(text, "<|", 2) != 0)
            continue;
        int status = check_special(v, text, value, e);
        if (status)
            return status;
    }
    return 0;
}

/* added_tokens.json: {"<|startoftranscript|>": 50258, …}. */
static int check_added_file(struct vocabulary *v, json_t *tokens, struct err *e)
{
    const char *text;
    json_t *id;
    json_object_foreach(tokens, text, id)
    {
        int status = check_special(v, text, json_integer_value(id), e);
        if (status)
            return status;
    }
    return 0;
}

/* ---- ordinary tokens ------------------------------------------------------------- */

static int collect(struct vocabulary *v, json_t *vocab, struct err *e)
{
    const char *text;
    char shown[HF_SHOWN_SIZE];
    json_t *value;
    json_object_foreach(vocab, text, value)
    {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id >= v->n_vocab)
            return err_set(e, ERR_CORRUPT, "the token \"%s\" has no id from 0 to %d",
                           hf_shown(text, shown), v->n_vocab - 1);
        if (id >= v->n_ordinary) {
            int status = check_special(v, text, id, e);
            if (status)
                return status;
        } else if (v->texts[id]) {
            return err_set(e, ERR_CORRUPT, "two tokens have the id %d", (int)id);
        } else {
            v->texts[id] = text;
        }
    }
    return 0;
}

static int store(struct vocabulary *v, struct err *e)
{
    struct model_source *s = v->source;
    size_t most = 0, used = 0;
    for (int i = 0; i < v->n_ordinary; i++) {
        size_t length = v->texts[i] ? strlen(v->texts[i]) : 0;
        if (length > MAX_TOKEN_BYTES)
            return err_set(e, ERR_CORRUPT, "the token %d is %zu bytes long", i, length);
        /* The multilingual vocabulary ends with an empty filler. */
        if (!v->texts[i] && !(s->plan->config.multilingual && i == v->n_ordinary - 1))
            return err_set(e, ERR_CORRUPT, "no token has the id %d", i);
        most += length;
    }
    s->vocab_offsets = mem_array((size_t)v->n_vocab + 1, sizeof *s->vocab_offsets);
    s->vocab_bytes = mem_array(most, 1);
    if (!s->vocab_offsets || !s->vocab_bytes)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (int i = 0; i < v->n_vocab; i++) {
        const char *text = i < v->n_ordinary ? v->texts[i] : NULL;
        if (text && !unescape(v, text, s->vocab_bytes, &used))
            return err_set(e, ERR_CORRUPT,
                           "the token %d has a character that stands for no byte", i);
        s->vocab_offsets[i + 1] = (uint32_t)used;
    }
    return 0;
}

/* A merge is "a b", or ["a", "b"] in newer files. */
static bool join_merge(const json_t *merge, char *out, size_t size)
{
    const char *text = json_string_value(merge);
    const char *space = text ? strchr(text, ' ') : NULL;
    int n = -1;
    if (space)
        n = snprintf(out, size, "%.*s%s", (int)(space - text), text, space + 1);
    else if (json_array_size(merge) == 2)
        n = snprintf(out, size, "%s%s", json_string_value(json_array_get(merge, 0)) ?: "",
                     json_string_value(json_array_get(merge, 1)) ?: "");
    return n > 0 && (size_t)n < size;
}

static int check_merges(const json_t *vocab, const json_t *merges, struct err *e)
{
    size_t i;
    json_t *merge;
    char joined[2 * MAX_TOKEN_BYTES + 1];
    json_array_foreach(merges, i, merge)
    {
        if (!join_merge(merge, joined, sizeof joined))
            return err_set(e, ERR_CORRUPT, "merge %zu is not a pair of tokens", i);
        if (json_integer_value(json_object_get(vocab, joined)) != (json_int_t)(256 + i))
            return err_set(
                e, ERR_UNSUPPORTED,
                "merge %zu does not make the token %zu: this tokenizer is not one "
                "of Whisper's",
                i, 256 + i);
    }
    return 0;
}

/* ---- files ------------------------------------------------------------------------ */

static int read_tokenizer_json(struct vocabulary *v, json_t *root, struct err *e)
{
    json_t *model = json_object_get(root, "model");
    json_t *vocab = json_object_get(model, "vocab");
    const char *type = json_string_value(json_object_get(model, "type"));
    if (!json_is_object(vocab) || (type && strcmp(type, "BPE") != 0))
        return err_set(e, ERR_UNSUPPORTED, "it has no vocabulary of byte pairs");
    int status = collect(v, vocab, e);
    if (!status)
        status = check_merges(vocab, json_object_get(model, "merges"), e);
    if (!status)
        status = check_added(v, json_object_get(root, "added_tokens"), e);
    return status ? status : store(v, e);
}

static int read_old_files(struct vocabulary *v, json_t *vocab, const char *folder,
                          struct err *e)
{
    json_t *added = NULL;
    int status = collect(v, vocab, e);
    if (!status && hf_exists(folder, "added_tokens.json"))
        status =
            hf_read_json(&added, folder, "added_tokens.json", MAX_TOKENIZER_BYTES, e);
    if (!status)
        status = check_added_file(v, added, e);
    json_decref(added);
    return status ? status : store(v, e);
}

static int read_files(struct vocabulary *v, const char *folder, struct err *e)
{
    bool old = !hf_exists(folder, "tokenizer.json") && hf_exists(folder, "vocab.json");
    const char *name = old ? "vocab.json" : "tokenizer.json";
    json_t *root = NULL;
    int status = hf_read_json(&root, folder, name, MAX_TOKENIZER_BYTES, e);
    if (status)
        return status;
    status = old ? read_old_files(v, root, folder, e) : read_tokenizer_json(v, root, e);
    if (!status)
        status = check_needed(v, e);
    if (status)
        err_prefix(e, "%s/%s", folder, name);
    json_decref(root);
    return status;
}

int hf_read_tokenizer(struct model_source *s, const char *folder, struct err *e)
{
    struct vocabulary v = {
        .source = s,
        .n_vocab = s->plan->config.n_vocab,
        .n_ordinary = config_ordinary_tokens(&s->plan->config),
    };
    set_escapes(v.byte_of);
    v.texts = mem_array((size_t)v.n_ordinary, sizeof *v.texts);
    v.specials = mem_array((size_t)v.n_vocab, sizeof *v.specials);
    int status = v.texts && v.specials ? read_files(&v, folder, e)
                                       : err_set(e, ERR_NOMEM, "out of memory");
    free(v.texts);
    free(v.specials);
    return status;
}
