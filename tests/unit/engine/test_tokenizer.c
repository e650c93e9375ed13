/* The tokenizer over a small vocabulary (single bytes and pairs), and the repair of text.
 * What the published vocabularies give is in test_tokenizer_real.c. */
#include "base/mem.h"
#include "engine/tokenizer.h"
#include "engine/utf8.h"
#include "model_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

struct small {
    struct whisper_model *model;
    struct tokenizer *tokenizer;
};

static int set_up(void **state)
{
    struct small *s = calloc(1, sizeof *s);
    struct model_files f;
    char path[64];
    model_files_init(&f, TENSOR_Q4_0, true);
    model_files_ggml(&f);
    int fd = model_files_memory(f.bytes.data, f.bytes.length, path, sizeof path);
    assert_int_equal(whisper_model_load(&s->model, path, WHISPER_WEIGHTS_AS_GIVEN, NULL),
                     0);
    assert_int_equal(tokenizer_open(&s->tokenizer, s->model, NULL), 0);
    close(fd);
    model_files_release(&f);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct small *s = *state;
    tokenizer_close(s->tokenizer);
    tokenizer_close(NULL);
    whisper_model_free(s->model);
    free(s);
    return 0;
}

/* ---- special tokens ---------------------------------------------------------------- */

static struct special_tokens specials(int n_vocab)
{
    struct whisper_config c = model_files_config(true);
    c.n_vocab = n_vocab;
    assert_int_equal(config_check(&c, NULL), 0);
    struct special_tokens s;
    special_tokens_of(&c, &s);
    return s;
}

static void test_special_ids_of_each_vocabulary(void **state)
{
    (void)state;
    struct special_tokens s = specials(51864);
    assert_int_equal(s.eot, 50256);
    assert_int_equal(s.sot, 50257);
    assert_int_equal(s.translate, 50357);
    assert_int_equal(s.transcribe, 50358);
    assert_int_equal(s.sot_lm, 50359);
    assert_int_equal(s.sot_prev, 50360);
    assert_int_equal(s.no_speech, 50361);
    assert_int_equal(s.no_timestamps, 50362);
    assert_int_equal(s.timestamp_begin, 50363);
    assert_int_equal(s.language_begin, -1);
    assert_int_equal(s.n_languages, 0);
    s = specials(51865);
    assert_int_equal(s.eot, 50257);
    assert_int_equal(s.sot, 50258);
    assert_int_equal(s.language_begin, 50259);
    assert_int_equal(s.n_languages, 99);
    assert_int_equal(s.translate, 50358);
    assert_int_equal(s.transcribe, 50359);
    assert_int_equal(s.no_timestamps, 50363);
    assert_int_equal(s.timestamp_begin, 50364);
    s = specials(51866);
    assert_int_equal(s.n_languages, 100);
    assert_int_equal(s.translate, 50359);
    assert_int_equal(s.timestamp_begin, 50365);
    assert_int_equal(s.timestamp_begin + 1500, 51865);
}

static void test_special_names(void **state)
{
    (void)state;
    static const struct {
        int32_t id;
        const char *name;
    } names[] = {
        {0, ""},
        {-1, ""},
        {50256, ""},
        {50257, "<|endoftext|>"},
        {50258, "<|startoftranscript|>"},
        {50259, "<|en|>"},
        {50261, "<|de|>"},
        {50357, "<|su|>"},
        {50358, "<|translate|>"},
        {50359, "<|transcribe|>"},
        {50360, "<|startoflm|>"},
        {50361, "<|startofprev|>"},
        {50362, "<|nospeech|>"},
        {50363, "<|notimestamps|>"},
        {50364, "<|0.00|>"},
        {50428, "<|1.28|>"},
        {51864, "<|30.00|>"},
        {51865, ""},
    };
    struct whisper_config c = model_files_config(true);
    char name[SPECIAL_NAME_SIZE];
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        assert_string_equal(special_token_name(&c, names[i].id, name), names[i].name);
}

/* ---- repair ------------------------------------------------------------------------ */

static void repaired(const char *text, size_t length, const char *expected)
{
    struct buf out;
    buf_init(&out, 3 * length);
    utf8_repair(&out, text, length);
    assert_false(buf_failed(&out));
    assert_string_equal(buf_cstr(&out), expected);
    buf_release(&out);
}

#define R "\xEF\xBF\xBD"

static void test_repairs_every_kind_of_damage(void **state)
{
    (void)state;
#define REPAIRED(text, expected) repaired(text, sizeof(text) - 1, expected)
    REPAIRED("", "");
    REPAIRED("plain", "plain");
    REPAIRED("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80",
             "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
    REPAIRED("\x80", R);
    REPAIRED("a\xBF"
             "b",
             "a" R "b");
    REPAIRED("\xFE\xFF", R R);
    /* Cut off at the end, and by another character: one replacement for what belongs
     * together. */
    REPAIRED("\xC3", R);
    REPAIRED("\xE2\x82", R);
    REPAIRED("\xF0\x9F\x98", R);
    REPAIRED("\xF0\x9F\x98x", R "x");
    REPAIRED("\xE2\x82\xE2\x82\xAC", R "\xE2\x82\xAC");
    /* Overlong, surrogate, beyond U+10FFFF: the second byte does not belong. */
    REPAIRED("\xC0\x80", R R);
    REPAIRED("\xE0\x80\x80", R R R);
    REPAIRED("\xED\xA0\x80", R R R);
    REPAIRED("\xF0\x80\x80\x80", R R R R);
    REPAIRED("\xF4\x90\x80\x80", R R R R);
    REPAIRED("\xED\x9F\xBF\xEE\x80\x80", "\xED\x9F\xBF\xEE\x80\x80");
    REPAIRED("\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF");
    /* The example of the Unicode Standard, table 3-11. */
    REPAIRED("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", R R R R "A");
}

/* ---- both ways -----------------------------------------------------------------------
 */

static size_t encode(const struct small *s, const char *text, size_t length,
                     int32_t **ids)
{
    size_t count = 0, capacity = 0;
    *ids = NULL;
    assert_int_equal(
        tokenizer_encode(s->tokenizer, text, length, ids, &count, &capacity, NULL), 0);
    return count;
}

static int32_t pair_id(const char *pair)
{
    return 256 + (uint8_t)pair[0] * 256 + (uint8_t)pair[1];
}

/* The lowest id is merged first, then the next, and never across pieces. */
static void test_merges_the_lowest_pair_first(void **state)
{
    int32_t *ids;
    assert_int_equal(encode(*state, "bab", 3, &ids), 2);
    assert_int_equal(ids[0], 'b');
    assert_int_equal(ids[1], pair_id("ab"));
    free(ids);
    assert_int_equal(encode(*state, "aaaaa", 5, &ids), 3);
    assert_int_equal(ids[0], pair_id("aa"));
    assert_int_equal(ids[1], pair_id("aa"));
    assert_int_equal(ids[2], 'a');
    free(ids);
    assert_int_equal(encode(*state, "a b", 3, &ids), 2);
    assert_int_equal(ids[0], 'a');
    assert_int_equal(ids[1], pair_id(" b"));
    free(ids);
    assert_int_equal(encode(*state, "it's", 4, &ids), 2);
    assert_int_equal(ids[1], pair_id("'s"));
    free(ids);
    assert_int_equal(encode(*state, "", 0, &ids), 0);
    free(ids);
}

static void test_appends_to_what_is_there(void **state)
{
    struct small *s = *state;
    int32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    for (int i = 0; i < 100; i++)
        assert_int_equal(
            tokenizer_encode(s->tokenizer, "x1", 2, &ids, &count, &capacity, NULL), 0);
    assert_int_equal(count, 200);
    for (int i = 0; i < 200; i++)
        assert_int_equal(ids[i], i % 2 ? '1' : 'x');
    free(ids);
}

static void round_trip(const struct small *s, const char *text, const char *expected)
{
    int32_t *ids;
    size_t count = encode(s, text, strlen(text), &ids);
    char *back = tokenizer_decode(s->tokenizer, ids, count);
    assert_non_null(back);
    assert_string_equal(back, expected);
    free(back);
    free(ids);
}

static void test_text_comes_back(void **state)
{
    static const char *const texts[] = {
        "Hello, world! It's 10:45.",
        "Grüße aus Köln — „schön“",
        "今日は良い天気です。",
        "Добрый день, как дела?",
        "مرحبا بالعالم",
        "हिन्दी में लिखा है",
        "ภาษาไทย",
        "👩‍👩‍👧‍👦 🎉",
        "<|endoftext|>",
        "  leading,  double,\n\n new lines  ",
        "\t\v\f\r\n",
        "٣٤٥ ½ Ⅷ",
        "zero\xE2\x80\x8Bwidth\xC2\xA0space",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        round_trip(*state, texts[i], texts[i]);
    round_trip(*state, "bad \xFF bytes \xC3", "bad " R " bytes " R);
}

/* A piece may be as long as the text; it must not take quadratic time or deep recursion.
 * The time is not judged: a quadratic merge would run into the test's limit. */
static void test_very_long_pieces(void **state)
{
    size_t n = 1000000;
    char *text = malloc(n);
    static const char kinds[] = "a1. ";
    for (int kind = 0; kind < 4; kind++) {
        int32_t *ids;
        memset(text, kinds[kind], n);
        size_t count = encode(*state, text, n, &ids);
        assert_int_equal(count, n / 2);
        free(ids);
    }
    free(text);
}

static void test_pieces_of_tokens(void **state)
{
    struct small *s = *state;
    size_t length;
    assert_memory_equal(tokenizer_piece(s->tokenizer, 'x', &length), "x", 1);
    assert_int_equal(length, 1);
    assert_memory_equal(tokenizer_piece(s->tokenizer, pair_id("ab"), &length), "ab", 2);
    assert_int_equal(length, 2);
    static const int32_t none[] = {-1, INT32_MIN, 50256, 50257, 51864, 51865, INT32_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(none); i++) {
        assert_non_null(tokenizer_piece(s->tokenizer, none[i], &length));
        assert_int_equal(length, 0);
    }
    const int32_t ids[] = {50258, 'a', 50364, 'b', 51864, 50257, -7};
    char *text = tokenizer_decode(s->tokenizer, ids, ARRAY_LENGTH(ids));
    assert_string_equal(text, "ab");
    free(text);
    text = tokenizer_decode(s->tokenizer, NULL, 0);
    assert_string_equal(text, "");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special_ids_of_each_vocabulary),
        cmocka_unit_test(test_special_names),
        cmocka_unit_test(test_repairs_every_kind_of_damage),
        cmocka_unit_test(test_merges_the_lowest_pair_first),
        cmocka_unit_test(test_appends_to_what_is_there),
        cmocka_unit_test(test_text_comes_back),
        cmocka_unit_test(test_very_long_pieces),
        cmocka_unit_test(test_pieces_of_tokens),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
