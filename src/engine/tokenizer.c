#include "engine/tokenizer.h"

#include "base/buf.h"
#include "base/mem.h"
#include "engine/bpe.h"
#include "engine/model_source.h"
#include "engine/utf8.h"

/* Language tokens of the vocabulary; the English one has those of the first 99 too,
 * though it never uses them. */
#define ENGLISH_VOCABULARY_LANGUAGES 99

struct tokenizer {
    const struct whisper_model *model; /* borrowed */
    struct bpe *bpe;                   /* owned */
    struct special_tokens specials;
    int32_t *non_speech; /* owned [n_non_speech], ascending */
    size_t n_non_speech;
    int32_t blank;
};

/* What is written but not spoken: suppressed where it is one token by itself or after a
 * space. */
static const char *const symbols[] = {
    "\"",  "#",  "(",  ")",   "*",   "+",   "/",   ":",  ";",   "<",  "=",   ">",
    "@",   "[",  "\\", "]",   "^",   "_",   "`",   "{",  "|",   "}",  "~",   "「",
    "」",  "『", "』", "<<",  ">>",  "<<<", ">>>", "--", "---", "-(", "-[",  "('",
    "(\"", "((", "))", "(((", ")))", "[[",  "]]",  "{{", "}}",  "♪♪", "♪♪♪",
};

/* Notes and signs of music: their first token is suppressed even when they are several,
 * because they share it with signs that nobody speaks either. */
static const char *const music[] = {"♩", "♪", "♫", "♬", "♭", "♮", "♯"};

/* Allowed inside words, suppressed at the beginning of one. */
static const char *const word_begins[] = {" -", " '"};

void special_tokens_of(const struct whisper_config *c, struct special_tokens *s)
{
    int languages = c->multilingual ? c->n_languages : ENGLISH_VOCABULARY_LANGUAGES;
    s->eot = config_ordinary_tokens(c);
    s->sot = s->eot + 1;
    s->translate = s->sot + 1 + languages;
    s->transcribe = s->translate + 1;
    s->sot_lm = s->translate + 2;
    s->sot_prev = s->translate + 3;
    s->no_speech = s->translate + 4;
    s->no_timestamps = s->translate + 5;
    s->timestamp_begin = s->translate + 6;
    s->language_begin = c->multilingual ? s->sot + 1 : -1;
    s->n_languages = c->multilingual ? languages : 0;
}

const char *special_token_name(const struct whisper_config *c, int32_t id,
                               char out[SPECIAL_NAME_SIZE])
{
    /* From <|translate|> on, as the ids go. */
    static const char *const names[] = {"translate",   "transcribe", "startoflm",
                                        "startofprev", "nospeech",   "notimestamps"};
    struct special_tokens s;
    special_tokens_of(c, &s);
    out[0] = '\0';
    if (id < s.eot || id >= c->n_vocab)
        return out;
    if (id == s.eot)
        (void)snprintf(out, SPECIAL_NAME_SIZE, "<|endoftext|>");
    else if (id == s.sot)
        (void)snprintf(out, SPECIAL_NAME_SIZE, "<|startoftranscript|>");
    else if (id < s.translate)
        (void)snprintf(out, SPECIAL_NAME_SIZE, "<|%s|>",
                       whisper_language_code(id - s.sot - 1));
    else if (id < s.timestamp_begin)
        (void)snprintf(out, SPECIAL_NAME_SIZE, "<|%s|>", names[id - s.translate]);
    else
        (void)snprintf(out, SPECIAL_NAME_SIZE, "<|%.2f|>",
                       0.02 * (id - s.timestamp_begin));
    return out;
}

/* ---- tokens that are not speech ---------------------------------------------------- */

struct id_list {
    int32_t *ids;
    size_t count, capacity;
};

/* Add the first token of prefix + text; unless `always`, only when it is the only one. */
static int add_first(const struct tokenizer *t, struct id_list *list, const char *prefix,
                     const char *text, bool always, struct err *e)
{
    char whole[16];
    int length = snprintf(whole, sizeof whole, "%s%s", prefix, text);
    size_t before = list->count;
    int status = tokenizer_encode(t, whole, (size_t)length, &list->ids, &list->count,
                                  &list->capacity, e);
    if (status)
        return status;
    bool wanted = always || list->count - before == 1;
    list->count = before + (wanted && list->count > before);
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void sort_unique(struct id_list *list)
{
    qsort(list->ids, list->count, sizeof *list->ids, compare_ids);
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (kept == 0 || list->ids[i] != list->ids[kept - 1])
            list->ids[kept++] = list->ids[i];
    list->count = kept;
}

static int add_symbols(const struct tokenizer *t, struct id_list *list, struct err *e)
{
    int status = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(word_begins) && !status; i++)
        status = add_first(t, list, "", word_begins[i], true, e);
    for (size_t i = 0; i < 2 * ARRAY_LENGTH(symbols) && !status; i++)
        status = add_first(t, list, i % 2 ? " " : "", symbols[i / 2], false, e);
    for (size_t i = 0; i < 2 * ARRAY_LENGTH(music) && !status; i++)
        status = add_first(t, list, i % 2 ? " " : "", music[i / 2], true, e);
    return status;
}

static int list_non_speech(struct tokenizer *t, struct err *e)
{
    const struct special_tokens *s = &t->specials;
    const int32_t never[] = {s->transcribe, s->translate, s->sot,
                             s->sot_prev,   s->sot_lm,    s->no_speech};
    struct id_list list = {0};
    int status = add_symbols(t, &list, e);
    if (!status && mem_grow(&list.ids, &list.capacity, list.count + ARRAY_LENGTH(never),
                            sizeof *list.ids))
        status = err_set(e, ERR_NOMEM, "out of memory");
    if (status) {
        free(list.ids);
        return status;
    }
    memcpy(list.ids + list.count, never, sizeof never);
    list.count += ARRAY_LENGTH(never);
    sort_unique(&list);
    t->non_speech = list.ids;
    t->n_non_speech = list.count;
    return 0;
}

static int find_blank(struct tokenizer *t, struct err *e)
{
    struct id_list list = {0};
    int status = tokenizer_encode(t, " ", 1, &list.ids, &list.count, &list.capacity, e);
    if (!status)
        t->blank = list.ids[0];
    free(list.ids);
    return status;
}

/* ---- public ------------------------------------------------------------------------ */

int tokenizer_open(struct tokenizer **out, const struct whisper_model *m, struct err *e)
{
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "out of memory");
    t->model = m;
    special_tokens_of(&m->config, &t->specials);
    int status = bpe_open(&t->bpe, m, t->specials.eot, e);
    if (!status)
        status = list_non_speech(t, e);
    if (!status)
        status = find_blank(t, e);
    if (status) {
        tokenizer_close(t);
        return status;
    }
    *out = t;
    return 0;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    bpe_close(t->bpe);
    free(t->non_speech);
    free(t);
}

const struct special_tokens *tokenizer_specials(const struct tokenizer *t)
{
    return &t->specials;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t length,
                     int32_t **out, size_t *count, size_t *capacity, struct err *e)
{
    struct buf valid;
    size_t most;
    if (!size_mul(length, 3, &most) || !size_add(most, 1, &most))
        return err_set(e, ERR_TOO_LARGE, "the text is too long to be cut into tokens");
    buf_init(&valid, most);
    utf8_repair(&valid, text, length);
    int status = buf_failed(&valid) ? err_set(e, ERR_NOMEM, "out of memory")
                                    : bpe_encode(t->bpe, buf_cstr(&valid), valid.length,
                                                 out, count, capacity, e);
    buf_release(&valid);
    return status;
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *length)
{
    *length = 0;
    if (id < 0 || id >= t->specials.eot)
        return "";
    const uint32_t *offsets = t->model->vocab_offsets;
    *length = offsets[id + 1] - offsets[id];
    return (const char *)t->model->vocab_bytes + offsets[id];
}

char *tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count)
{
    struct buf raw, text;
    size_t length;
    buf_init(&raw, SIZE_MAX / 4);
    for (size_t i = 0; i < count; i++) {
        const char *piece = tokenizer_piece(t, ids[i], &length);
        buf_add(&raw, piece, length);
    }
    buf_init(&text, SIZE_MAX / 4);
    utf8_repair(&text, buf_cstr(&raw), raw.length);
    char *out = buf_failed(&raw) ? NULL : buf_take(&text);
    buf_release(&raw);
    buf_release(&text);
    return out;
}

const int32_t *tokenizer_non_speech(const struct tokenizer *t, size_t *count)
{
    *count = t->n_non_speech;
    return t->non_speech;
}

int32_t tokenizer_blank(const struct tokenizer *t)
{
    return t->blank;
}
