/* The quality report: there and back, put together from parts, and told in sentences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/transcript.h"

#include <math.h>

static void note(struct transcript *t, enum quality_kind kind, double start, double end)
{
    char text[] = " \"la\"\n";
    const struct quality_note n = {
        .kind = kind,
        .start = start,
        .end = end,
        .remedy = kind == QUALITY_LOOP ? REMEDY_SPLIT : REMEDY_NONE,
        .value = kind == QUALITY_LOOP ? 12 : 1.0f / 3,
        .text = kind == QUALITY_LOOP || kind == QUALITY_HALLUCINATION ? text : NULL};
    assert_int_equal(quality_add_note(&t->quality, &n), 0);
}

static void vote(struct transcript *t, const char *language, float probability,
                 double start)
{
    struct quality_vote v = {
        .probability = probability, .start = start, .end = start + 30};
    snprintf(v.language, sizeof v.language, "%s", language);
    assert_int_equal(quality_add_vote(&t->quality, &v), 0);
}

/* A good recording of ten minutes: nothing to warn of. */
static void good(struct transcript *t)
{
    transcript_init(t);
    snprintf(t->language, sizeof t->language, "de");
    snprintf(t->language_name, sizeof t->language_name, "german");
    snprintf(t->task, sizeof t->task, "transcribe");
    t->language_probability = 0.98f;
    t->duration = 600;
    t->quality = (struct quality){.known = true,
                                  .audio_seconds = 600,
                                  .speech_seconds = 500,
                                  .text_seconds = 480,
                                  .peak_dbfs = -3,
                                  .speech_dbfs = -22,
                                  .clipped_share = 0.0001f,
                                  .detector = "silero"};
}

static void assert_same(const struct transcript *t, const struct transcript *back)
{
    struct buf a, b;
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    assert_int_equal(format_write(FORMAT_JSON, t, &a), 0);
    assert_int_equal(format_write(FORMAT_JSON, back, &b), 0);
    assert_string_equal(buf_cstr(&a), buf_cstr(&b));
    buf_release(&a);
    buf_release(&b);
}

static void parse(const char *json, struct transcript *out)
{
    struct err e = {0};
    if (transcript_parse(out, json, strlen(json), &e))
        fail_msg("%s", e.message);
}

static void nothing_is_lost(void **state)
{
    (void)state;
    struct transcript t, back;
    struct buf json;
    good(&t);
    for (int i = 0; i < 3 * QUALITY_KINDS; i++)
        note(&t, (enum quality_kind)(i % QUALITY_KINDS), i / 7.0, i + 1);
    vote(&t, "de", 0.9f, 0);
    vote(&t, "yue", 0.1f, 30);
    t.quality.peak_dbfs = t.quality.speech_dbfs = -INFINITY;
    buf_init(&json, 1 << 20);
    assert_int_equal(format_write(FORMAT_JSON, &t, &json), 0);
    assert_non_null(strstr(buf_cstr(&json), "\"repeats\": 12, "));
    parse(buf_cstr(&json), &back);
    const struct quality *q = &back.quality;
    assert_true(q->known && q->audio_seconds == 600 && q->speech_seconds == 500);
    assert_true(q->text_seconds == 480 && q->clipped_share == 0.0001f);
    assert_true(isinf(q->peak_dbfs) && q->peak_dbfs < 0 && isinf(q->speech_dbfs));
    assert_string_equal(q->detector, "silero");
    assert_int_equal(q->n_notes, 3 * QUALITY_KINDS);
    assert_int_equal(q->n_votes, 2);
    assert_string_equal(q->votes[1].language, "yue");
    for (size_t i = 0; i < q->n_notes; i++) {
        const struct quality_note *n = &q->notes[i];
        bool has_text = n->kind == QUALITY_LOOP || n->kind == QUALITY_HALLUCINATION;
        assert_true(has_text == (n->text != NULL));
        assert_int_equal(n->remedy, n->kind == QUALITY_LOOP ? REMEDY_SPLIT : REMEDY_NONE);
    }
    assert_same(&t, &back);
    buf_release(&json);
    transcript_release(&t);
    transcript_release(&back);
}

#define HEAD                                                                             \
    "{\"task\":\"transcribe\",\"model\":\"tiny\",\"language\":\"en\","                   \
    "\"language_name\":\"english\",\"language_probability\":1,\"duration\":2,"           \
    "\"segments\":[]"
#define LISTS(dropped, loops, votes)                                                     \
    "\"dropped\":[" dropped "],\"loops\":[" loops "],\"heard_again\":[],"                \
    "\"no_text\":[],\"low_confidence\":[],\"language_votes\":[" votes "]"

static void what_older_versions_wrote_has_none(void **state)
{
    (void)state;
    struct transcript t;
    parse(HEAD "}", &t);
    assert_false(quality_exists(&t.quality));
    struct buf json;
    buf_init(&json, 10000);
    transcript_quality_json(&t, &json);
    assert_int_equal(json.length, 0);
    assert_int_equal(format_write(FORMAT_JSON, &t, &json), 0);
    assert_null(strstr(buf_cstr(&json), "quality"));
    buf_release(&json);
    transcript_release(&t);
}

static void damage_is_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"[]", "quality"},
        {"{}", "dropped"},
        {"{" LISTS("1", "", "") "}", "reason"},
        {"{" LISTS("{\"start\":0,\"end\":1,\"reason\":\"whim\"}", "", "") "}", "reason"},
        {"{" LISTS("{\"start\":0,\"reason\":\"non_speech\"}", "", "") "}", "end"},
        {"{" LISTS("{\"start\":-1,\"end\":1,\"reason\":\"non_speech\"}", "", "") "}",
         "start"},
        {"{" LISTS("{\"start\":0,\"end\":1,\"reason\":\"no_speech\"}", "", "") "}",
         "probability"},
        {"{" LISTS("", "{\"start\":0,\"end\":1,\"remedy\":\"magic\",\"repeats\":2}",
                   "") "}",
         "remedy"},
        {"{" LISTS("", "{\"start\":0,\"end\":1,\"remedy\":\"cut\",\"repeats\":1e30}",
                   "") "}",
         "repeats"},
        {"{" LISTS("", "{\"start\":0,\"end\":1,\"remedy\":\"cut\",\"repeats\":null}",
                   "") "}",
         "repeats"},
        {"{" LISTS("",
                   "{\"start\":0,\"end\":1,\"remedy\":\"cut\",\"repeats\":9999999999}",
                   "") "}",
         "repeats"},
        {"{" LISTS("", "",
                   "{\"start\":0,\"end\":1,\"language\":\"a language that is "
                   "none\",\"probability\":1}") "}",
         "language"},
        {"{\"audio_seconds\":null," LISTS("", "", "") "}", "audio_seconds"},
        {"{\"audio_seconds\":1,\"speech_seconds\":\"2\"," LISTS("", "", "") "}",
         "speech_seconds"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char json[1000];
        struct transcript t;
        struct err e = {0};
        snprintf(json, sizeof json, HEAD ",\"quality\":%s}", bad[i][0]);
        int status = transcript_parse(&t, json, strlen(json), &e);
        if (status != ERR_CORRUPT || !strstr(e.message, bad[i][1]))
            fail_msg("%s gives %d %s", bad[i][0], status, e.message);
    }
}

static void parts_come_together(void **state)
{
    (void)state;
    struct transcript whole, first, second;
    good(&whole);
    note(&whole, QUALITY_NO_TEXT, 1, 2);
    note(&whole, QUALITY_LOOP, 40, 41);
    vote(&whole, "de", 0.9f, 0);
    transcript_init(&first);
    note(&first, QUALITY_NO_TEXT, 1, 2);
    vote(&first, "de", 0.9f, 0);
    good(&second);
    note(&second, QUALITY_LOOP, 40, 41);
    vote(&second, "de", 0.9f, 0); /* the same part again */
    assert_int_equal(quality_join(&first.quality, &second.quality), 0);
    struct buf a, b;
    buf_init(&a, 10000);
    buf_init(&b, 10000);
    second.quality.known = false; /* lends what else a warning needs */
    snprintf(first.language, sizeof first.language, "de");
    first.language_probability = whole.language_probability;
    transcript_quality_json(&whole, &a);
    transcript_quality_json(&first, &b);
    assert_string_equal(buf_cstr(&a), buf_cstr(&b));
    buf_release(&a);
    buf_release(&b);
    transcript_release(&whole);
    transcript_release(&first);
    transcript_release(&second);
}

/* ---- warnings -------------------------------------------------------------------- */

static char told[4000];

static void tell(void *arg, const char *sentence)
{
    (void)arg;
    size_t length = strlen(told);
    assert_true(sentence[strlen(sentence) - 1] == '.');
    snprintf(told + length, sizeof told - length, "%s\n", sentence);
}

static const char *warnings(struct transcript *t)
{
    told[0] = '\0';
    transcript_warnings(t, tell, NULL);
    transcript_release(t);
    return told;
}

static void a_good_recording_has_no_warnings(void **state)
{
    (void)state;
    struct transcript t;
    good(&t);
    note(&t, QUALITY_NON_SPEECH, 0, 30);
    note(&t, QUALITY_NO_SPEECH, 40, 70);
    note(&t, QUALITY_HEARD_AGAIN, 80, 82);
    note(&t, QUALITY_LOW_CONFIDENCE, 90, 95);
    vote(&t, "de", 0.97f, 0);
    vote(&t, "nl", 0.4f, 30);
    assert_string_equal(warnings(&t), "");
}

static void sentences(void **state)
{
    (void)state;
    struct transcript t;
    good(&t);
    t.quality.clipped_share = 0.02f;
    t.quality.speech_dbfs = -52;
    assert_string_equal(
        warnings(&t),
        "Speech is very quiet (-52 dBFS): words may be missing or wrong; a recording "
        "with more gain will do better.\n"
        "The sound is clipped (2 % of it is at full scale): words may be misheard; a "
        "recording with less gain will do better.\n");

    good(&t);
    t.quality.peak_dbfs = t.quality.speech_dbfs = -INFINITY;
    t.quality.speech_seconds = 0;
    assert_string_equal(warnings(&t), "The recording is silent.\n");

    good(&t);
    t.quality.speech_seconds = 0;
    t.quality.text_seconds = 0;
    assert_string_equal(warnings(&t), "No speech was found in the recording.\n");

    good(&t);
    t.quality.audio_seconds = 3600;
    t.quality.speech_seconds = 120;
    assert_string_equal(warnings(&t),
                        "Speech was found in 2:00 of 1:00:00; the rest was left out. "
                        "Switch vad_filter off if words are missing.\n");

    good(&t);
    snprintf(t.warning, sizeof t.warning, "The file is cut short.");
    assert_string_equal(warnings(&t), "The file is cut short.\n");
}

static void places(void **state)
{
    (void)state;
    struct transcript t;
    good(&t);
    note(&t, QUALITY_LOOP, 187, 200);
    assert_string_equal(warnings(&t),
                        "The model repeated itself, which was mended, at 3:07: compare "
                        "with the recording.\n");
    good(&t);
    note(&t, QUALITY_NO_TEXT, 10, 12);
    note(&t, QUALITY_HALLUCINATION, 5, 6);
    note(&t, QUALITY_NO_TEXT, 3700, 3704.5);
    assert_string_equal(
        warnings(&t),
        "Somebody seems to speak for 7 s without a text, at 0:10 and 1:01:40: listen "
        "there.\n"
        "Text that nobody seems to have said was taken out at 0:05.\n");
    good(&t);
    for (int i = 0; i < 5; i++)
        note(&t, QUALITY_LOW_CONFIDENCE, 60 * i, 60 * i + 24);
    assert_string_equal(warnings(&t),
                        "25 % of the text is unsure, at 0:00, 1:00, 2:00 and 2 more "
                        "places; a larger model may know better.\n");
}

static void languages(void **state)
{
    (void)state;
    struct transcript t;
    good(&t);
    t.language_probability = 0.31f;
    assert_string_equal(warnings(&t), "The language is unsure (german, 31 %): if that is "
                                      "wrong, name the right one.\n");
    good(&t);
    t.language_probability = 0.4f;
    vote(&t, "de", 0.99f, 0);
    vote(&t, "en", 0.95f, 90);
    assert_string_equal(warnings(&t), "At 1:30 the language seems to be en, not de: ask "
                                      "for multilingual if both are spoken.\n");
    good(&t);
    vote(&t, "en", 0.95f, 90);
    struct transcript_segment s = {.language = "de"};
    assert_int_equal(transcript_add(&t, &s), 0);
    assert_string_equal(warnings(&t), "Several languages seem to be spoken (at 1:30 en): "
                                      "each part is written in its own.\n");
    good(&t);
    t.language_probability = 0.4f;
    vote(&t, "de", 0.95f, 90);
    assert_int_equal(transcript_add(&t, &s), 0);
    assert_string_equal(warnings(&t), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(what_older_versions_wrote_has_none),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(parts_come_together),
        cmocka_unit_test(a_good_recording_has_no_warnings),
        cmocka_unit_test(sentences),
        cmocka_unit_test(places),
        cmocka_unit_test(languages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
