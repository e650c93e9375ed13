/* The parameters: defaults pass, and whatever is senseless is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/params.h"

#include <math.h>

static const struct whisper_config english = {.n_vocab = 51864, .n_text_ctx = 448};
static const struct whisper_config all_99 = {
    .n_vocab = 51865, .n_text_ctx = 448, .multilingual = true, .n_languages = 99};
static const struct whisper_config all_100 = {
    .n_vocab = 51866, .n_text_ctx = 448, .multilingual = true, .n_languages = 100};

static void languages_are_those_of_the_model(void **state)
{
    (void)state;
    struct whisper_params p;
    struct err e;
    int language = 7;
    whisper_params_init(&p);
    assert_int_equal(params_check(&p, &all_99, &language, &e), 0);
    assert_int_equal(language, -1);
    assert_int_equal(params_check(&p, &english, &language, &e), 0);
    assert_int_equal(language, 0);
    p.language = "German";
    assert_int_equal(params_check(&p, &all_99, &language, &e), 0);
    assert_string_equal(whisper_language_code(language), "de");
    assert_int_equal(params_check(&p, &english, &language, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "only English"));
    p.language = "klingon";
    assert_int_equal(params_check(&p, &all_99, &language, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "klingon"));
    assert_int_equal(params_check(&p, &english, &language, &e), ERR_INVALID);
    p.language = "yue";
    assert_int_equal(params_check(&p, &all_99, &language, &e), ERR_INVALID);
    assert_int_equal(params_check(&p, &all_100, &language, &e), 0);
    p.language = "en";
    assert_int_equal(params_check(&p, &english, &language, &e), 0);
    p.task = WHISPER_TRANSLATE;
    assert_int_equal(params_check(&p, &all_99, &language, &e), 0);
    assert_int_equal(params_check(&p, &english, &language, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "translate"));
}

/* Set `field` to `value`: it must be refused, by its name. */
#define refuse(field, value, name)                                                       \
    do {                                                                                 \
        struct whisper_params p;                                                         \
        struct err e;                                                                    \
        int language;                                                                    \
        whisper_params_init(&p);                                                         \
        p.field = (value);                                                               \
        assert_int_equal(params_check(&p, &all_99, &language, &e), ERR_INVALID);         \
        assert_non_null(strstr(e.message, name));                                        \
    } while (0)

#define accept(field, value)                                                             \
    do {                                                                                 \
        struct whisper_params p;                                                         \
        struct err e;                                                                    \
        int language;                                                                    \
        whisper_params_init(&p);                                                         \
        p.field = (value);                                                               \
        assert_int_equal(params_check(&p, &all_99, &language, &e), 0);                   \
    } while (0)

static void senseless_numbers_are_refused(void **state)
{
    (void)state;
    refuse(n_temperatures, 0, "temperatures");
    refuse(n_temperatures, WHISPER_MAX_TEMPERATURES + 1, "temperatures");
    refuse(temperatures[3], NAN, "temperature");
    refuse(temperatures[3], 2.5f, "temperature");
    refuse(beam_size, 0, "beam_size");
    refuse(beam_size, WHISPER_MAX_SEQUENCES + 1, "beam_size");
    refuse(patience, 0, "patience");
    refuse(patience, NAN, "patience");
    refuse(length_penalty, -1, "length_penalty");
    refuse(length_penalty, INFINITY, "length_penalty");
    refuse(best_of, 0, "best_of");
    refuse(best_of, WHISPER_MAX_SEQUENCES + 1, "best_of");
    refuse(repetition_penalty, 0, "repetition_penalty");
    refuse(repetition_penalty, NAN, "repetition_penalty");
    refuse(no_repeat_ngram_size, -1, "no_repeat_ngram_size");
    refuse(max_new_tokens, 449, "max_new_tokens");
    refuse(max_new_tokens, -1, "max_new_tokens");
    refuse(max_initial_timestamp, INFINITY, "max_initial_timestamp");
    refuse(prompt_reset_on_temperature, NAN, "prompt_reset_on_temperature");
    refuse(batch_size, WHISPER_MAX_BATCH + 1, "batch_size");
    refuse(language_detection_segments, 0, "language_detection_segments");
    refuse(language_detection_threshold, 1.5f, "language_detection_threshold");
    refuse(start_frame, -1, "frame -1");
    accept(beam_size, WHISPER_MAX_SEQUENCES);
    accept(patience, 0.1f);
    accept(repetition_penalty, 0.1f);
    accept(max_new_tokens, 448);
    accept(no_speech_threshold, NAN);
}

static void senseless_detection_is_refused(void **state)
{
    (void)state;
    refuse(vad.threshold, -0.1f, "vad_threshold");
    refuse(vad.neg_threshold, 1.1f, "vad_neg_threshold");
    refuse(vad.min_speech_duration_ms, -1, "vad_min_speech_duration_ms");
    refuse(vad.max_speech_duration_s, 0, "vad_max_speech_duration_s");
    refuse(vad.min_silence_duration_ms, -1, "vad_min_silence_duration_ms");
    refuse(vad.speech_pad_ms, 100000, "vad_speech_pad_ms");
    accept(vad.neg_threshold, NAN);
    accept(vad.max_speech_duration_s, INFINITY);
}

static void tokens_are_those_of_the_vocabulary(void **state)
{
    (void)state;
    struct whisper_params p;
    struct err e;
    int language;
    int32_t ids[] = {0, 51864, 51865};
    whisper_params_init(&p);
    p.suppress_tokens = ids;
    p.n_suppress_tokens = 2;
    assert_int_equal(params_check(&p, &all_99, &language, &e), 0);
    p.n_suppress_tokens = 3;
    assert_int_equal(params_check(&p, &all_99, &language, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "51865"));
    assert_int_equal(params_check(&p, &all_100, &language, &e), 0);
    ids[0] = -1;
    assert_int_equal(params_check(&p, &all_100, &language, &e), ERR_INVALID);
}

static void clips_are_in_order(void **state)
{
    (void)state;
    struct whisper_params p;
    struct err e;
    int language;
    struct whisper_clip clips[] = {{0, 1}, {1, 2}, {2.5, INFINITY}};
    whisper_params_init(&p);
    p.clips = clips;
    p.n_clips = ARRAY_LENGTH(clips);
    assert_int_equal(params_check(&p, &all_99, &language, &e), 0);
    clips[1].start_seconds = 0.5;
    assert_int_equal(params_check(&p, &all_99, &language, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "clip 2"));
    clips[1] = (struct whisper_clip){1.5, 1.5};
    assert_int_equal(params_check(&p, &all_99, &language, &e), ERR_INVALID);
    clips[1] = (struct whisper_clip){NAN, 2};
    assert_int_equal(params_check(&p, &all_99, &language, &e), ERR_INVALID);
    p.n_clips = WHISPER_MAX_CLIPS + 1;
    assert_int_equal(params_check(&p, &all_99, &language, &e), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(languages_are_those_of_the_model),
        cmocka_unit_test(senseless_numbers_are_refused),
        cmocka_unit_test(senseless_detection_is_refused),
        cmocka_unit_test(tokens_are_those_of_the_vocabulary),
        cmocka_unit_test(clips_are_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
