#include "engine/loop.h"

#include "base/mem.h"

enum { MAX_TOKENS = 512 }; /* of a text: more than any model's context holds */

/* The fastest speakers say 25 letters a second, 12 of the short syllables that a kana
 * stands for, or 8 of those of a Chinese character or a hangul block; nobody says 5 words
 * a second for long, however short they are. */
enum { LETTER_CS = 4, KANA_CS = 8, SYLLABLE_CS = 12, DIGIT_CS = 10, WORD_CS = 20 };

/* Timestamps are only so exact. */
static const float slack_seconds = 1.0f;

/* Fewer are no proof of anything. */
enum { LEAST_REPEATS = 5, LEAST_TOKENS = 12 };

/* ---- paces ----------------------------------------------------------------------- */

static bool is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == ' ';
}

/* Of one byte of UTF-8: a character counts where it begins. Signs are not spoken. */
static unsigned pace_of_byte(unsigned char c)
{
    if (c < 0x80)
        return is_letter(c) ? LETTER_CS : c >= '0' && c <= '9' ? DIGIT_CS : 0;
    if (c < 0xc0)
        return 0;
    if (c == 0xe3) /* U+3000 … U+3FFF */
        return KANA_CS;
    /* U+4000 … U+D7FF: Chinese characters, hangul. */
    return c >= 0xe4 && c <= 0xed ? SYLLABLE_CS : LETTER_CS;
}

uint8_t *loop_paces(const struct tokenizer *t, int32_t n_vocab)
{
    uint8_t *paces = mem_array((size_t)n_vocab, sizeof(*paces));
    for (int32_t id = 0; paces && id < n_vocab; id++) {
        size_t length;
        const char *piece = tokenizer_piece(t, id, &length);
        unsigned sum = 0;
        for (size_t i = 0; i < length && sum < UINT8_MAX; i++)
            sum += pace_of_byte((unsigned char)piece[i]);
        paces[id] = (uint8_t)(sum < UINT8_MAX ? sum : UINT8_MAX);
    }
    return paces;
}

/* ---- the text without its timestamps --------------------------------------------- */

struct text {
    int32_t tokens[MAX_TOKENS];
    uint16_t at[MAX_TOKENS]; /* where they are in what was given */
    size_t count;
};

static void take_text(struct text *x, const struct special_tokens *special,
                      const int32_t *tokens, size_t count)
{
    size_t first = count > MAX_TOKENS ? count - MAX_TOKENS : 0;
    x->count = 0;
    for (size_t i = first; i < count; i++) {
        if (tokens[i] >= special->eot)
            continue;
        x->tokens[x->count] = tokens[i];
        x->at[x->count++] = (uint16_t)(i - first);
    }
}

/* How many tokens at the end are those that stand `period` before them. */
static size_t run_length(const struct text *x, size_t period)
{
    size_t n = 0;
    while (n + period < x->count &&
           x->tokens[x->count - 1 - n] == x->tokens[x->count - 1 - n - period])
        n++;
    return n;
}

static float seconds_at(const struct special_tokens *special, int32_t token)
{
    return (float)(token - special->timestamp_begin) * 0.02f;
}

/* From the last timestamp before the repetition to the one that closes it, or to the end
 * of the window. */
static float time_for(const struct special_tokens *special, const int32_t *tokens,
                      size_t count, size_t first, float seconds)
{
    float start = 0, end = seconds;
    for (size_t i = first; i-- > 0;) {
        if (tokens[i] >= special->timestamp_begin) {
            start = seconds_at(special, tokens[i]);
            break;
        }
    }
    if (tokens[count - 1] >= special->timestamp_begin)
        end = seconds_at(special, tokens[count - 1]);
    return end > start ? end - start : 0;
}

/* ---- the face ---------------------------------------------------------------------- */

static float needed(const struct text *x, const struct loop *l, size_t begin,
                    const uint8_t *paces)
{
    unsigned sum = 0, words = (unsigned)l->repeats * WORD_CS;
    for (size_t i = begin; i < x->count; i++)
        sum += paces[x->tokens[i]];
    return (float)(sum > words ? sum : words) / 100;
}

struct loop loop_find(const struct special_tokens *special, const uint8_t *paces,
                      const int32_t *tokens, size_t count, float seconds)
{
    struct text x;
    struct loop l = {0};
    size_t covered = 0;
    take_text(&x, special, tokens, count);
    for (size_t period = 1; period <= LOOP_MAX_PERIOD; period++) {
        size_t run = run_length(&x, period);
        if (run < period || run + period <= covered)
            continue;
        covered = run + period;
        l.period = period;
        l.repeats = covered / period;
    }
    if (l.period == 0)
        return l;
    size_t begin = x.count - covered;
    l.first = x.at[begin] + (count > MAX_TOKENS ? count - MAX_TOKENS : 0);
    l.seconds = time_for(special, tokens, count, l.first, seconds);
    l.needed_seconds = needed(&x, &l, begin, paces);
    return l;
}

bool loop_is_impossible(const struct loop *l)
{
    return l->repeats >= LEAST_REPEATS && l->period * l->repeats >= LEAST_TOKENS &&
           l->needed_seconds > l->seconds + slack_seconds;
}
