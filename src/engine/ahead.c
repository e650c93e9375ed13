#include "engine/ahead.h"

#include "base/mem.h"

#include <math.h>

#define VERSION 1

/* ---- writing ----------------------------------------------------------------------- */

static void put(struct buf *b, uint64_t value, size_t bytes)
{
    unsigned char out[8];
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> (8 * i));
    buf_add(b, out, bytes);
}

static void put_32(struct buf *b, int64_t value)
{
    put(b, (uint64_t)value, 4);
}

static void put_64(struct buf *b, int64_t value)
{
    put(b, (uint64_t)value, 8);
}

static void put_float(struct buf *b, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put(b, bits, 4);
}

static void put_double(struct buf *b, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put(b, bits, 8);
}

/* A length, and the text; 0 for none, 1 for "". */
static void put_text(struct buf *b, const char *text)
{
    size_t length = text ? strlen(text) : 0;
    put_32(b, text ? (int64_t)length + 1 : 0);
    buf_add(b, text, length);
}

static void put_window(struct buf *b, const struct window *window)
{
    put_64(b, window->at);
    put_32(b, window->frames);
}

static void put_tokens(struct buf *b, const int32_t *tokens, size_t count)
{
    put_32(b, (int64_t)count);
    for (size_t i = 0; i < count; i++)
        put_32(b, tokens[i]);
}

static void put_heard(struct buf *b, const struct heard *h)
{
    put_window(b, &h->window);
    put(b, (h->is_void ? 1u : 0u) | (h->silent ? 2u : 0u), 1);
    put_32(b, h->language);
    put_float(b, h->attempt.temperature);
    put_float(b, h->attempt.avg_logprob);
    put_float(b, h->attempt.compression_ratio);
    put_float(b, h->attempt.no_speech_prob);
    put_tokens(b, h->tokens, h->count);
    for (size_t i = 0; i < h->count; i++)
        put_float(b, h->logprobs[i]);
    put_32(b, (int64_t)h->n_pieces);
    for (size_t i = 0; i < h->n_pieces; i++) {
        const struct piece *p = &h->pieces[i];
        put_32(b, (int64_t)p->from);
        put_32(b, (int64_t)p->to);
        put_32(b, p->start_frame);
        put_32(b, p->end_frame);
    }
    put_32(b, (int64_t)h->n_words);
    for (size_t i = 0; i < h->n_words; i++) {
        const struct align_word *word = &h->words[i];
        put_32(b, (int64_t)word->from);
        put_32(b, (int64_t)word->to);
        put_double(b, word->start_seconds);
        put_double(b, word->end_seconds);
        put_float(b, word->probability);
        put_text(b, word->text);
    }
}

static void put_note(struct buf *b, const struct whisper_note *n)
{
    put_32(b, n->kind);
    put_double(b, n->start_seconds);
    put_double(b, n->end_seconds);
    put_32(b, n->remedy);
    put_float(b, n->value);
    put_text(b, n->text);
}

int ahead_write(const struct account *a, const struct said *said, bool multilingual,
                struct buf *out, struct err *e)
{
    static const struct said unasked;
    put(out, VERSION, 1);
    put_window(out, &a->window);
    put(out, multilingual, 1);
    put_32(out, (int64_t)a->n_parts);
    for (size_t i = 0; i < a->n_parts; i++)
        put_heard(out, &a->parts[i]);
    put_32(out, (int64_t)a->n_notes);
    for (size_t i = 0; i < a->n_notes; i++)
        put_note(out, &a->notes[i]);
    put_32(out, a->advance);
    put(out, said != NULL, 1);
    said = said ? said : &unasked;
    put_window(out, &said->window);
    put_32(out, said->language);
    put_tokens(out, said->tokens, said->count);
    return buf_failed(out) ? err_set(e, ERR_NOMEM, "no memory is left for a window") : 0;
}

/* ---- reading ----------------------------------------------------------------------- */

/* What is read behind the end, or is not what it can be, makes it `bad`; all is 0 then.
 */
struct reader {
    const unsigned char *bytes; /* borrowed */
    size_t left;
    int32_t vocabulary;
    bool bad, no_memory;
};

static uint64_t get(struct reader *r, size_t bytes)
{
    uint64_t value = 0;
    if (r->left < bytes)
        r->bad = true;
    if (r->bad)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)r->bytes[i] << (8 * i);
    r->bytes += bytes;
    r->left -= bytes;
    return value;
}

/* Within [least, most]. */
static int get_int(struct reader *r, int least, int most)
{
    int32_t value = (int32_t)(uint32_t)get(r, 4);
    if (value < least || value > most)
        r->bad = true;
    return r->bad ? least : value;
}

static float get_float(struct reader *r)
{
    uint32_t bits = (uint32_t)get(r, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A time in seconds. */
static double get_time(struct reader *r)
{
    uint64_t bits = get(r, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    if (!(value >= 0 && value < 1e9))
        r->bad = true;
    return r->bad ? 0 : value;
}

/* A number of things that take `least` bytes each at the least: so many can follow. */
static size_t get_count(struct reader *r, size_t least)
{
    uint32_t count = (uint32_t)get(r, 4);
    if (count > r->left / least)
        r->bad = true;
    return r->bad ? 0 : count;
}

/* Zeroed; NULL for none. */
static void *get_array(struct reader *r, size_t count, size_t size)
{
    void *array = count > 0 && !r->bad ? mem_array(count, size) : NULL;
    if (count > 0 && !r->bad && !array)
        r->bad = r->no_memory = true;
    return array;
}

static char *get_text(struct reader *r)
{
    size_t length = get_count(r, 1);
    if (length == 0)
        return NULL;
    length--;
    char *text = memchr(r->bytes, '\0', length) ? NULL : get_array(r, length + 1, 1);
    if (!text) {
        r->bad = true;
        return NULL;
    }
    memcpy(text, r->bytes, length);
    r->bytes += length;
    r->left -= length;
    return text;
}

static struct window get_window(struct reader *r)
{
    uint64_t at = get(r, 8);
    struct window window = {(int64_t)at, get_int(r, 0, WHISPER_WINDOW_FRAMES)};
    if (at > INT64_MAX / 2)
        r->bad = true;
    return window;
}

static int32_t *get_tokens(struct reader *r, size_t *count)
{
    size_t n = get_count(r, 4);
    int32_t *tokens = get_array(r, n, sizeof *tokens);
    for (size_t i = 0; tokens && i < n; i++)
        tokens[i] = get_int(r, 0, r->vocabulary - 1);
    *count = tokens ? n : 0;
    return tokens;
}

/* Tokens [from, to) of `count`. */
static void get_range(struct reader *r, size_t count, size_t *from, size_t *to)
{
    *from = (size_t)get_int(r, 0, (int)count);
    *to = (size_t)get_int(r, (int)*from, (int)count);
}

static void get_pieces(struct reader *r, struct heard *h)
{
    size_t n = get_count(r, 16);
    h->pieces = get_array(r, n, sizeof *h->pieces);
    for (; h->pieces && h->n_pieces < n && !r->bad; h->n_pieces++) {
        struct piece *p = &h->pieces[h->n_pieces];
        get_range(r, h->count, &p->from, &p->to);
        p->start_frame = get_int(r, 0, 2 * WHISPER_WINDOW_FRAMES);
        p->end_frame = get_int(r, 0, 2 * WHISPER_WINDOW_FRAMES);
    }
}

static void get_words(struct reader *r, struct heard *h)
{
    size_t n = get_count(r, 32);
    h->words = get_array(r, n, sizeof *h->words);
    for (; h->words && h->n_words < n && !r->bad; h->n_words++) {
        struct align_word *word = &h->words[h->n_words];
        get_range(r, h->count, &word->from, &word->to);
        word->start_seconds = get_time(r);
        word->end_seconds = get_time(r);
        word->probability = get_float(r);
        word->text = get_text(r);
        if (!word->text)
            r->bad = true;
    }
}

static void get_heard(struct reader *r, struct heard *h)
{
    h->window = get_window(r);
    int flags = (int)get(r, 1);
    h->is_void = flags & 1;
    h->silent = flags & 2;
    h->language = get_int(r, -1, (int)whisper_language_count() - 1);
    h->attempt.temperature = get_float(r);
    h->attempt.avg_logprob = get_float(r);
    h->attempt.compression_ratio = get_float(r);
    h->attempt.no_speech_prob = get_float(r);
    h->tokens = get_tokens(r, &h->count);
    h->logprobs = get_array(r, h->count, sizeof *h->logprobs);
    for (size_t i = 0; h->logprobs && i < h->count; i++)
        h->logprobs[i] = get_float(r);
    get_pieces(r, h);
    get_words(r, h);
}

static void get_notes(struct reader *r, struct account *a)
{
    size_t n = get_count(r, 32);
    a->notes = get_array(r, n, sizeof *a->notes);
    a->notes_capacity = a->notes ? n : 0;
    for (; a->notes && a->n_notes < n && !r->bad; a->n_notes++) {
        struct whisper_note *note = &a->notes[a->n_notes];
        note->kind = (enum whisper_note_kind)get_int(r, 0, WHISPER_NOTE_KINDS - 1);
        note->start_seconds = get_time(r);
        note->end_seconds = get_time(r);
        note->remedy = (enum whisper_remedy)get_int(r, 0, WHISPER_REMEDY_CUT);
        note->value = get_float(r);
        note->text = get_text(r);
    }
}

/* Version, window and how the stream was cut. */
static struct window get_head(struct reader *r, bool *multilingual)
{
    if (get(r, 1) != VERSION)
        r->bad = true;
    struct window window = get_window(r);
    *multilingual = get(r, 1);
    return window;
}

bool ahead_window(const void *bytes, size_t length, struct window *out,
                  bool *multilingual)
{
    struct reader r = {.bytes = bytes, .left = length};
    *out = get_head(&r, multilingual);
    return !r.bad;
}

int ahead_read(const void *bytes, size_t length, int32_t vocabulary, bool wants_said,
               struct account *a, struct said *said, struct err *e)
{
    struct reader r = {.bytes = bytes, .left = length, .vocabulary = vocabulary};
    bool multilingual;
    *a = (struct account){.window = get_head(&r, &multilingual)};
    *said = (struct said){0};
    size_t n = get_count(&r, 40);
    a->parts = get_array(&r, n, sizeof *a->parts);
    a->parts_capacity = a->parts ? n : 0;
    for (; a->parts && a->n_parts < n && !r.bad; a->n_parts++)
        get_heard(&r, &a->parts[a->n_parts]);
    get_notes(&r, a);
    a->advance = get_int(&r, 0, WHISPER_WINDOW_FRAMES);
    bool is_said = get(&r, 1);
    said->window = get_window(&r);
    said->language = get_int(&r, -1, (int)whisper_language_count() - 1);
    said->tokens = get_tokens(&r, &said->count);
    if (!r.bad && r.left == 0 && (is_said || !wants_said))
        return 0;
    account_release(a);
    free(said->tokens);
    *said = (struct said){0};
    return r.no_memory ? err_set(e, ERR_NOMEM, "no memory is left for a window")
                       : err_set(e, ERR_CORRUPT, "what is known of a window is damaged");
}
