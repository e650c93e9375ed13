/* What the model is told before a window. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/prompt.h"

enum { SOT = 21, PREV = 26, EN = 28, NO_TIMES = 29, BEGIN = 30, CONTEXT = 24 };

static const struct special_tokens multilingual = {
    .eot = 20,
    .sot = SOT,
    .translate = 22,
    .transcribe = 23,
    .sot_lm = 24,
    .sot_prev = PREV,
    .no_speech = 27,
    .no_timestamps = NO_TIMES,
    .timestamp_begin = BEGIN,
    .language_begin = EN,
    .n_languages = 1,
};

/* A made-up tokenizer: "a" is token 1. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t length,
                     int32_t **out, size_t *count, size_t *capacity, struct err *e)
{
    (void)t;
    (void)e;
    assert_int_equal(text[0], ' ');
    for (size_t i = 1; i < length; i++) {
        assert_int_equal(mem_grow(out, capacity, *count + 1, sizeof(**out)), 0);
        (*out)[(*count)++] = text[i] == ' ' ? 19 : text[i] - 'a' + 1;
    }
    return 0;
}

static void check(const struct prompt_context *c, const struct whisper_segment *segments,
                  size_t n_segments, const int32_t *expected, size_t n, size_t sot,
                  size_t n_given)
{
    int32_t tokens[CONTEXT];
    struct prompt out = {.tokens = tokens};
    prompt_write(c, 0, segments, n_segments, &out);
    assert_int_equal(out.count, n);
    assert_memory_equal(tokens, expected, n * sizeof(*tokens));
    assert_int_equal(out.sot, sot);
    assert_int_equal(out.n_given, n_given);
}

#define CHECK(c, segments, n_segments, sot, n_given, ...)                                \
    do {                                                                                 \
        const int32_t expected[] = {__VA_ARGS__};                                        \
        check(c, segments, n_segments, expected, ARRAY_LENGTH(expected), sot, n_given);  \
    } while (0)

static int32_t said[] = {7, 8};
static const struct whisper_segment segment = {
    .tokens = said, .n_tokens = 2, .avg_logprob = -0.1f, .compression_ratio = 1};

static void prompts_have_the_order_of_the_reference(void **state)
{
    (void)state;
    struct whisper_params p;
    whisper_params_init(&p);
    struct prompt_texts none = {0};
    struct special_tokens special = multilingual;
    const struct prompt_context c = {&special, &p, &none, CONTEXT, NULL, 0};
    CHECK(&c, NULL, 0, 0, 0, SOT, EN, 23);
    CHECK(&c, &segment, 1, 0, 0, SOT, EN, 23);

    p.task = WHISPER_TRANSLATE;
    p.without_timestamps = p.condition_on_previous_text = true;
    CHECK(&c, &segment, 1, 3, 0, PREV, 7, 8, SOT, EN, 22, NO_TIMES);

    special.language_begin = -1; /* a model that knows only English */
    p.without_timestamps = false;
    CHECK(&c, NULL, 0, 0, 0, SOT);
}

static void texts_are_trimmed(void **state)
{
    (void)state;
    struct whisper_params p;
    struct err e;
    struct prompt_texts texts;
    whisper_params_init(&p);
    p.initial_prompt = "  a b\n";
    p.hotwords = "cd";
    p.prefix = " \t ";
    assert_int_equal(prompt_texts_init(&texts, NULL, &p, &e), 0);
    assert_int_equal(texts.n_initial, 3);
    assert_int_equal(texts.initial[1], 19);
    assert_int_equal(texts.n_hotwords, 2);
    assert_int_equal(texts.n_prefix, 0);
    prompt_texts_release(&texts);
    assert_null(texts.initial);
}

static void hot_words_come_before_every_window(void **state)
{
    (void)state;
    struct whisper_params p;
    struct err e;
    struct prompt_texts texts;
    whisper_params_init(&p);
    p.hotwords = "cd";
    p.initial_prompt = "ab";
    assert_int_equal(prompt_texts_init(&texts, NULL, &p, &e), 0);
    const struct prompt_context c = {&multilingual, &p, &texts, CONTEXT, NULL, 0};
    CHECK(&c, NULL, 0, 5, 0, PREV, 3, 4, 1, 2, SOT, EN, 23);
    CHECK(&c, &segment, 1, 3, 0, PREV, 3, 4, SOT, EN, 23);
    p.condition_on_previous_text = true;
    CHECK(&c, &segment, 1, 7, 0, PREV, 3, 4, 1, 2, 7, 8, SOT, EN, 23);
    prompt_texts_release(&texts);

    /* At most half the context: of hot words the first, of what was said the last. */
    p.hotwords = "cdefghi";
    p.initial_prompt = "abcdef";
    assert_int_equal(prompt_texts_init(&texts, NULL, &p, &e), 0);
    CHECK(&c, &segment, 1, 12, 0, PREV, 3, 4, 5, 6, 7, 8, 9, 5, 6, 7, 8, SOT, EN, 23);
    prompt_texts_release(&texts);
    p.hotwords = "abcdefghijklmnop";
    assert_int_equal(prompt_texts_init(&texts, NULL, &p, &e), 0);
    CHECK(&c, &segment, 1, 12, 0, PREV, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, SOT, EN, 23);
    prompt_texts_release(&texts);
}

static void a_prefix_begins_the_first_window(void **state)
{
    (void)state;
    struct whisper_params p;
    struct err e;
    struct prompt_texts texts;
    whisper_params_init(&p);
    p.prefix = "abc";
    assert_int_equal(prompt_texts_init(&texts, NULL, &p, &e), 0);
    const struct prompt_context c = {&multilingual, &p, &texts, CONTEXT, NULL, 0};
    CHECK(&c, NULL, 0, 0, 4, SOT, EN, 23, BEGIN, 1, 2, 3);
    CHECK(&c, &segment, 1, 0, 0, SOT, EN, 23);
    p.without_timestamps = true;
    CHECK(&c, NULL, 0, 0, 3, SOT, EN, 23, NO_TIMES, 1, 2, 3);
    prompt_texts_release(&texts);

    p.prefix = "abcdefghijklmnopqrstuvw"; /* half of the 20 that are left */
    assert_int_equal(prompt_texts_init(&texts, NULL, &p, &e), 0);
    CHECK(&c, NULL, 0, 0, 10, SOT, EN, 23, NO_TIMES, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
    prompt_texts_release(&texts);
}

static void what_was_said_takes_the_place_of_the_segments(void **state)
{
    (void)state;
    struct whisper_params p;
    struct err e;
    struct prompt_texts texts;
    whisper_params_init(&p);
    p.hotwords = "cd";
    p.initial_prompt = "ab";
    p.prefix = "e";
    assert_int_equal(prompt_texts_init(&texts, NULL, &p, &e), 0);
    const int32_t told[] = {9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
    struct prompt_context c = {&multilingual, &p, &texts, CONTEXT, told, 2};
    CHECK(&c, &segment, 1, 5, 0, PREV, 3, 4, 9, 10, SOT, EN, 23);
    c.n_said = ARRAY_LENGTH(told); /* the last of it, as far as there is room */
    CHECK(&c, &segment, 1, 12, 0, PREV, 3, 4, 10, 11, 12, 13, 14, 15, 16, 17, 18, SOT, EN,
          23);
    prompt_texts_release(&texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_have_the_order_of_the_reference),
        cmocka_unit_test(texts_are_trimmed),
        cmocka_unit_test(hot_words_come_before_every_window),
        cmocka_unit_test(a_prefix_begins_the_first_window),
        cmocka_unit_test(what_was_said_takes_the_place_of_the_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
