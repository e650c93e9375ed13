/* JSON and back: nothing is lost, and nothing damaged gets in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "format/transcript.h"

#include <math.h>

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static float random_float(void)
{
    return (float)((double)random_bits() / 1e19 - 0.9) * 3.7f;
}

static void fill(struct transcript *t)
{
    transcript_init(t);
    snprintf(t->task, sizeof t->task, "translate");
    snprintf(t->model, sizeof t->model, "large-v3-turbo");
    snprintf(t->language, sizeof t->language, "yue");
    snprintf(t->language_name, sizeof t->language_name, "cantonese");
    snprintf(t->warning, sizeof t->warning, "the file is cut short\n");
    t->language_probability = (double)0.123456789f;
    t->duration = 100.0 / 3;
    static const char *const texts[] = {"", " \"quoted\" \\ / \b\f\n\r\t\x1F\x7F",
                                        "\xE7\xB2\xB5\xE8\xAA\x9E \xF0\x9F\x98\x80",
                                        " </script><!-- --> \xE2\x80\xA8"};
    for (int i = 0; i < 500; i++) {
        int32_t tokens[5] = {0, 51865, (int32_t)(random_bits() % 51866), INT32_MAX, i};
        char text[100];
        snprintf(text, sizeof text, "%s", texts[i % 4]);
        struct transcript_segment s = {.id = i,
                                       .seek = (int64_t)(random_bits() >> 20),
                                       .start = (double)random_bits() / 1e15,
                                       .end = (double)(i * 2) * 0.02,
                                       .text = text,
                                       .tokens = tokens,
                                       .n_tokens = (size_t)i % 6,
                                       .temperature = random_float(),
                                       .avg_logprob = random_float(),
                                       .compression_ratio = random_float(),
                                       .no_speech_prob = random_float()};
        char said[] = " \"said\"", nothing[] = "";
        struct transcript_word words[3] = {{said, 1.0 / 3, 0.5, random_float()},
                                           {nothing, 0.5, 0.5, NAN},
                                           {text, 0.5, 7, 1}};
        if (i % 3) {
            s.words = words;
            s.n_words = (size_t)i % 4;
            snprintf(s.language, sizeof s.language, "yue");
        }
        char none[] = "", bytes[] = "20e5ad";
        struct transcript_token logprobs[2] = {{bytes, random_float()}, {none, NAN}};
        if (i % 5) {
            s.logprobs = logprobs;
            s.n_logprobs = (size_t)i % 3;
        }
        assert_int_equal(transcript_add(t, &s), 0);
    }
}

static void assert_same(const struct transcript_segment *a,
                        const struct transcript_segment *b)
{
    assert_int_equal(a->id, b->id);
    assert_true(a->seek == b->seek && a->start == b->start && a->end == b->end);
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_memory_equal(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens);
    assert_string_equal(a->language, b->language);
    assert_true((a->words == NULL) == (b->words == NULL));
    assert_int_equal(a->n_words, b->n_words);
    for (size_t i = 0; i < a->n_words; i++) {
        const struct transcript_word *v = &a->words[i], *w = &b->words[i];
        assert_string_equal(v->text, w->text);
        assert_true(v->start == w->start && v->end == w->end);
        assert_true(v->probability == w->probability ||
                    (isnan(v->probability) && isnan(w->probability)));
    }
    assert_true((a->logprobs == NULL) == (b->logprobs == NULL));
    assert_int_equal(a->n_logprobs, b->n_logprobs);
    for (size_t i = 0; i < a->n_logprobs; i++) {
        float v = a->logprobs[i].logprob, w = b->logprobs[i].logprob;
        assert_string_equal(a->logprobs[i].hex, b->logprobs[i].hex);
        assert_true(v == w || (isnan(v) && isnan(w)));
    }
    assert_true(a->temperature == b->temperature && a->avg_logprob == b->avg_logprob);
    assert_true(a->compression_ratio == b->compression_ratio &&
                a->no_speech_prob == b->no_speech_prob);
}

static void nothing_is_lost(void **state)
{
    (void)state;
    struct transcript t, back;
    fill(&t);
    struct buf json;
    buf_init(&json, 1 << 20);
    assert_int_equal(format_write(FORMAT_JSON, &t, &json), 0);
    struct err e = {0};
    if (transcript_parse(&back, json.data, json.length, &e))
        fail_msg("%s", e.message);
    assert_string_equal(t.task, back.task);
    assert_string_equal(t.model, back.model);
    assert_string_equal(t.language, back.language);
    assert_string_equal(t.language_name, back.language_name);
    assert_string_equal(t.warning, back.warning);
    assert_true(t.duration == back.duration);
    assert_true(t.language_probability == back.language_probability);
    assert_int_equal(t.n_segments, back.n_segments);
    for (size_t i = 0; i < t.n_segments; i++)
        assert_same(&t.segments[i], &back.segments[i]);
    struct buf again;
    buf_init(&again, 1 << 20);
    assert_int_equal(format_write(FORMAT_JSON, &back, &again), 0);
    assert_string_equal(buf_cstr(&json), buf_cstr(&again));
    buf_release(&json);
    buf_release(&again);
    transcript_release(&t);
    transcript_release(&back);
}

#define HEAD                                                                             \
    "{\"task\":\"transcribe\",\"model\":\"tiny\",\"language\":\"en\","                   \
    "\"language_name\":\"english\",\"language_probability\":1,\"duration\":2,"
#define SEGMENT(start, text, tokens)                                                     \
    "{\"id\":0,\"seek\":0,\"start\":" start ",\"end\":2,\"text\":" text                  \
    ",\"tokens\":" tokens                                                                \
    ",\"temperature\":0,\"avg_logprob\":null,\"compression_ratio\":1,"                   \
    "\"no_speech_prob\":0}"

static int parse(const char *json, struct transcript *t, struct err *e)
{
    /* A copy of the exact size lets a sanitizer see reads past the end. */
    size_t length = strlen(json);
    char *copy = malloc(length ? length : 1);
    memcpy(copy, json, length);
    int status = transcript_parse(t, copy, length, e);
    free(copy);
    return status;
}

static void what_is_right_is_read(void **state)
{
    (void)state;
    struct transcript t;
    struct err e = {0};
    if (parse(HEAD "\"later\":1,\"segments\":[" SEGMENT("1", "\"x\"", "[5]") "]}", &t,
              &e))
        fail_msg("%s", e.message);
    assert_int_equal(t.n_segments, 1);
    assert_true(t.segments[0].avg_logprob != t.segments[0].avg_logprob);
    transcript_release(&t);
}

static void what_is_damaged_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *said;
    } cases[] = {
        {"", "not JSON"},
        {"{", "not JSON"},
        {"[]", "not a JSON object"},
        {HEAD "\"segments\":{}}", "segments"},
        {HEAD "\"segments\":[1]}", "segments"},
        {HEAD "\"task\":\"x\",\"segments\":[]}", "not JSON"}, /* twice the same key */
        {HEAD "\"warning\":3,\"segments\":[]}", "warning"},
        {HEAD "\"segments\":[" SEGMENT("-1", "\"x\"", "[]") "]}", "start"},
        {HEAD "\"segments\":[" SEGMENT("1e12", "\"x\"", "[]") "]}", "start"},
        {HEAD "\"segments\":[" SEGMENT("\"1\"", "\"x\"", "[]") "]}", "start"},
        {HEAD "\"segments\":[" SEGMENT("null", "\"x\"", "[]") "]}", "start"},
        {HEAD "\"segments\":[" SEGMENT("1", "7", "[]") "]}", "text"},
        {HEAD "\"segments\":[" SEGMENT("1", "\"\\u0000\"", "[]") "]}", "not JSON"},
        {HEAD "\"segments\":[" SEGMENT("1", "\"\xFF\"", "[]") "]}", "not JSON"},
        {HEAD "\"segments\":[" SEGMENT("1", "\"x\"", "7") "]}", "tokens"},
        {HEAD "\"segments\":[" SEGMENT("1", "\"x\"", "[1.5]") "]}", "tokens"},
        {HEAD "\"segments\":[" SEGMENT("1", "\"x\"", "[-1]") "]}", "tokens"},
        {HEAD "\"segments\":[" SEGMENT("1", "\"x\"", "[4294967296]") "]}", "tokens"},
        {HEAD "\"segments\":[" SEGMENT("1", "\"x\"", "[],\"logprobs\":7") "]}",
         "logprobs"},
        {HEAD "\"segments\":[" SEGMENT("1", "\"x\"", "[],\"logprobs\":[7]") "]}",
         "bytes"},
        {HEAD "\"segments\":[" SEGMENT(
             "1", "\"x\"", "[],\"logprobs\":[{\"bytes\":\"4g\",\"logprob\":0}]") "]}",
         "bytes"},
        {HEAD "\"segments\":[" SEGMENT(
             "1", "\"x\"", "[],\"logprobs\":[{\"bytes\":\"414\",\"logprob\":0}]") "]}",
         "bytes"},
        {HEAD "\"segments\":[" SEGMENT(
             "1", "\"x\"", "[],\"logprobs\":[{\"bytes\":\"41\",\"logprob\":\"0\"}]") "]}",
         "logprob"},
        {"{\"task\":\"a task whose name is far too long\",\"segments\":[]}", "task"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct transcript t;
        struct err e = {0};
        assert_int_equal(parse(cases[i].json, &t, &e), ERR_CORRUPT);
        if (!strstr(e.message, cases[i].said))
            fail_msg("%s: \"%s\"", cases[i].json, e.message);
        assert_int_equal(t.n_segments, 0);
        assert_null(t.segments);
    }
}

static void every_cut_of_a_document_is_refused(void **state)
{
    (void)state;
    const char *json = HEAD "\"segments\":[" SEGMENT("1", "\"x\"", "[5]") "]}";
    size_t length = strlen(json);
    for (size_t i = 0; i < length; i++) {
        struct transcript t;
        assert_int_equal(transcript_parse(&t, json, i, NULL), ERR_CORRUPT);
    }
}

static void text_is_joined_and_trimmed(void **state)
{
    (void)state;
    struct transcript t;
    transcript_init(&t);
    char one[] = " One\xFF", two[] = " two. ";
    struct transcript_segment s = {.text = one};
    assert_int_equal(transcript_add(&t, &s), 0);
    s.text = two;
    assert_int_equal(transcript_add(&t, &s), 0);
    struct buf out;
    buf_init(&out, 100);
    transcript_text(&t, &out);
    assert_string_equal(buf_cstr(&out), "One\xEF\xBF\xBD two.");
    buf_release(&out);
    transcript_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(what_is_right_is_read),
        cmocka_unit_test(what_is_damaged_is_refused),
        cmocka_unit_test(every_cut_of_a_document_is_refused),
        cmocka_unit_test(text_is_joined_and_trimmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
