/* The choice of tokens: suppression, the grammar of timestamps, the probabilities, the
 * generator. A small vocabulary: 0 … 19 text, 20 end-of-text, 21 … 29
 * markers, 30 … 79 timestamps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/rules.h"

#include <math.h>

enum { EOT = 20, SOT = 21, NO_TIMES = 29, BEGIN = 30, VOCAB = 80 };

static const int32_t suppressed[] = {3, 21, 22};

static struct rules small_rules(void)
{
    return (struct rules){
        .special = {.eot = EOT,
                    .sot = SOT,
                    .translate = 22,
                    .transcribe = 23,
                    .sot_lm = 24,
                    .sot_prev = 26,
                    .no_speech = 27,
                    .no_timestamps = NO_TIMES,
                    .timestamp_begin = BEGIN,
                    .language_begin = 28,
                    .n_languages = 1},
        .n_vocab = VOCAB,
        .suppressed = suppressed,
        .n_suppressed = ARRAY_LENGTH(suppressed),
        .blank = 5,
        .timestamps = true,
        .max_initial = 10,
        .repetition_penalty = 1,
    };
}

/* All equal, so that only the rules decide; text 8 is far better when `text`. */
static void flat(float *logits, bool text)
{
    for (int i = 0; i < VOCAB; i++)
        logits[i] = 0;
    if (text)
        logits[8] = 20;
}

static struct allowed allow(const struct rules *r, const int32_t *tokens, size_t n,
                            bool text, float *logits)
{
    flat(logits, text);
    return rules_allow(r, tokens, n, logits);
}

#define assert_range(from, to, begin, end)                                               \
    do {                                                                                 \
        if ((begin) == (end)) {                                                          \
            assert_true((from) >= (to));                                                 \
        } else {                                                                         \
            assert_int_equal(from, begin);                                               \
            assert_int_equal(to, end);                                                   \
        }                                                                                \
    } while (0)

static void begins_with_an_early_timestamp(void **state)
{
    (void)state;
    struct rules r = small_rules();
    float logits[VOCAB];
    struct allowed a = allow(&r, NULL, 0, true, logits);
    assert_range(a.text_begin, a.text_end, 0, 0);
    assert_range(a.stamp_begin, a.stamp_end, BEGIN, BEGIN + 11);
    r.max_initial = -1;
    a = allow(&r, NULL, 0, true, logits);
    assert_range(a.stamp_begin, a.stamp_end, BEGIN, VOCAB);
    r.max_initial = 1000;
    a = allow(&r, NULL, 0, true, logits);
    assert_range(a.stamp_begin, a.stamp_end, BEGIN, VOCAB);
}

static void text_follows_an_opening_timestamp(void **state)
{
    (void)state;
    struct rules r = small_rules();
    float logits[VOCAB];
    const int32_t first[] = {BEGIN};
    struct allowed a = allow(&r, first, 1, false, logits);
    assert_range(a.text_begin, a.text_end, 0, BEGIN);
    assert_range(a.stamp_begin, a.stamp_end, 0, 0);
    const int32_t pair[] = {BEGIN, 8, BEGIN + 7, BEGIN + 7};
    a = allow(&r, pair, 4, false, logits);
    assert_range(a.text_begin, a.text_end, 0, BEGIN);
    assert_range(a.stamp_begin, a.stamp_end, 0, 0);
}

static void a_pair_or_the_end_follows_a_closing_timestamp(void **state)
{
    (void)state;
    struct rules r = small_rules();
    float logits[VOCAB];
    const int32_t closed[] = {BEGIN, 8, BEGIN + 7};
    flat(logits, true);
    logits[EOT] = 10; /* else the timestamps' sum leaves nothing but them */
    struct allowed a = rules_allow(&r, closed, 3, logits);
    assert_range(a.text_begin, a.text_end, EOT, BEGIN);
    /* The same time may come again as the start of what follows. */
    assert_range(a.stamp_begin, a.stamp_end, BEGIN + 7, VOCAB);
    assert_int_equal(rules_best(logits, &a, EOT).token, EOT);
}

static void times_move_on(void **state)
{
    (void)state;
    struct rules r = small_rules();
    float logits[VOCAB];
    const int32_t open[] = {BEGIN + 7, 8};
    struct allowed a = allow(&r, open, 2, true, logits);
    assert_range(a.text_begin, a.text_end, 0, BEGIN);
    /* A segment without length is not possible. */
    assert_range(a.stamp_begin, a.stamp_end, BEGIN + 8, VOCAB);
    const int32_t last[] = {VOCAB - 1, 8};
    a = allow(&r, last, 2, true, logits);
    assert_range(a.stamp_begin, a.stamp_end, 0, 0);
    assert_range(a.text_begin, a.text_end, 0, BEGIN);
}

static void timestamps_win_together(void **state)
{
    (void)state;
    struct rules r = small_rules();
    float logits[VOCAB];
    const int32_t open[] = {BEGIN, 8};
    flat(logits, false);
    logits[8] = 3.8f; /* 49 timestamps at 0: ln 49 = 3.89 */
    struct allowed a = rules_allow(&r, open, 2, logits);
    assert_range(a.text_begin, a.text_end, 0, 0);
    assert_range(a.stamp_begin, a.stamp_end, BEGIN + 1, VOCAB);
    flat(logits, false);
    logits[8] = 4.0f;
    a = rules_allow(&r, open, 2, logits);
    assert_range(a.text_begin, a.text_end, 0, BEGIN);
    assert_int_equal(rules_best(logits, &a, EOT).token, 8);
}

static void suppressed_tokens_never_come(void **state)
{
    (void)state;
    struct rules r = small_rules();
    float logits[VOCAB];
    const int32_t open[] = {BEGIN};
    flat(logits, true);
    logits[3] = 90;
    logits[NO_TIMES] = 90;
    struct allowed a = rules_allow(&r, open, 1, logits);
    assert_int_equal(rules_best(logits, &a, EOT).token, 8);
    for (int i = 0; i < 200; i++) {
        struct choice c = rules_sample(logits, &a, 50.0f, i / 200.0, EOT);
        assert_true(c.token != 3 && c.token != 21 && c.token != 22);
        assert_true(c.token != NO_TIMES && c.token < BEGIN);
    }
}

static void blank_is_only_suppressed_first(void **state)
{
    (void)state;
    struct rules r = small_rules();
    r.timestamps = false;
    float logits[VOCAB];
    flat(logits, true);
    logits[5] = 90;
    logits[EOT] = 80;
    struct allowed a = rules_allow(&r, NULL, 0, logits);
    assert_int_equal(rules_best(logits, &a, EOT).token, 8);
    const int32_t text[] = {8};
    flat(logits, true);
    logits[5] = 90;
    a = rules_allow(&r, text, 1, logits);
    assert_int_equal(rules_best(logits, &a, EOT).token, 5);
    r.blank = -1;
    flat(logits, true);
    logits[EOT] = 80;
    a = rules_allow(&r, NULL, 0, logits);
    assert_int_equal(rules_best(logits, &a, 1).token, EOT);
}

static void log_probabilities_are_exact(void **state)
{
    (void)state;
    enum { N = 1000 };
    float logits[N];
    double sum = 0;
    for (int i = 0; i < N; i++) {
        logits[i] = 40.0f * sinf((float)i) + 500;
        sum += exp(40.0 * sinf((float)i));
    }
    logits[17] = -INFINITY;
    sum -= exp(40.0 * sinf(17.0f));
    struct allowed a = {0, 700, 700, N};
    struct choice c = rules_best(logits, &a, 0);
    int best = 0;
    for (int i = 0; i < N; i++)
        best = logits[i] > logits[best] ? i : best;
    assert_int_equal(c.token, best);
    double expected = logits[best] - 500.0 - log(sum);
    assert_true(fabs(c.logprob - expected) < 1e-5);
    assert_true(fabs(rules_probability(logits, N, best) - exp(expected)) < 1e-6);
    assert_true(rules_probability(logits, N, 17) == 0.0f);
    float all[N];
    rules_softmax(logits, N, all);
    double total = 0;
    for (int i = 0; i < N; i++)
        total += all[i];
    assert_true(fabs(total - 1) < 1e-5);
}

static void numbers_that_are_none_end_the_text(void **state)
{
    (void)state;
    float logits[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        logits[i] = NAN;
    struct rules r = small_rules();
    const int32_t open[] = {BEGIN, 8};
    struct allowed a = rules_allow(&r, open, 2, logits);
    struct choice c = rules_best(logits, &a, EOT);
    assert_int_equal(c.token, EOT);
    c = rules_sample(logits, &a, 1.0f, 0.5, EOT);
    assert_int_equal(c.token, EOT);
    logits[8] = 1; /* one number among them is enough */
    a = (struct allowed){0, BEGIN, BEGIN, VOCAB};
    assert_int_equal(rules_best(logits, &a, EOT).token, 8);
    assert_int_equal(rules_sample(logits, &a, 1.0f, 0.5, EOT).token, 8);
    assert_true(rules_probability(logits, VOCAB, 8) == 1.0f);
}

static void samples_follow_the_distribution(void **state)
{
    (void)state;
    float logits[VOCAB];
    flat(logits, false);
    for (int i = 0; i < VOCAB; i++)
        logits[i] = -INFINITY;
    logits[4] = logf(0.5f);
    logits[9] = logf(0.3f);
    logits[60] = logf(0.2f);
    struct allowed a = {0, BEGIN, BEGIN, VOCAB};
    assert_int_equal(rules_sample(logits, &a, 1.0f, 0.0, EOT).token, 4);
    assert_int_equal(rules_sample(logits, &a, 1.0f, 0.49, EOT).token, 4);
    assert_int_equal(rules_sample(logits, &a, 1.0f, 0.51, EOT).token, 9);
    assert_int_equal(rules_sample(logits, &a, 1.0f, 0.79, EOT).token, 9);
    assert_int_equal(rules_sample(logits, &a, 1.0f, 0.81, EOT).token, 60);
    assert_int_equal(rules_sample(logits, &a, 1.0f, 0x1.fffffffffffffp-1, EOT).token, 60);
    /* At temperature 0.5 the weights are squared: 25, 9, 4 of 38. The log probability is
     * that at temperature 1. */
    struct choice c = rules_sample(logits, &a, 0.5f, 0.65, EOT);
    assert_int_equal(c.token, 4);
    assert_true(fabsf(c.logprob - logf(0.5f)) < 1e-6f);
    assert_int_equal(rules_sample(logits, &a, 0.5f, 0.67, EOT).token, 9);
}

static void the_generator_repeats_itself(void **state)
{
    (void)state;
    struct rng a, b, other;
    rng_init(&a, 1, 3000, 2, 0);
    rng_init(&b, 1, 3000, 2, 0);
    double mean = 0;
    for (int i = 0; i < 1000; i++) {
        double x = rng_uniform(&a);
        assert_true(x == rng_uniform(&b));
        assert_true(x >= 0 && x < 1);
        mean += x / 1000;
    }
    assert_true(mean > 0.45 && mean < 0.55);
    const struct {
        uint64_t seed, window;
        uint32_t attempt, candidate;
    } others[] = {{2, 3000, 2, 0}, {1, 3001, 2, 0}, {1, 3000, 3, 0}, {1, 3000, 2, 1}};
    rng_init(&a, 1, 3000, 2, 0);
    double first = rng_uniform(&a);
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
        rng_init(&other, others[i].seed, others[i].window, others[i].attempt,
                 others[i].candidate);
        assert_true(first != rng_uniform(&other));
    }
}

static void sequences_are_ranked_by_their_length(void **state)
{
    (void)state;
    assert_true(rules_score(-30, 40, 1) > rules_score(-10, 10, 1));
    assert_true(rules_score(-30, 40, 0) < rules_score(-10, 10, 0));
    assert_true(fabs(rules_score(-30, 4, 0.5f) - -15) < 1e-9);
    assert_true(rules_score(-0.5, 0, 1) == -0.5); /* nothing was said */
}

static void the_best_come_in_order(void **state)
{
    (void)state;
    enum { N = 2000, MOST = 9 };
    float logits[N], sorted[N];
    for (int i = 0; i < N; i++)
        logits[i] = sorted[i] = floorf(50.0f * sinf((float)(i * i))); /* many equals */
    struct allowed a = {3, 1200, 1300, N};
    struct choice out[MOST];
    assert_int_equal(rules_top(logits, &a, MOST, out), MOST);
    for (int i = 0; i < MOST; i++) {
        int best = -1;
        for (int j = a.text_begin; j < N; j++)
            if ((j < a.text_end || j >= a.stamp_begin) && sorted[j] > -100 &&
                (best < 0 || sorted[j] > sorted[best]))
                best = j;
        assert_int_equal(out[i].token, best);
        sorted[best] = -1000;
    }
    assert_true(out[0].logprob >= out[8].logprob && out[8].logprob < 0);
    float sum = 0;
    for (int j = a.text_begin; j < N; j++)
        if (j < a.text_end || j >= a.stamp_begin)
            sum += expf(logits[j] - logits[out[0].token]);
    assert_true(fabsf(out[0].logprob + logf(sum)) < 1e-4f);

    /* Fewer when no more are possible. */
    for (int i = 0; i < N; i++)
        logits[i] = i % 2 ? -INFINITY : NAN;
    assert_int_equal(rules_top(logits, &a, MOST, out), 0);
    logits[5] = logits[1500] = 1;
    assert_int_equal(rules_top(logits, &a, MOST, out), 2);
    assert_int_equal(out[0].token, 5);
    assert_int_equal(out[1].token, 1500);
    assert_true(fabsf(out[1].logprob - logf(0.5f)) < 1e-6f);
}

static void named_tokens_never_come(void **state)
{
    (void)state;
    static const int32_t unwanted[] = {8, 9, 4000, -7};
    struct rules r = small_rules();
    r.unwanted = unwanted;
    r.n_unwanted = ARRAY_LENGTH(unwanted);
    float logits[VOCAB];
    const int32_t open[] = {BEGIN};
    flat(logits, true);
    logits[9] = 10;
    logits[11] = 5;
    struct allowed a = rules_allow(&r, open, 1, logits);
    assert_int_equal(rules_best(logits, &a, EOT).token, 11);
}

static void what_was_said_is_penalised_once(void **state)
{
    (void)state;
    struct rules r = small_rules();
    r.repetition_penalty = 2;
    float logits[VOCAB];
    const int32_t said[] = {BEGIN, 8, 7, 8, BEGIN + 3, BEGIN + 3, 8};
    flat(logits, false);
    logits[8] = 6;
    logits[7] = -6;
    logits[9] = 5;
    logits[BEGIN + 3] = -40;
    rules_allow(&r, said, ARRAY_LENGTH(said), logits);
    assert_true(logits[8] == 3 && logits[7] == -12 && logits[9] == 5);
    assert_true(logits[BEGIN + 3] == -40); /* a time has to come twice */
}

static void ngrams_do_not_come_twice(void **state)
{
    (void)state;
    struct rules r = small_rules();
    r.no_repeat_ngram = 3;
    float logits[VOCAB];
    /* 6 7 8 was said, in two segments; 6 7 then 9; now 6 7 again. */
    const int32_t said[] = {BEGIN, 6, BEGIN + 2, BEGIN + 2, 7, 8, 6, 7, 9, 6, 7};
    flat(logits, false);
    rules_allow(&r, said, ARRAY_LENGTH(said), logits);
    assert_true(logits[8] == -INFINITY && logits[9] == -INFINITY);
    assert_true(logits[6] == 0 && logits[7] == 0 && logits[EOT] == 0);
    assert_true(logits[BEGIN + 2] == 0);
    flat(logits, false);
    rules_allow(&r, said, ARRAY_LENGTH(said) - 1, logits); /* … 9 6: nothing yet */
    assert_true(logits[7] == 0 && logits[8] == 0 && logits[9] == 0);
    r.no_repeat_ngram = 1;
    flat(logits, false);
    rules_allow(&r, said, 2, logits);
    assert_true(logits[6] == -INFINITY && logits[7] == 0 && logits[BEGIN] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_with_an_early_timestamp),
        cmocka_unit_test(text_follows_an_opening_timestamp),
        cmocka_unit_test(a_pair_or_the_end_follows_a_closing_timestamp),
        cmocka_unit_test(times_move_on),
        cmocka_unit_test(timestamps_win_together),
        cmocka_unit_test(suppressed_tokens_never_come),
        cmocka_unit_test(blank_is_only_suppressed_first),
        cmocka_unit_test(log_probabilities_are_exact),
        cmocka_unit_test(numbers_that_are_none_end_the_text),
        cmocka_unit_test(samples_follow_the_distribution),
        cmocka_unit_test(the_generator_repeats_itself),
        cmocka_unit_test(sequences_are_ranked_by_their_length),
        cmocka_unit_test(the_best_come_in_order),
        cmocka_unit_test(named_tokens_never_come),
        cmocka_unit_test(what_was_said_is_penalised_once),
        cmocka_unit_test(ngrams_do_not_come_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
