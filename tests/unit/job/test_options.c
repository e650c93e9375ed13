#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/options.h"

#include <jansson.h>
#include <math.h>

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

static void what_only_doors_may_set(void **state)
{
    (void)state;
    struct job_options o;
    assert_null(job_option_find(JOB_OPTION_SOURCE));
    assert_null(job_option_find(JOB_OPTION_LOGPROBS));
    assert_int_equal(
        job_options_parse(&o, "{\"source\":\"openai\",\"token_logprobs\":true}", NULL),
        0);
    assert_true(o.params.token_logprobs);
    job_options_release(&o);
    assert_int_equal(job_options_parse(&o, "{\"token_logprobs\":false}", NULL), 0);
    assert_false(o.params.token_logprobs);
    job_options_release(&o);
    assert_int_equal(job_options_parse(&o, "{\"token_logprobs\":1}", NULL), ERR_INVALID);
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

/* ---- every row of the table ------------------------------------------------------ */

static struct job_options parsed(const char *json)
{
    struct job_options o;
    struct err e = {0};
    if (job_options_parse(&o, json, &e))
        fail_msg("%s: %s", json, e.message);
    return o;
}

static int parse_one(const char *name, const char *value, struct err *e)
{
    char json[200];
    struct job_options o;
    snprintf(json, sizeof json, "{\"%s\":%s}", name, value);
    int status = job_options_parse(&o, json, e);
    if (!status)
        job_options_release(&o);
    return status;
}

/* Both ends of a range are allowed and reach their field; what lies beyond is not, and
 * the sentence names the option and the range. */
static void numbers_keep_to_their_range(void **state)
{
    (void)state;
    int rows = 0;
    for (const struct job_option *row = job_option_table(); row->name; row++) {
        if (row->kind != OPTION_NUMBER && row->kind != OPTION_WHOLE)
            continue;
        double ends[2] = {row->low, row->high};
        for (int i = 0; i < 2; i++) {
            char json[200], value[40];
            snprintf(json, sizeof json, "{\"%s\":%.10g}", row->name, ends[i]);
            struct job_options o = parsed(json);
            const void *at = (const char *)&o + row->offset;
            double got =
                row->kind == OPTION_WHOLE ? *(const int *)at : *(const float *)at;
            if (got != (double)(float)ends[i])
                fail_msg("%s reaches its field as %g", json, got);
            job_options_release(&o);

            struct err e = {0};
            snprintf(value, sizeof value, "%.10g", ends[i] + (i ? 1 : -1));
            int status = parse_one(row->name, value, &e);
            if (status != ERR_INVALID || !strstr(e.message, row->name))
                fail_msg("%s %s gives %d %s", row->name, value, status, e.message);
            snprintf(value, sizeof value, "to %.10g", row->high);
            assert_non_null(strstr(e.message, value));
            assert_int_equal(parse_one(row->name, "\"1\"", &e), ERR_INVALID);
        }
        rows++;
    }
    assert_true(rows > 20);
}

static void switches_reach_their_field(void **state)
{
    (void)state;
    int rows = 0;
    for (const struct job_option *row = job_option_table(); row->name; row++) {
        if (row->kind != OPTION_BOOLEAN)
            continue;
        for (int truth = 0; truth < 2; truth++) {
            char json[100];
            snprintf(json, sizeof json, "{\"%s\":%s}", row->name,
                     truth ? "true" : "false");
            struct job_options o = parsed(json);
            assert_int_equal(*((const bool *)&o + row->offset), truth);
            job_options_release(&o);
        }
        assert_int_equal(parse_one(row->name, "1", NULL), ERR_INVALID);
        rows++;
    }
    assert_true(rows >= 6);
}

static void none_switches_off(void **state)
{
    (void)state;
    struct job_options o = parsed("{\"no_speech_threshold\":null,"
                                  "\"compression_ratio_threshold\":null,"
                                  "\"vad_max_speech_duration_s\":null,"
                                  "\"vad_neg_threshold\":null,\"suppress_tokens\":null,"
                                  "\"temperature_increment_on_fallback\":null}");
    assert_true(isnan(o.params.no_speech_threshold));
    assert_true(isnan(o.params.compression_ratio_threshold));
    assert_true(isinf(o.params.vad.max_speech_duration_s));
    assert_true(isnan(o.params.vad.neg_threshold));
    assert_false(o.params.suppress_non_speech);
    assert_int_equal(o.params.n_suppress_tokens, 0);
    assert_int_equal(o.params.n_temperatures, 1);
    job_options_release(&o);
}

static void ladders(void **state)
{
    (void)state;
    struct job_options o = parsed("{\"temperature\":[0,0.7]}");
    assert_int_equal(o.params.n_temperatures, 2);
    assert_true(o.params.temperatures[1] == 0.7f);
    job_options_release(&o);
    /* whatever the order of the keys */
    static const char *const orders[] = {
        "{\"temperature\":0.5,\"temperature_increment_on_fallback\":0.5}",
        "{\"temperature_increment_on_fallback\":0.5,\"temperature\":0.5}"};
    for (size_t i = 0; i < 2; i++) {
        o = parsed(orders[i]);
        assert_int_equal(o.params.n_temperatures, 2);
        assert_true(o.params.temperatures[1] == 1.0f);
        job_options_release(&o);
    }
    o = parsed("{\"temperature_increment_on_fallback\":0.01}");
    assert_int_equal(o.params.n_temperatures, WHISPER_MAX_TEMPERATURES);
    job_options_release(&o);
}

static void tokens_and_clips(void **state)
{
    (void)state;
    struct job_options o =
        parsed("{\"suppress_tokens\":[11,-1,50257],\"clip_timestamps\":[0,10.5,20]}");
    assert_true(o.params.suppress_non_speech);
    assert_int_equal(o.params.n_suppress_tokens, 2);
    assert_int_equal(o.params.suppress_tokens[1], 50257);
    assert_int_equal(o.params.n_clips, 2);
    assert_true(o.params.clips[0].end_seconds == 10.5);
    assert_true(o.params.clips[1].start_seconds == 20);
    assert_true(isinf(o.params.clips[1].end_seconds));
    job_options_release(&o);
    o = parsed("{\"clip_timestamps\":[{\"start\":1,\"end\":2},{\"end\":4,\"start\":3}],"
               "\"suppress_tokens\":[]}");
    assert_int_equal(o.params.n_clips, 2);
    assert_true(o.params.clips[1].start_seconds == 3 &&
                o.params.clips[1].end_seconds == 4);
    assert_false(o.params.suppress_non_speech);
    job_options_release(&o);
}

static void detector_parameters_in_both_ways(void **state)
{
    (void)state;
    struct job_options o =
        parsed("{\"vad_speech_pad_ms\":30,\"vad_parameters\":{\"threshold\":0.25,"
               "\"speech_pad_ms\":100,\"max_speech_duration_s\":null,\"offset\":0.1}}");
    assert_true(o.params.vad.threshold == 0.25f);
    assert_true(o.params.vad.neg_threshold == 0.1f);
    assert_int_equal(o.params.vad.speech_pad_ms, 30); /* the plain option wins */
    job_options_release(&o);
}

/* ---- texts ----------------------------------------------------------------------- */

static void texts_become_values(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *json; /* NULL: refused */
    } cases[] = {
        {"beam_size", "4", "{\"beam_size\":4}"},
        {"beam-size", "4", "{\"beam_size\":4}"},
        {"beam_size", " 4", NULL},
        {"beam_size", "4.0", NULL},
        {"beam_size", "0x4", NULL},
        {"beam_size", "4 ", NULL},
        {"beam_size", "9", NULL},
        {"patience", "1e0", "{\"patience\":1.0}"},
        {"patience", "nan", NULL},
        {"patience", "inf", NULL},
        {"seed", "9007199254740993", "{\"seed\":9007199254740993}"},
        {"seed", "-1", NULL},
        {"no_speech_threshold", "None", "{\"no_speech_threshold\":null}"},
        {"vad_max_speech_duration_s", "inf", "{\"vad_max_speech_duration_s\":null}"},
        {"best_of", "none", NULL},
        {"vad_filter", "False", "{\"vad_filter\":false}"},
        {"vad_filter", "1", "{\"vad_filter\":true}"},
        {"vad_filter", "2", NULL},
        {"temperature", "0", "{\"temperature\":0}"},
        {"temperature", "0,0.5", "{\"temperature\":[0,0.5]}"},
        {"temperature", "[0]", "{\"temperature\":[0]}"},
        {"temperature", "0,", "{\"temperature\":[0]}"},
        {"temperature", "0,3", NULL},
        {"temperature", "0;1", NULL},
        {"suppress_tokens", "-1", "{\"suppress_tokens\":[-1]}"},
        {"suppress_tokens", "", "{\"suppress_tokens\":[]}"},
        {"suppress_tokens", "1, 2", "{\"suppress_tokens\":[1,2]}"},
        {"suppress_tokens", "1 2", NULL},
        {"suppress_tokens", "1.5", NULL},
        {"clip_timestamps", "0,10,20", "{\"clip_timestamps\":[0,10,20]}"},
        {"clip_timestamps", "10,5", NULL},
        {"clip_timestamps", "5,5", NULL},
        {"clip_timestamps", "-1", NULL},
        {"mode", "batched", "{\"mode\":\"batched\"}"},
        {"mode", "fast", NULL},
        {"initial_prompt", "Zoë", "{\"prompt\":\"Zoë\"}"},
        {"prompt", "\xFF", NULL},
        {"append_punctuations", "", "{\"append_punctuations\":\"\"}"},
        {"vad_parameters", "{\"threshold\":0.5}",
         "{\"vad_parameters\":{\"threshold\":0.5}}"},
        {"vad_parameters", "{\"threshhold\":0.5}", NULL},
        {"vad_parameters", "{\"parameters\":{}}", NULL},
        {"vad_parameters", "{\"filter\":true}", NULL},
        {"vad_parameters", "0.5", NULL},
        {"vad_parameters", "{", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *object = NULL;
        struct err e = {0};
        const struct job_option *row = job_option_find(cases[i].name);
        assert_non_null(row);
        int status = job_options_put(&object, row, cases[i].text, &e);
        char *json = status ? NULL : json_dumps(object, JSON_COMPACT);
        if (!cases[i].json ? status != ERR_INVALID || !*e.message
                           : !json || strcmp(json, cases[i].json) != 0)
            fail_msg("%s \"%s\" gives %d %s %s", cases[i].name, cases[i].text, status,
                     json ? json : "", e.message);
        free(json);
        json_decref(object);
    }
    assert_null(job_option_find("beamsize"));
    assert_null(job_option_find("beam"));
    assert_null(job_option_find(""));
}

/* Defaults come from the engine, so that the help cannot tell another story. */
static void defaults_for_people(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"beam_size", "5"},   {"log_prob_threshold", "-1"},
        {"vad_filter", "on"}, {"condition_on_previous_text", "off"},
        {"prompt", ""},       {"vad_max_speech_duration_s", "none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf text;
        buf_init(&text, 100);
        job_option_default(job_option_find(cases[i][0]), &text);
        assert_string_equal(buf_cstr(&text), cases[i][1]);
        buf_release(&text);
    }
}

/* What is not described does not exist for its users. */
static void every_option_is_documented(void **state)
{
    (void)state;
    const char *root = getenv("WT_SOURCE_ROOT");
    char path[4096], name[100];
    static char text[1 << 20];
    snprintf(path, sizeof path, "%s/docs/api.md", root ? root : ".");
    FILE *f = fopen(path, "r");
    if (!f)
        skip();
    size_t length = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[length] = '\0';
    for (const struct job_option *row = job_option_table(); row->name; row++) {
        snprintf(name, sizeof name, "`%s`", row->name);
        if (!strstr(text, name))
            fail_msg("docs/api.md does not have %s", name);
        assert_true(row->help && *row->help);
    }
}

static void highlighting_asks_for_words(void **state)
{
    (void)state;
    struct job_options o = parsed("{\"highlight_words\":true,\"max_line_width\":30}");
    assert_true(o.params.word_timestamps);
    assert_int_equal(o.subtitles.max_line_width, 30);
    assert_int_equal(o.subtitles.max_line_count, 2);
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
        {"{\"prompt\":\"a\",\"initial_prompt\":\"b\"}", "initial_prompt", ERR_INVALID},
        {"{\"beam-size\":1,\"beam_size\":2}", "beam-size", ERR_INVALID},
        {"{\"temperature\":[]}", "temperature", ERR_INVALID},
        {"{\"temperature\":[0,0,0,0,0,0,0,0,0]}", "temperature", ERR_INVALID},
        {"{\"vad_parameters\":[]}", "vad_parameters", ERR_INVALID},
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
        cmocka_unit_test(what_only_doors_may_set),
        cmocka_unit_test(every_option_reaches_the_engine),
        cmocka_unit_test(a_ladder_never_overflows),
        cmocka_unit_test(numbers_keep_to_their_range),
        cmocka_unit_test(switches_reach_their_field),
        cmocka_unit_test(none_switches_off),
        cmocka_unit_test(ladders),
        cmocka_unit_test(tokens_and_clips),
        cmocka_unit_test(detector_parameters_in_both_ways),
        cmocka_unit_test(texts_become_values),
        cmocka_unit_test(defaults_for_people),
        cmocka_unit_test(every_option_is_documented),
        cmocka_unit_test(highlighting_asks_for_words),
        cmocka_unit_test(wrong_options_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
