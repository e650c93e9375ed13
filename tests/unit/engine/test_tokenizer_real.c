/* The published vocabularies. The expected ids were made by a separate program with
 * another regular expression engine and the textbook's quadratic merging; those of tokens
 * that are not speech are the list that is published with the models. */
#include "base/mem.h"
#include "engine/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

#define END -1

static const struct {
    const char *text;
    int32_t multilingual[40], english[40];
} known[] = {
    {"Hello, world!", {15947, 11, 1002, 0, END}, {15496, 11, 995, 0, END}},
    {" It's we'll they've I'm 'quoted'",
     {467, 311, 321, 603, 436, 600, 286, 478, 922, 358, 23325, 6, END},
     {632, 338, 356, 1183, 484, 1053, 314, 1101, 705, 421, 5191, 6, END}},
    {" And so my fellow Americans, ask not what your country can do for you.",
     {400, 370, 452, 7177, 6280, 11, 1029, 406, 437, 428, 1941, 393, 360, 337, 291, 13,
      END},
     {843, 523, 616, 5891, 3399, 11, 1265, 407, 644, 534, 1499, 460, 466, 329, 345, 13,
      END}},
    {"Grüße aus Köln",
     {20038, 774, 11451, 3437, 591, 13072, 77, END},
     {8642, 9116, 39683, 68, 257, 385, 509, 9101, 18755, END}},
    {"今日は良い天気です。",
     {43791, 33950, 1764, 6135, 25870, 4767, 1543, END},
     {20015, 232, 33768, 98, 31676, 164, 231, 107, 18566, 25465, 36365, 245, 30640, 33623,
      16764, END}},
    {"Привет, как дела?",
     {43971, 31259, 11, 3014, 46157, 30, END},
     {140, 253, 21169, 18849, 38857, 16843, 20375, 11, 12466, 118, 16142, 31583, 12466,
      112, 16843, 30143, 16142, 30, END}},
    {"مرحبا بالعالم",
     {29973, 5016, 3555, 995, 20666, 3615, 45340, END},
     {25405, 26897, 148, 255, 39848, 12919, 17550, 101, 23525, 44690, 23525, 25405, END}},
    {"हिन्दी में",
     {44500, 33279, 35082, 27099, 3941, 99, 31881, 48449, 21981, 31945, END},
     {11976, 117, 11976, 123, 11976, 101, 24231, 235, 11976, 99, 24231, 222, 28225, 106,
      24231, 229, 11976, 224, END}},
    {"👩\xE2\x80\x8D"
     "👩\xE2\x80\x8D"
     "👧\xE2\x80\x8D"
     "👦 🎉",
     {31017, 102, 913, 235, 31017, 102, 913, 235, 31017, 100, 913, 235, 31017, 99, 19034,
      231, END},
     {41840, 102, 447, 235, 41840, 102, 447, 235, 41840, 100, 447, 235, 41840, 99, 12520,
      236, 231, END}},
    {"a  b   c    ",
     {64, 220, 272, 220, 220, 269, 220, 220, 220, 220, END},
     {64, 220, 275, 220, 220, 269, 220, 220, 220, 220, END}},
    {"line\n\nbreak\t tab",
     {1889, 198, 198, 13225, 197, 4421, END},
     {1370, 198, 198, 9032, 197, 7400, END}},
    {"１２３ 123abc456 ½",
     {171, 120, 239, 171, 120, 240, 171, 120, 241, 34466, 455, 66, 8465, 21, 32653, END},
     {171, 120, 239, 171, 120, 240, 171, 120, 241, 17031, 39305, 29228, 25208, END}},
    {"♪ ♪♪ (music) [noise] -- -",
     {3961, 9061, 522, 7572, 8, 542, 42641, 60, 1350, 359, END},
     {17992, 103, 20724, 103, 17992, 103, 357, 28965, 8, 685, 3919, 786, 60, 1377, 532,
      END}},
    {"<|endoftext|>",
     {27, 91, 3999, 844, 3828, 91, 29, END},
     {27, 91, 437, 1659, 5239, 91, 29, END}},
    {"\xE1\xA0\x8E"
     "\xC2\x85"
     "\xE2\x80\x83"
     "x",
     {157, 254, 236, 126, 227, 913, 225, 87, END},
     {157, 254, 236, 126, 227, 447, 225, 87, END}},
};

static const int32_t non_speech_multilingual[] = {
    1,     2,     7,     8,     9,     10,    14,    25,    26,    27,    28,
    29,    31,    58,    59,    60,    61,    62,    63,    90,    91,    92,
    93,    359,   503,   522,   542,   873,   893,   902,   918,   922,   931,
    1350,  1853,  1982,  2460,  2627,  3246,  3253,  3268,  3536,  3846,  3961,
    4183,  4667,  6585,  6647,  7273,  9061,  9383,  10428, 10929, 11938, 12033,
    12331, 12562, 13793, 14157, 14635, 15265, 15618, 16553, 16604, 18362, 18956,
    20075, 21675, 22520, 26130, 26161, 26435, 28279, 29464, 31650, 32302, 32470,
    36865, 42863, 47425, 49870, 50254, 50258, 50358, 50359, 50360, 50361, 50362};
static const int32_t non_speech_english[] = {
    1,     2,     7,     8,     9,     10,    14,    25,    26,    27,    28,    29,
    31,    58,    59,    60,    61,    62,    63,    90,    91,    92,    93,    357,
    366,   438,   532,   685,   705,   796,   930,   1058,  1220,  1267,  1279,  1303,
    1343,  1377,  1391,  1635,  1782,  1875,  2162,  2361,  2488,  3467,  4008,  4211,
    4600,  4808,  5299,  5855,  6329,  7203,  9609,  9959,  10563, 10786, 11420, 11709,
    11907, 13163, 13697, 13700, 14808, 15306, 16410, 16791, 17992, 19203, 19510, 20724,
    22305, 22935, 27007, 30109, 30420, 33409, 34949, 40283, 40493, 40549, 47282, 49146,
    50257, 50357, 50358, 50359, 50360, 50361};

struct vocabulary {
    struct whisper_model *model;
    struct tokenizer *tokenizer;
};

static void open_vocabulary(struct vocabulary *v, const char *name)
{
    char path[512];
    struct err e;
    const char *folder = getenv("WT_TEST_MODELS"), *root = getenv("WT_SOURCE_ROOT");
    if (folder)
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    else
        (void)snprintf(path, sizeof path, "%s/models/%s", root ? root : ".", name);
    if (access(path, R_OK)) {
        print_message("skipped: there is no %s (set WT_TEST_MODELS)\n", path);
        skip();
    }
    if (whisper_model_load(&v->model, path, WHISPER_WEIGHTS_AS_GIVEN, &e) ||
        tokenizer_open(&v->tokenizer, v->model, &e))
        fail_msg("%s", e.message);
}

static void close_vocabulary(struct vocabulary *v)
{
    tokenizer_close(v->tokenizer);
    whisper_model_free(v->model);
}

static void check_known(const struct vocabulary *v, const char *text,
                        const int32_t *expected)
{
    int32_t *ids = NULL;
    size_t count = 0, capacity = 0, n = 0;
    assert_int_equal(
        tokenizer_encode(v->tokenizer, text, strlen(text), &ids, &count, &capacity, NULL),
        0);
    while (expected[n] != END)
        n++;
    assert_int_equal(count, n);
    assert_memory_equal(ids, expected, n * sizeof *ids);
    char *back = tokenizer_decode(v->tokenizer, ids, count);
    assert_string_equal(back, text);
    free(back);
    free(ids);
}

static void check_non_speech(const struct vocabulary *v, const int32_t *expected,
                             size_t n)
{
    size_t count;
    const int32_t *ids = tokenizer_non_speech(v->tokenizer, &count);
    assert_int_equal(count, n);
    assert_memory_equal(ids, expected, n * sizeof *ids);
    assert_int_equal(tokenizer_blank(v->tokenizer), 220);
}

static void test_the_multilingual_vocabulary(void **state)
{
    (void)state;
    struct vocabulary v;
    open_vocabulary(&v, "ggml-tiny.bin");
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++)
        check_known(&v, known[i].text, known[i].multilingual);
    check_non_speech(&v, non_speech_multilingual, ARRAY_LENGTH(non_speech_multilingual));
    close_vocabulary(&v);
}

static void test_the_english_vocabulary(void **state)
{
    (void)state;
    struct vocabulary v;
    open_vocabulary(&v, "ggml-base.en.bin");
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++)
        check_known(&v, known[i].text, known[i].english);
    check_non_speech(&v, non_speech_english, ARRAY_LENGTH(non_speech_english));
    close_vocabulary(&v);
}

/* A token whose bytes are valid text most often encodes to itself: not when it spans what
 * the expression keeps apart. Its text always comes back. */
static void test_every_token_comes_back(void **state)
{
    (void)state;
    struct vocabulary v;
    open_vocabulary(&v, "ggml-tiny.bin");
    int same = 0;
    for (int32_t id = 0; id < 50256; id++) {
        size_t length, count = 0, capacity = 0;
        int32_t *ids = NULL;
        const char *piece = tokenizer_piece(v.tokenizer, id, &length);
        char *text = tokenizer_decode(v.tokenizer, &id, 1);
        if (!memchr(piece, 0, length) && strlen(text) == length &&
            !memcmp(text, piece, length)) {
            assert_int_equal(tokenizer_encode(v.tokenizer, piece, length, &ids, &count,
                                              &capacity, NULL),
                             0);
            same += count == 1 && ids[0] == id;
            char *back = tokenizer_decode(v.tokenizer, ids, count);
            assert_string_equal(back, text);
            free(back);
        }
        free(ids);
        free(text);
    }
    assert_true(same > 48000);
    close_vocabulary(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_multilingual_vocabulary),
        cmocka_unit_test(test_the_english_vocabulary),
        cmocka_unit_test(test_every_token_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
