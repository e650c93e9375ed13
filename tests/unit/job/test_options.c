#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/options.h"

static void nothing_means_the_defaults(void **state)
{
    (void)state;
    struct whisper_params defaults;
    whisper_params_init(&defaults);
    static const char *const texts[] = {NULL,
                                        "",
                                        "{}",
                                        "{\"prompt\":null}",
                                        "{\"prompt\":\"\"}",
                                        "{\"word_timestamps\":false}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct job_options o;
        assert_int_equal(job_options_parse(&o, texts[i], NULL), 0);
        assert_null(o.params.initial_prompt);
        assert_int_equal(o.params.n_temperatures, defaults.n_temperatures);
        assert_int_equal(o.params.condition_on_previous_text,
                         defaults.condition_on_previous_text);
        job_options_release(&o);
    }
}

static void every_option_reaches_the_engine(void **state)
{
    (void)state;
    struct job_options o;
    assert_int_equal(job_options_parse(&o,
                                       "{\"prompt\":\"Zoë\",\"temperature\":0.4,"
                                       "\"condition_on_previous_text\":true,"
                                       "\"compression_ratio_threshold\":3,"
                                       "\"log_prob_threshold\":-2,"
                                       "\"no_speech_threshold\":0.25}",
                                       NULL),
                     0);
    assert_string_equal(o.params.initial_prompt, "Zoë");
    assert_int_equal(o.params.n_temperatures, 4); /* 0.4 0.6 0.8 1.0 */
    assert_true(o.params.temperatures[0] == 0.4f);
    assert_true(o.params.temperatures[3] > 0.99f && o.params.temperatures[3] < 1.01f);
    assert_true(o.params.condition_on_previous_text);
    assert_true(o.params.compression_ratio_threshold == 3);
    assert_true(o.params.log_prob_threshold == -2);
    assert_true(o.params.no_speech_threshold == 0.25f);
    job_options_release(&o);
}

static void a_ladder_never_overflows(void **state)
{
    (void)state;
    struct job_options o;
    assert_int_equal(job_options_parse(&o, "{\"temperature\":0}", NULL), 0);
    assert_int_equal(o.params.n_temperatures, 6);
    job_options_release(&o);
    assert_int_equal(job_options_parse(&o, "{\"temperature\":1}", NULL), 0);
    assert_int_equal(o.params.n_temperatures, 1);
    job_options_release(&o);
}

static void wrong_options_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *json, *named;
        int code;
    } cases[] = {
        {"{\"promt\":\"x\"}", "promt", ERR_INVALID},
        {"{\"temperature\":2}", "temperature", ERR_INVALID},
        {"{\"temperature\":-0.1}", "temperature", ERR_INVALID},
        {"{\"temperature\":\"0\"}", "temperature", ERR_INVALID},
        {"{\"prompt\":5}", "prompt", ERR_INVALID},
        {"{\"condition_on_previous_text\":1}", "condition_on", ERR_INVALID},
        {"{\"word_timestamps\":true}", "word_timestamps", ERR_UNSUPPORTED},
        {"{\"word_timestamps\":\"yes\"}", "word_timestamps", ERR_INVALID},
        {"{\"prompt\":\"a\",\"prompt\":\"b\"}", "JSON", ERR_INVALID},
        {"[]", "JSON object", ERR_INVALID},
        {"nonsense", "JSON object", ERR_INVALID},
        {"{\"prompt\":\"\xFF\"}", "JSON", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job_options o;
        struct err e = {0};
        int status = job_options_parse(&o, cases[i].json, &e);
        if (status != cases[i].code || !strstr(e.message, cases[i].named))
            fail_msg("%s gives %d %s", cases[i].json, status, e.message);
    }
    char *large = calloc(1, OPTIONS_MAX_BYTES + 100);
    memset(large, ' ', OPTIONS_MAX_BYTES + 50);
    struct job_options o;
    assert_int_equal(job_options_parse(&o, large, NULL), ERR_TOO_LARGE);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_means_the_defaults),
        cmocka_unit_test(every_option_reaches_the_engine),
        cmocka_unit_test(a_ladder_never_overflows),
        cmocka_unit_test(wrong_options_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
