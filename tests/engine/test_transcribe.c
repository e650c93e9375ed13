/* Recordings to text with real weights: the words, the times, going on after a break, and
 * what is no speech at all. Needs ggml-tiny.bin (and ggml-base.en.bin for one test) in
 * $WT_TEST_MODELS, or models/; the recordings are those of golden/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "engine/whisper.h"

#include <math.h>
#include <unistd.h>

static char golden_folder[400], models_folder[400];
static struct whisper_model *model;
static struct whisper_session *session;

/* ---- samples --------------------------------------------------------------------- */

struct sound {
    float *samples; /* owned */
    size_t count, capacity;
};

static void add_samples(struct sound *s, const float *samples, size_t count)
{
    assert_int_equal(mem_grow(&s->samples, &s->capacity, s->count + count, sizeof(float)),
                     0);
    for (size_t i = 0; i < count; i++)
        s->samples[s->count++] = samples ? samples[i] : 0;
}

static void add_silence(struct sound *s, double seconds)
{
    add_samples(s, NULL, (size_t)(seconds * WHISPER_SAMPLE_RATE));
}

/* 16-bit samples behind a header of 44 bytes. */
static void add_recording(struct sound *s, const char *name)
{
    char path[600];
    struct buf bytes;
    struct err e = {0};
    snprintf(path, sizeof path, "%s/%s.wav", golden_folder, name);
    buf_init(&bytes, 1 << 24);
    if (fs_read(path, &bytes, &e))
        fail_msg("%s", e.message);
    assert_true(bytes.length > 44);
    for (size_t i = 44; i + 1 < bytes.length; i += 2) {
        int16_t sample;
        memcpy(&sample, bytes.data + i, sizeof(sample));
        float x = (float)sample / 32768;
        add_samples(s, &x, 1);
    }
    buf_release(&bytes);
}

/* Four windows: speech, silence within and between. */
static struct sound long_sound(void)
{
    struct sound s = {0};
    const char *const order[] = {"clean", "telephone", "noisy"};
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < ARRAY_LENGTH(order); i++) {
            add_recording(&s, order[(i + (size_t)round) % ARRAY_LENGTH(order)]);
            add_silence(&s, 1.5);
        }
    }
    return s;
}

/* ---- hearing --------------------------------------------------------------------- */

struct watch {
    int windows, asked;
    int stop_after_windows, stop_after_questions; /* 0: never */
    int64_t next_frame, total_frames;
};

static bool on_cancelled(void *arg)
{
    struct watch *w = arg;
    w->asked++;
    return (w->stop_after_windows > 0 && w->windows >= w->stop_after_windows) ||
           (w->stop_after_questions > 0 && w->asked >= w->stop_after_questions);
}

static void on_window(void *arg, int64_t next_frame, int64_t total_frames)
{
    struct watch *w = arg;
    assert_true(next_frame > w->next_frame && next_frame <= total_frames);
    w->next_frame = next_frame;
    w->total_frames = total_frames;
    w->windows++;
}

static int hear(const struct sound *s, const struct whisper_params *p, struct watch *w,
                struct whisper_result *r)
{
    struct err e = {0};
    const struct whisper_callbacks c = {
        .arg = w, .cancelled = on_cancelled, .window = on_window};
    int rc = whisper_transcribe(session, s->samples, s->count, p, w ? &c : NULL, r, &e);
    if (rc < 0 && rc != ERR_CANCELLED)
        fail_msg("%s", e.message);
    return rc;
}

/* Lower-case letters and single spaces. The caller frees it. */
static char *words_of(const struct whisper_result *r)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_char(&b, ' ');
    for (size_t i = 0; i < r->n_segments; i++) {
        for (const char *c = r->segments[i].text; *c; c++) {
            if (*c >= 'A' && *c <= 'Z')
                buf_char(&b, (char)(*c + 'a' - 'A'));
            else if (*c >= 'a' && *c <= 'z')
                buf_char(&b, *c);
            else if (*c == ' ')
                buf_char(&b, ' ');
        }
    }
    buf_char(&b, ' ');
    return buf_take(&b);
}

static void assert_words(const struct whisper_result *r, const char *const *words)
{
    char *text = words_of(r);
    for (; *words; words++) {
        char needle[64];
        snprintf(needle, sizeof needle, " %s ", *words);
        if (!strstr(text, needle))
            fail_msg("\"%s\" is not in \"%s\"", *words, text);
    }
    free(text);
}

static void assert_sound_result(const struct whisper_result *r)
{
    double before = 0;
    for (size_t i = 0; i < r->n_segments; i++) {
        const struct whisper_segment *s = &r->segments[i];
        assert_int_equal(s->id, i);
        assert_true(s->start_seconds >= before);
        assert_true(s->end_seconds > s->start_seconds);
        assert_true(s->end_seconds <= r->duration_seconds);
        assert_true(s->n_tokens > 0 && s->text[0]);
        assert_true(s->avg_logprob <= 0 && s->avg_logprob > -2);
        assert_true(s->no_speech_prob >= 0 && s->no_speech_prob <= 1);
        assert_true(s->compression_ratio > 0);
        before = s->end_seconds;
    }
}

static void assert_equal_results(const struct whisper_result *a,
                                 const struct whisper_result *b)
{
    assert_int_equal(a->n_segments, b->n_segments);
    for (size_t i = 0; i < a->n_segments; i++) {
        const struct whisper_segment *x = &a->segments[i], *y = &b->segments[i];
        assert_string_equal(x->text, y->text);
        assert_int_equal(x->id, y->id);
        assert_int_equal(x->seek_frame, y->seek_frame);
        assert_true(x->start_seconds == y->start_seconds);
        assert_true(x->end_seconds == y->end_seconds);
        assert_int_equal(x->n_tokens, y->n_tokens);
        assert_memory_equal(x->tokens, y->tokens, x->n_tokens * sizeof(*x->tokens));
    }
}

/* ---- tests ----------------------------------------------------------------------- */

static void says(const char *recording, const char *const *words)
{
    struct sound s = {0};
    struct whisper_params p;
    struct whisper_result r;
    struct watch w = {0};
    whisper_params_init(&p);
    whisper_result_init(&r);
    add_recording(&s, recording);
    assert_int_equal(hear(&s, &p, &w, &r), 0);
    assert_words(&r, words);
    assert_sound_result(&r);
    assert_string_equal(whisper_language_code(r.language), "en");
    assert_true(r.language_probability > 0.5f && r.language_probability <= 1);
    assert_int_equal(w.windows, 1);
    assert_true(r.segments[r.n_segments - 1].end_seconds > r.duration_seconds - 1.5);
    whisper_result_release(&r);
    free(s.samples);
}

static void the_words_are_there(void **state)
{
    (void)state;
    const char *const clean[] = {
        "he hoped there would be", "for dinner", "carrots and bruised potatoes and fat",
        "mutton pieces",           "sauce",      NULL};
    const char *const telephone[] = {"the boy declared he saw no one", "accordingly",
                                     "without paying the toll", NULL};
    const char *const noisy[] = {"ask her to bring", "things with her from the store",
                                 NULL};
    says("clean", clean);
    says("telephone", telephone);
    says("noisy", noisy);
}

static void hear_in_two(const struct sound *s, const struct whisper_params *given,
                        int windows, struct whisper_result *r)
{
    struct whisper_params p = *given;
    struct watch w = {.stop_after_windows = windows};
    assert_int_equal(hear(s, &p, &w, r), ERR_CANCELLED);
    assert_int_equal(w.windows, windows);
    p.start_frame = w.next_frame;
    w.stop_after_windows = 0;
    assert_int_equal(hear(s, &p, &w, r), 0);
}

static void going_on_gives_the_same(void **state)
{
    (void)state;
    struct sound s = long_sound();
    for (int condition = 0; condition <= 1; condition++) {
        struct whisper_params p;
        struct whisper_result whole, parts;
        struct watch w = {0};
        whisper_params_init(&p);
        p.language = "en";
        p.initial_prompt = "Turnips, carrots and potatoes.";
        p.condition_on_previous_text = condition;
        whisper_result_init(&whole);
        assert_int_equal(hear(&s, &p, &w, &whole), 0);
        assert_true(w.windows >= 3);
        assert_sound_result(&whole);
        for (int cut = 1; cut < 3; cut++) {
            whisper_result_init(&parts);
            hear_in_two(&s, &p, cut, &parts);
            assert_equal_results(&whole, &parts);
            whisper_result_release(&parts);
        }
        whisper_result_release(&whole);
    }
    free(s.samples);
}

/* ---- windows that are done before others ------------------------------------------- */

enum { AHEAD_MOST = 8 };

struct early {
    struct whisper_ahead list[AHEAD_MOST]; /* owned bytes */
    size_t count;
    int64_t next_frame;
    bool stops; /* as soon as there is one */
};

static bool early_cancelled(void *arg)
{
    const struct early *early = arg;
    return early->stops && early->count > 0;
}

static void early_window(void *arg, int64_t next_frame, int64_t total_frames)
{
    (void)total_frames;
    ((struct early *)arg)->next_frame = next_frame;
}

static void early_ahead(void *arg, int64_t next_frame, const void *bytes, size_t length)
{
    struct early *early = arg;
    assert_true(next_frame > early->next_frame);
    assert_true(early->count < AHEAD_MOST);
    void *copy = malloc(length);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    early->list[early->count++] = (struct whisper_ahead){copy, length};
}

static int hear_early(const struct sound *s, const struct whisper_params *p,
                      struct early *early, struct whisper_result *r)
{
    struct err e = {0};
    const struct whisper_callbacks c = {.arg = early,
                                        .cancelled = early_cancelled,
                                        .window = early_window,
                                        .ahead = early_ahead};
    int rc = whisper_transcribe(session, s->samples, s->count, p, &c, r, &e);
    if (rc < 0 && rc != ERR_CANCELLED)
        fail_msg("%s", e.message);
    return rc;
}

static void early_release(struct early *early)
{
    for (size_t i = 0; i < early->count; i++)
        free((void *)early->list[i].bytes);
    early->count = 0;
}

/* A long window, whose text takes many steps, and short ones behind it. */
static struct sound uneven_sound(void)
{
    struct sound s = {0};
    for (int i = 0; i < 4; i++)
        add_recording(&s, "clean");
    for (int i = 0; i < 3; i++) {
        add_silence(&s, 20);
        add_recording(&s, "noisy");
    }
    return s;
}

/* Go on with what is known of `early`, whose bytes may be something else by now. */
static void go_on(const struct sound *s, const struct whisper_params *given,
                  const struct early *early, const struct whisper_ahead *ahead,
                  struct whisper_result *first, struct whisper_result *r)
{
    struct whisper_params p = *given;
    struct early again = {0};
    p.start_frame = early->next_frame;
    p.ahead = ahead;
    p.n_ahead = early->count;
    whisper_result_init(r);
    assert_int_equal(first->n_segments, 0); /* the first window was not done */
    assert_int_equal(hear_early(s, &p, &again, r), 0);
    early_release(&again);
}

static void what_was_done_early_is_not_heard_again(void **state)
{
    (void)state;
    struct sound s = uneven_sound();
    struct early early = {0}, none = {0};
    struct whisper_params p;
    struct whisper_result whole, broken, rest;
    whisper_params_init(&p);
    p.language = "en";
    p.vad_filter = false;
    p.mode = WHISPER_MODE_BATCHED;
    p.batch_size = 4;
    whisper_result_init(&whole);
    assert_int_equal(hear_early(&s, &p, &none, &whole), 0);
    early.stops = true;
    whisper_result_init(&broken);
    assert_int_equal(hear_early(&s, &p, &early, &broken), ERR_CANCELLED);
    assert_true(early.count > 0);

    go_on(&s, &p, &early, early.list, &broken, &rest);
    assert_equal_results(&whole, &rest);
    whisper_result_release(&rest);

    /* Whose window it is shows when it says something else: its temperature. */
    unsigned char *bytes = (unsigned char *)early.list[0].bytes;
    const float odd = 0.125f;
    memcpy(bytes + 35, &odd, sizeof odd);
    go_on(&s, &p, &early, early.list, &broken, &rest);
    size_t n = 0;
    for (size_t i = 0; i < rest.n_segments; i++)
        n += rest.segments[i].temperature == odd;
    assert_true(n > 0 && n < rest.n_segments);
    whisper_result_release(&rest);

    /* Damaged, it is heard. */
    struct whisper_ahead cut[AHEAD_MOST];
    for (size_t i = 0; i < early.count; i++)
        cut[i] = (struct whisper_ahead){early.list[i].bytes, early.list[i].length - 1};
    go_on(&s, &p, &early, cut, &broken, &rest);
    assert_equal_results(&whole, &rest);
    whisper_result_release(&rest);

    early_release(&early);
    early_release(&none);
    whisper_result_release(&broken);
    whisper_result_release(&whole);
    free(s.samples);
}

static void chance_repeats_itself(void **state)
{
    (void)state;
    struct sound s = {0};
    struct whisper_params p;
    struct whisper_result a, b;
    add_recording(&s, "clean");
    whisper_params_init(&p);
    p.language = "en";
    p.temperatures[0] = 0.8f;
    p.n_temperatures = 1;
    p.seed = 42;
    whisper_result_init(&a);
    whisper_result_init(&b);
    hear(&s, &p, NULL, &a);
    hear(&s, &p, NULL, &b);
    assert_true(a.n_segments > 0);
    assert_equal_results(&a, &b);
    assert_true(a.segments[0].temperature == 0.8f);
    const char *const words[] = {"mutton", NULL};
    assert_words(&a, words);
    whisper_result_release(&a);
    whisper_result_release(&b);
    free(s.samples);
}

static void it_stops_when_asked(void **state)
{
    (void)state;
    struct sound s = long_sound();
    struct whisper_params p;
    struct whisper_result r;
    whisper_params_init(&p);
    p.language = "en";
    /* Within the first window, after some tokens. */
    struct watch w = {.stop_after_questions = 5};
    whisper_result_init(&r);
    assert_int_equal(hear(&s, &p, &w, &r), ERR_CANCELLED);
    /* Whoever was told to stop may make sure once more, but goes no further. */
    assert_in_range(w.asked, 5, 6);
    assert_int_equal(w.windows, 0);
    assert_int_equal(r.n_segments, 0);
    whisper_result_release(&r);
    free(s.samples);
}

static void expect_nothing(const struct sound *s, const char *language)
{
    struct whisper_params p;
    struct whisper_result r;
    whisper_params_init(&p);
    p.language = language;
    whisper_result_init(&r);
    assert_int_equal(hear(s, &p, NULL, &r), 0);
    if (r.n_segments > 0)
        fail_msg("%g s without speech became \"%s\"", r.duration_seconds,
                 r.segments[0].text);
    whisper_result_release(&r);
}

static void nothing_is_heard_in_nothing(void **state)
{
    (void)state;
    struct sound s = {0};
    expect_nothing(&s, "auto");
    expect_nothing(&s, "de");
    const float one = 0.5f;
    add_samples(&s, &one, 1);
    expect_nothing(&s, "auto");
    add_samples(&s, NULL, 1000); /* less than 0.1 s */
    expect_nothing(&s, "en");
    s.count = 0;
    add_silence(&s, 30);
    expect_nothing(&s, "auto");
    expect_nothing(&s, "en");
    add_silence(&s, 31);
    expect_nothing(&s, "en");
    free(s.samples);
}

static void noise_is_no_speech(void **state)
{
    (void)state;
    struct sound s = {0};
    add_silence(&s, 30);
    uint32_t x = 1;
    for (size_t i = 0; i < s.count; i++) {
        x = x * 1664525u + 1013904223u;
        s.samples[i] = ((float)(x >> 8) / (1 << 24) - 0.5f) / 300;
    }
    expect_nothing(&s, "en");
    free(s.samples);
}

static void silence_after_speech_stays_silent(void **state)
{
    (void)state;
    struct sound s = {0};
    struct whisper_params p;
    struct whisper_result r;
    struct watch w = {0};
    add_recording(&s, "noisy");
    add_silence(&s, 60);
    whisper_params_init(&p);
    p.language = "en";
    whisper_result_init(&r);
    assert_int_equal(hear(&s, &p, &w, &r), 0);
    const char *const words[] = {"from the store", NULL};
    assert_words(&r, words);
    assert_sound_result(&r);
    assert_true(r.segments[r.n_segments - 1].end_seconds < 10);
    assert_int_equal(w.next_frame, w.total_frames);
    whisper_result_release(&r);
    free(s.samples);
}

static void a_short_clip_is_heard(void **state)
{
    (void)state;
    struct sound s = {0}, clip = {0};
    struct whisper_params p;
    struct whisper_result r;
    add_recording(&s, "clean");
    add_samples(&clip, s.samples + 8000, 8000); /* "he hoped", half a second */
    whisper_params_init(&p);
    p.language = "en";
    whisper_result_init(&r);
    assert_int_equal(hear(&clip, &p, NULL, &r), 0);
    assert_true(r.duration_seconds == 0.5);
    assert_sound_result(&r);
    const char *const words[] = {"hoped", NULL};
    assert_words(&r, words);
    whisper_result_release(&r);
    free(clip.samples);
    free(s.samples);
}

static void damaged_samples_count_as_silence(void **state)
{
    (void)state;
    struct sound s = {0}, zero = {0};
    struct whisper_params p;
    struct whisper_result a, b;
    add_recording(&s, "telephone");
    add_recording(&zero, "telephone");
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 70000; i < 70400; i++) {
        s.samples[i] = bad[i % 3];
        zero.samples[i] = 0;
    }
    whisper_params_init(&p);
    p.language = "en";
    whisper_result_init(&a);
    whisper_result_init(&b);
    assert_int_equal(hear(&s, &p, NULL, &a), 0);
    assert_int_equal(hear(&zero, &p, NULL, &b), 0);
    assert_equal_results(&a, &b);
    const char *const words[] = {"the boy declared", NULL};
    assert_words(&a, words);
    whisper_result_release(&a);
    whisper_result_release(&b);

    for (size_t i = 0; i < s.count; i++)
        s.samples[i] = bad[i % 3];
    expect_nothing(&s, "auto");
    free(zero.samples);
    free(s.samples);
}

static void without_timestamps_it_is_one_segment(void **state)
{
    (void)state;
    struct sound s = {0};
    struct whisper_params p;
    struct whisper_result r;
    add_recording(&s, "clean");
    whisper_params_init(&p);
    p.language = "en";
    p.without_timestamps = true;
    whisper_result_init(&r);
    assert_int_equal(hear(&s, &p, NULL, &r), 0);
    assert_int_equal(r.n_segments, 1);
    assert_true(r.segments[0].start_seconds == 0);
    assert_true(fabs(r.segments[0].end_seconds - r.duration_seconds) < 0.02);
    const char *const words[] = {"he hoped", "sauce", NULL};
    assert_words(&r, words);
    whisper_result_release(&r);
    free(s.samples);
}

/* More than a context holds: its end is used. */
static void an_endless_prompt_is_cut(void **state)
{
    (void)state;
    struct sound s = {0};
    struct whisper_params p;
    struct whisper_result r;
    char prompt[6001];
    for (size_t i = 0; i < sizeof prompt - 1; i++)
        prompt[i] = "He hoped. "[i % 10];
    prompt[sizeof prompt - 1] = 0;
    add_recording(&s, "noisy");
    whisper_params_init(&p);
    p.language = "en";
    p.n_temperatures = 1;
    p.initial_prompt = prompt;
    whisper_result_init(&r);
    assert_int_equal(hear(&s, &p, NULL, &r), 0);
    assert_sound_result(&r);
    whisper_result_release(&r);
    free(s.samples);
}

static void languages_are_detected(void **state)
{
    (void)state;
    struct sound s = {0};
    struct err e = {0};
    add_recording(&s, "clean");
    float *p = mem_array((size_t)whisper_language_count(), sizeof(*p));
    assert_non_null(p);
    int language = -1;
    assert_int_equal(
        whisper_detect_language(session, s.samples, s.count, &language, p, &e), 0);
    assert_string_equal(whisper_language_code(language), "en");
    double sum = 0;
    for (int i = 0; i < whisper_language_count(); i++)
        sum += p[i];
    assert_true(fabs(sum - 1) < 1e-4);
    assert_true(p[language] > 0.5f);
    free(p);
    free(s.samples);
}

static void an_english_model_says_so(void **state)
{
    (void)state;
    char path[600];
    snprintf(path, sizeof path, "%s/ggml-base.en.bin", models_folder);
    if (access(path, R_OK) != 0) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    struct whisper_model *english;
    struct whisper_session *other = NULL;
    struct err e = {0};
    if (whisper_model_load(&english, path, WHISPER_WEIGHTS_AS_GIVEN, &e) ||
        whisper_session_open(&other, english, NULL, &e))
        fail_msg("%s", e.message);
    struct sound s = {0};
    struct whisper_params p;
    struct whisper_result r;
    add_recording(&s, "noisy");
    whisper_params_init(&p);
    whisper_result_init(&r);
    p.language = "german";
    assert_int_equal(whisper_transcribe(other, s.samples, s.count, &p, NULL, &r, &e),
                     ERR_INVALID);
    assert_non_null(strstr(e.message, "only English"));
    p.language = NULL;
    p.task = WHISPER_TRANSLATE;
    assert_int_equal(whisper_transcribe(other, s.samples, s.count, &p, NULL, &r, &e),
                     ERR_INVALID);
    p.task = WHISPER_TRANSCRIBE;
    assert_int_equal(whisper_transcribe(other, s.samples, s.count, &p, NULL, &r, &e), 0);
    const char *const words[] = {"ask her to bring those things", NULL};
    assert_words(&r, words);
    assert_int_equal(r.language, 0);
    assert_true(r.language_probability == 1);
    int language;
    float probabilities[128];
    assert_int_equal(
        whisper_detect_language(other, s.samples, s.count, &language, probabilities, &e),
        ERR_UNSUPPORTED);
    whisper_result_release(&r);
    whisper_session_close(other);
    whisper_model_free(english);
    free(s.samples);
}

/* ---- main ------------------------------------------------------------------------ */

static int open_all(void **state)
{
    (void)state;
    char path[600];
    struct err e = {0};
    snprintf(path, sizeof path, "%s/ggml-tiny.bin", models_folder);
    if (whisper_model_load(&model, path, WHISPER_WEIGHTS_AS_GIVEN, &e) ||
        whisper_session_open(&session, model, NULL, &e)) {
        print_error("%s\n", e.message);
        return -1;
    }
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    whisper_session_close(session);
    whisper_model_free(model);
    return 0;
}

int main(void)
{
    const char *root = getenv("WT_SOURCE_ROOT"), *models = getenv("WT_TEST_MODELS");
    snprintf(golden_folder, sizeof golden_folder, "%s/tests/engine/golden",
             root ? root : ".");
    if (models)
        snprintf(models_folder, sizeof models_folder, "%s", models);
    else
        snprintf(models_folder, sizeof models_folder, "%s/models", root ? root : ".");
    char path[600];
    snprintf(path, sizeof path, "%s/ggml-tiny.bin", models_folder);
    if (access(path, R_OK) != 0) {
        printf("skipped: needs %s\n", path);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_words_are_there),
        cmocka_unit_test(going_on_gives_the_same),
        cmocka_unit_test(what_was_done_early_is_not_heard_again),
        cmocka_unit_test(chance_repeats_itself),
        cmocka_unit_test(it_stops_when_asked),
        cmocka_unit_test(nothing_is_heard_in_nothing),
        cmocka_unit_test(noise_is_no_speech),
        cmocka_unit_test(silence_after_speech_stays_silent),
        cmocka_unit_test(a_short_clip_is_heard),
        cmocka_unit_test(damaged_samples_count_as_silence),
        cmocka_unit_test(without_timestamps_it_is_one_segment),
        cmocka_unit_test(an_endless_prompt_is_cut),
        cmocka_unit_test(languages_are_detected),
        cmocka_unit_test(an_english_model_says_so),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
