/* Word times with a small model whose attention means nothing: what must hold whatever
 * the model looks at. Times that mean something are in test_align_real.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "engine/align.h"
#include "engine/align_heads.h"
#include "model_files.h"

#include <math.h>
#include <unistd.h>

static struct whisper_model *model;
static struct net *net;
static struct tokenizer *tokenizer;
static struct align *align;

static int open_all(void **state)
{
    (void)state;
    struct model_files f;
    char path[64];
    struct net_options o = {.threads = 2, .max_windows = 1, .max_slots = 2};
    model_files_init(&f, TENSOR_F16, true);
    model_files_ggml(&f);
    int fd = model_files_memory(f.bytes.data, f.bytes.length, path, sizeof path);
    assert_int_equal(whisper_model_load(&model, path, WHISPER_WEIGHTS_AS_GIVEN, NULL), 0);
    close(fd);
    model_files_release(&f);
    assert_int_equal(net_open(&net, model, &o, NULL), 0);
    assert_int_equal(tokenizer_open(&tokenizer, model, NULL), 0);
    assert_int_equal(align_open(&align, model, net, tokenizer, NULL), 0);
    float *mel = mem_array(WHISPER_WINDOW_FRAMES * 80, sizeof *mel);
    assert_non_null(mel);
    for (int i = 0; i < WHISPER_WINDOW_FRAMES * 80; i++)
        mel[i] = sinf((float)i * 0.37f);
    const float *mels[] = {mel};
    net_encode(net, 0, mels, 1);
    free(mel);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    align_close(align);
    align_close(NULL);
    tokenizer_close(tokenizer);
    net_close(net);
    whisper_model_free(model);
    return 0;
}

/* ---- requests -------------------------------------------------------------------- */

#define MOST 70

/* Tokens of a window: text, a timestamp after every seventh. */
static size_t some_tokens(int32_t *out, size_t n)
{
    int32_t stamp = tokenizer_specials(tokenizer)->timestamp_begin;
    for (size_t i = 0; i < n; i++)
        out[i] = i % 7 == 6 ? stamp + (int32_t)i : (int32_t)(1 + i * 37 % 255);
    return n;
}

static struct align_request request(const int32_t *tokens, size_t n, int frames)
{
    return (struct align_request){
        .slot = 1, .language = 2, .tokens = tokens, .n_tokens = n, .frames = frames};
}

static void expect_sound_words(const struct align_request *r)
{
    struct align_word *words;
    size_t n, to = 0;
    struct err e = {0};
    double before = 0;
    if (align_window(align, r, &words, &n, &e))
        fail_msg("%s", e.message);
    struct buf joined;
    buf_init(&joined, 10000);
    for (size_t i = 0; i < n; i++) {
        const struct align_word *w = &words[i];
        assert_true(w->start_seconds >= before && w->end_seconds >= w->start_seconds);
        assert_true(w->end_seconds <= r->frames / 100.0);
        assert_true(w->probability >= 0 && w->probability <= 1);
        assert_true(w->from >= to && w->to > w->from && w->to <= r->n_tokens);
        for (size_t c = 0; c < r->n_cuts; c++)
            assert_true(w->start_seconds * 100 >= r->cuts[c] - 1 ||
                        w->end_seconds * 100 <= r->cuts[c] + 1);
        before = w->end_seconds;
        to = w->to;
        buf_str(&joined, w->text);
    }
    char *text = tokenizer_decode(tokenizer, r->tokens, r->n_tokens);
    assert_string_equal(buf_cstr(&joined), text);
    free(text);
    buf_release(&joined);
    align_words_free(words, n);
}

/* ---- tests ----------------------------------------------------------------------- */

static void words_are_in_order_and_within_the_window(void **state)
{
    (void)state;
    int32_t tokens[MOST];
    uint8_t levels[WHISPER_WINDOW_FRAMES];
    for (int i = 0; i < WHISPER_WINDOW_FRAMES; i++)
        levels[i] = i / 40 % 3 ? 80 : 20;
    static const int frames[] = {1, 2, 3, 57, 58, 400, 2999, 3000};
    static const size_t sizes[] = {1, 19, 64};
    for (size_t i = 0; i < ARRAY_LENGTH(frames); i++) {
        for (size_t k = 0; k < ARRAY_LENGTH(sizes); k++) {
            size_t n = sizes[k];
            struct align_request r = request(tokens, some_tokens(tokens, n), frames[i]);
            expect_sound_words(&r);
            r.levels = levels;
            expect_sound_words(&r);
            r.task = WHISPER_TRANSLATE;
            r.language = 1; /* Chinese: no spaces */
            expect_sound_words(&r);
        }
    }
}

static void no_word_is_on_both_sides_of_a_cut(void **state)
{
    (void)state;
    int32_t tokens[MOST];
    uint8_t levels[1000];
    const int cuts[] = {120, 500, 640};
    memset(levels, 70, sizeof levels);
    struct align_request r = request(tokens, some_tokens(tokens, 40), 1000);
    r.levels = levels;
    r.cuts = cuts;
    r.n_cuts = ARRAY_LENGTH(cuts);
    expect_sound_words(&r);
    r.levels = NULL;
    expect_sound_words(&r);
}

static void a_word_stays_in_its_segment(void **state)
{
    (void)state;
    int32_t tokens[6];
    struct align_word *words;
    size_t n, ends[] = {2, 2, 6};
    int32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    assert_int_equal(
        tokenizer_encode(tokenizer, "abcdef", 6, &ids, &count, &capacity, NULL), 0);
    assert_true(count > 1);
    for (size_t i = 0; i < 6; i++)
        tokens[i] = ids[i % count];
    struct align_request r = request(tokens, 6, 300);
    assert_int_equal(align_window(align, &r, &words, &n, NULL), 0);
    assert_int_equal(n, 1);
    align_words_free(words, n);
    r.segment_ends = ends;
    r.n_segments = 3;
    expect_sound_words(&r);
    assert_int_equal(align_window(align, &r, &words, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_int_equal(words[0].to, 2);
    assert_int_equal(words[1].from, 2);
    align_words_free(words, n);
    free(ids);
}

static void nothing_has_no_words(void **state)
{
    (void)state;
    struct align_word *words;
    size_t n = 1;
    int32_t stamp = tokenizer_specials(tokenizer)->timestamp_begin;
    struct align_request r = request(&stamp, 1, 300);
    assert_int_equal(align_window(align, &r, &words, &n, NULL), 0);
    assert_null(words);
    assert_int_equal(n, 0);
    r.n_tokens = 0;
    assert_int_equal(align_window(align, &r, &words, &n, NULL), 0);
    assert_null(words);
}

static void refuses(struct align_request r, const char *why)
{
    struct align_word *words;
    size_t n;
    struct err e = {0};
    assert_int_equal(align_window(align, &r, &words, &n, &e), ERR_INVALID);
    if (!strstr(e.message, why))
        fail_msg("\"%s\" does not say \"%s\"", e.message, why);
    assert_null(words);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    int32_t tokens[MOST];
    memset(tokens, 0, sizeof tokens);
    refuses(request(tokens, 60, 300), "more than 59 tokens");
    refuses(request(tokens, 3, 0), "1 to 3000 frames");
    refuses(request(tokens, 3, 3001), "1 to 3000 frames");
    struct align_request r = request(tokens, 3, 300);
    r.language = 99;
    refuses(r, "no language 99");
    r = request(tokens, 3, 300);
    const size_t beyond[] = {1, 4}, early[] = {1, 2}, back[] = {2, 1, 3};
    r.n_segments = 2;
    r.segment_ends = beyond;
    refuses(r, "outside of the text");
    r.segment_ends = early;
    refuses(r, "does not end with the text");
    r.n_segments = 3;
    r.segment_ends = back;
    refuses(r, "outside of the text");
    r = request(tokens, 3, 300);
    const int cuts[] = {20, 301};
    r.cuts = cuts;
    r.n_cuts = 2;
    refuses(r, "a cut lies outside");
}

static void the_same_request_gives_the_same(void **state)
{
    (void)state;
    int32_t tokens[MOST];
    struct align_word *a, *b;
    size_t n, m;
    struct align_request r = request(tokens, some_tokens(tokens, 50), 2000);
    assert_int_equal(align_window(align, &r, &a, &n, NULL), 0);
    struct align_request other = request(tokens, 20, 700);
    assert_int_equal(align_window(align, &other, &b, &m, NULL), 0);
    align_words_free(b, m);
    assert_int_equal(align_window(align, &r, &b, &m, NULL), 0);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++) {
        assert_true(a[i].start_seconds == b[i].start_seconds);
        assert_true(a[i].end_seconds == b[i].end_seconds);
        assert_true(a[i].probability == b[i].probability);
    }
    align_words_free(a, n);
    align_words_free(b, m);
}

/* ---- heads ----------------------------------------------------------------------- */

static void heads_of(int audio, int text, int state, int mels, int vocabulary,
                     struct net_head **heads, int *n)
{
    float lag;
    struct whisper_model m = {.config = {.n_vocab = vocabulary,
                                         .n_audio_layer = audio,
                                         .n_audio_state = state,
                                         .n_text_layer = text,
                                         .n_text_state = state,
                                         .n_text_head = state / 64,
                                         .multilingual = vocabulary > 51864,
                                         .n_mels = mels}};
    assert_int_equal(align_heads_of(&m, heads, n, &lag, NULL), 0);
    assert_true(lag > -10 && lag < 10);
    for (int i = 0; i < *n; i++) {
        assert_true((*heads)[i].layer < text && (*heads)[i].head < state / 64);
        if (i)
            assert_true((*heads)[i].layer * 64 + (*heads)[i].head >
                        (*heads)[i - 1].layer * 64 + (*heads)[i - 1].head);
    }
}

static void every_published_model_has_its_heads(void **state)
{
    (void)state;
    static const struct {
        int audio, text, state, mels, vocabulary, n_heads;
        struct net_head first, last;
    } models[] = {
        {4, 4, 384, 80, 51864, 8, {1, 0}, {3, 4}},
        {4, 4, 384, 80, 51865, 6, {2, 2}, {3, 5}},
        {6, 6, 512, 80, 51864, 4, {3, 6}, {5, 4}},
        {6, 6, 512, 80, 51865, 8, {3, 1}, {5, 6}},
        {12, 12, 768, 80, 51864, 19, {6, 6}, {11, 4}},
        {12, 12, 768, 80, 51865, 10, {5, 3}, {10, 5}},
        {24, 24, 1024, 80, 51864, 18, {11, 4}, {21, 12}},
        {24, 24, 1024, 80, 51865, 6, {13, 15}, {23, 4}},
        {32, 32, 1280, 80, 51865, 23, {10, 12}, {27, 15}},
        {32, 32, 1280, 128, 51866, 10, {7, 0}, {25, 6}},
        {32, 4, 1280, 128, 51866, 6, {2, 4}, {3, 14}},
        /* Not published: the upper half. */
        {32, 2, 1280, 128, 51866, 20, {1, 0}, {1, 19}},
        {5, 3, 384, 80, 51865, 12, {1, 0}, {2, 5}},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(models); i++) {
        struct net_head *heads;
        int n;
        heads_of(models[i].audio, models[i].text, models[i].state, models[i].mels,
                 models[i].vocabulary, &heads, &n);
        assert_int_equal(n, models[i].n_heads);
        assert_int_equal(heads[0].layer, models[i].first.layer);
        assert_int_equal(heads[0].head, models[i].first.head);
        assert_int_equal(heads[n - 1].layer, models[i].last.layer);
        assert_int_equal(heads[n - 1].head, models[i].last.head);
        free(heads);
    }
}

/* A distilled model, and a large one whose files know which it is. */
static void a_models_own_list_is_taken(void **state)
{
    (void)state;
    struct whisper_model m = {.config = {.n_vocab = 51866,
                                         .n_audio_layer = 32,
                                         .n_audio_state = 1280,
                                         .n_text_layer = 2,
                                         .n_text_state = 1280,
                                         .n_text_head = 20,
                                         .multilingual = true,
                                         .n_mels = 128,
                                         .n_align_heads = 2,
                                         .align_heads = {{0, 7}, {1, 3}}}};
    struct net_head *heads;
    int n;
    float lag;
    assert_int_equal(align_heads_of(&m, &heads, &n, &lag, NULL), 0);
    assert_int_equal(n, 2);
    assert_int_equal(heads[0].layer, 0);
    assert_int_equal(heads[0].head, 7);
    assert_int_equal(heads[1].head, 3);
    free(heads);
    m.config.n_text_layer = 32;
    m.config.n_vocab = 51865;
    m.config.n_mels = 80;
    assert_int_equal(align_heads_of(&m, &heads, &n, &lag, NULL), 0);
    assert_int_equal(n, 2);
    free(heads);
    m.config.align_heads[1][0] = 32; /* there is no such layer */
    assert_int_equal(align_heads_of(&m, &heads, &n, &lag, NULL), 0);
    assert_int_equal(n, 23);
    free(heads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_in_order_and_within_the_window),
        cmocka_unit_test(no_word_is_on_both_sides_of_a_cut),
        cmocka_unit_test(a_word_stays_in_its_segment),
        cmocka_unit_test(nothing_has_no_words),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(the_same_request_gives_the_same),
        cmocka_unit_test(every_published_model_has_its_heads),
        cmocka_unit_test(a_models_own_list_is_taken),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
