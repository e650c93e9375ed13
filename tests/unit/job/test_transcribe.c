/* One recording to a transcript, over a decoder and an engine that are written down here:
 * what is handed on, what is told, what an earlier attempt left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "job/transcribe.h"

/* ---- the scripted decoder and engine --------------------------------------------- */

static struct {
    int rc; /* what media_finish answers */
    bool truncated;
    int finished, released;
} media;

struct decoding {
    int number;
};
static struct decoding decoding = {42};

static struct {
    struct whisper_params params; /* those of the last call */
    size_t n_samples;
    size_t n_segments_before;
    char first_text[64];
    int32_t first_tokens[2];
    int calls, language;
    bool reports, mixed;
    size_t n_words_before;
    float probability;
} engine;

int media_finish(struct decoding *d, struct pcm *out, struct media_info *info,
                 struct err *e)
{
    assert_int_equal(d->number, 42);
    media.finished++;
    if (media.rc < 0)
        return err_set(e, media.rc, "this is not media");
    static float samples[32000];
    *out = (struct pcm){.samples = samples, .count = 32000};
    *info = (struct media_info){.seconds = 2, .truncated = media.truncated};
    return 0;
}

void pcm_release(struct pcm *p)
{
    *p = (struct pcm){0};
    media.released++;
}

/* One note of each kind, a vote, and the figures. */
static void report(const struct whisper_callbacks *c, struct whisper_result *r)
{
    char out[] = " la la";
    for (int kind = 0; kind < WHISPER_NOTE_KINDS; kind++) {
        const struct whisper_note note = {.kind = (enum whisper_note_kind)kind,
                                          .start_seconds = kind,
                                          .end_seconds = kind + 1,
                                          .remedy = kind == WHISPER_NOTE_LOOP
                                                        ? WHISPER_REMEDY_CUT
                                                        : WHISPER_REMEDY_NONE,
                                          .value = 0.5f,
                                          .text = kind == WHISPER_NOTE_LOOP ? out : NULL};
        c->note(c->arg, &note);
    }
    r->report.votes = calloc(1, sizeof *r->report.votes);
    r->report.votes[0] = (struct whisper_vote){0, 30, engine.language, 0.75f};
    r->report.n_votes = 1;
    r->report.audio_seconds = 2;
    r->report.speech_seconds = 1.5;
    r->report.text_seconds = 0.75;
    r->report.peak_dbfs = -1;
    r->report.speech_dbfs = -20;
    r->report.clipped_share = 0.25f;
    r->report.detector = WHISPER_DETECTOR_ENERGY;
}

/* Nothing here asks for the language alone. */
int whisper_detect_language(struct whisper_session *s, const float *samples,
                            size_t n_samples, int *language, float *probabilities,
                            struct err *e)
{
    (void)s;
    (void)samples;
    (void)n_samples;
    (void)language;
    (void)probabilities;
    (void)e;
    return ERR_UNSUPPORTED;
}

/* Says one segment more than there are, and tells of it. */
int whisper_transcribe(struct whisper_session *s, const float *samples, size_t n_samples,
                       const struct whisper_params *p, const struct whisper_callbacks *c,
                       struct whisper_result *r, struct err *e)
{
    (void)s;
    (void)samples;
    engine.params = *p;
    r->multilingual = p->multilingual || engine.mixed;
    engine.n_samples = n_samples;
    engine.n_segments_before = r->n_segments;
    engine.calls++;
    if (r->n_segments > 0) {
        snprintf(engine.first_text, sizeof engine.first_text, "%s", r->segments[0].text);
        assert_int_equal(r->segments[0].n_tokens, 2);
        engine.n_words_before = r->segments[0].n_words;
        assert_int_equal(r->segments[0].language, whisper_language_find("fr"));
        memcpy(engine.first_tokens, r->segments[0].tokens, sizeof engine.first_tokens);
    }
    if (c->cancelled(c->arg))
        return err_set(e, ERR_CANCELLED, "the transcription was cancelled");
    c->language(c->arg, engine.language, engine.probability);
    char text[] = " said now";
    int32_t tokens[] = {7, 8, 9};
    char said[] = " said", now[] = " now";
    struct whisper_word words[] = {{said, 1.25, 1.5, 0.75f}, {now, 1.5, 2, 0.5f}};
    const struct whisper_segment segment = {
        .id = (int)r->n_segments,
        .seek_frame = 120,
        .start_seconds = 1.25,
        .end_seconds = 2,
        .text = text,
        .tokens = tokens,
        .n_tokens = 3,
        .temperature = 0.2f,
        .avg_logprob = -0.5f,
        .compression_ratio = 1.5f,
        .no_speech_prob = 0.25f,
        .language = engine.language,
        .words = words,
        .n_words = 2,
    };
    c->segment(c->arg, &segment);
    if (engine.reports)
        report(c, r);
    c->window(c->arg, 200, 200);
    return 0;
}

/* ---- what is told ---------------------------------------------------------------- */

struct heard {
    int decoded, segments, windows;
    bool cancel;
    char language[16];
    double probability;
};

static bool on_cancelled(void *arg)
{
    return ((struct heard *)arg)->cancel;
}

static void on_decoded(void *arg, const struct media_info *info)
{
    assert_true(info->seconds == 2);
    ((struct heard *)arg)->decoded++;
}

static void on_language(void *arg, const char *code, double probability)
{
    struct heard *h = arg;
    snprintf(h->language, sizeof h->language, "%s", code);
    h->probability = probability;
}

static void on_segment(void *arg, const struct transcript_segment *segment)
{
    assert_string_equal(segment->text, " said now");
    ((struct heard *)arg)->segments++;
}

static void on_window(void *arg, int64_t next_frame, int64_t total_frames)
{
    assert_int_equal(next_frame, 200);
    assert_int_equal(total_frames, 200);
    ((struct heard *)arg)->windows++;
}

static struct heard heard;
static struct transcribe_callbacks callbacks;
static struct transcribe_options options;
static struct transcript transcript;
static struct err error;

static int begin(void **state)
{
    (void)state;
    memset(&media, 0, sizeof media);
    memset(&engine, 0, sizeof engine);
    engine.language = whisper_language_find("de");
    engine.probability = 0.75f;
    heard = (struct heard){0};
    callbacks = (struct transcribe_callbacks){&heard,      on_cancelled, on_decoded,
                                              on_language, on_segment,   on_window};
    options = (struct transcribe_options){.model_name = "tiny"};
    whisper_params_init(&options.params);
    transcript_init(&transcript);
    return 0;
}

static int end(void **state)
{
    (void)state;
    transcript_release(&transcript);
    return 0;
}

static int go(void)
{
    return transcribe_file(NULL, &decoding, &options, &callbacks, &transcript, &error);
}

/* ---- tests ----------------------------------------------------------------------- */

static void a_transcript_is_filled(void **state)
{
    (void)state;
    assert_int_equal(go(), 0);
    assert_string_equal(transcript.model, "tiny");
    assert_string_equal(transcript.task, "transcribe");
    assert_string_equal(transcript.language, "de");
    assert_string_equal(transcript.language_name, "german");
    assert_true(transcript.language_probability == 0.75);
    assert_true(transcript.duration == 2);
    assert_string_equal(transcript.warning, "");
    assert_int_equal(transcript.n_segments, 1);
    const struct transcript_segment *s = &transcript.segments[0];
    assert_string_equal(s->text, " said now");
    assert_int_equal(s->seek, 120);
    assert_true(s->start == 1.25 && s->end == 2);
    assert_int_equal(s->n_tokens, 3);
    assert_int_equal(s->tokens[2], 9);
    assert_true(s->temperature == 0.2f && s->avg_logprob == -0.5f);
    assert_true(s->compression_ratio == 1.5f && s->no_speech_prob == 0.25f);
    assert_int_equal(engine.n_samples, 32000);
    assert_int_equal(media.released, 1);
    assert_int_equal(heard.decoded, 1);
    assert_int_equal(heard.segments, 1);
    assert_int_equal(heard.windows, 1);
    assert_string_equal(heard.language, "de");
    assert_true(heard.probability == 0.75);
}

static void nobody_need_listen(void **state)
{
    (void)state;
    options.params.task = WHISPER_TRANSLATE;
    assert_int_equal(
        transcribe_file(NULL, &decoding, &options, NULL, &transcript, &error), 0);
    assert_string_equal(transcript.task, "translate");
    assert_int_equal(transcript.n_segments, 1);
}

static void add_before(const char *language)
{
    char text[] = " said before";
    int32_t tokens[] = {5, 6};
    struct transcript_word word = {text, 0, 1, 0.5f};
    struct transcript_segment before = {.id = 0,
                                        .start = 0,
                                        .end = 1,
                                        .text = text,
                                        .tokens = tokens,
                                        .n_tokens = 2,
                                        .words = &word,
                                        .n_words = 1};
    snprintf(before.language, sizeof before.language, "%s", language);
    assert_int_equal(transcript_add(&transcript, &before), 0);
}

static void an_earlier_attempt_goes_on(void **state)
{
    (void)state;
    const int32_t tokens[] = {5, 6};
    add_before("fr");
    options.params.language = "auto";
    options.params.start_frame = 120;
    options.known_language = "de";
    options.known_probability = 0.5;
    engine.probability = 1; /* what the engine says of a language that is given */
    assert_int_equal(go(), 0);
    assert_int_equal(engine.n_segments_before, 1);
    assert_string_equal(engine.first_text, " said before");
    assert_int_equal(engine.n_words_before, 1);
    assert_memory_equal(engine.first_tokens, tokens, sizeof tokens);
    assert_string_equal(engine.params.known_language, "de");
    assert_true(engine.params.multilingual); /* the segment says so */
    assert_string_equal(transcript.segments[1].language, "de");
    assert_int_equal(engine.params.start_frame, 120);
    assert_int_equal(transcript.n_segments, 2);
    assert_string_equal(transcript.segments[0].text, " said before");
    assert_int_equal(transcript.segments[1].id, 1);
    assert_true(transcript.language_probability == 0.5);
    assert_int_equal(heard.segments, 1); /* the new one alone */
}

/* Its segments have no language of their own: it is in one. Without segments the engine
 * has to find out again. */
static void an_earlier_attempt_in_one_language_goes_on(void **state)
{
    (void)state;
    options.params.language = "auto";
    options.params.start_frame = 120;
    options.known_language = "fr";
    options.known_probability = 0.5;
    engine.mixed = true;
    assert_int_equal(go(), 0);
    assert_string_equal(engine.params.language, "auto");
    assert_string_equal(engine.params.known_language, "fr");
    assert_false(engine.params.multilingual);
    assert_string_equal(transcript.segments[0].language, "de");
    transcript_release(&transcript);
    snprintf(transcript.language, sizeof transcript.language, "fr");
    add_before("");
    engine.mixed = false;
    assert_int_equal(go(), 0);
    assert_string_equal(engine.params.language, "fr");
    assert_false(engine.params.multilingual);
    assert_string_equal(transcript.segments[1].language, "");
    assert_true(transcript.language_probability == 0.5);
}

static void damage_is_said(void **state)
{
    (void)state;
    media.truncated = true;
    assert_int_equal(go(), 0);
    assert_non_null(strstr(transcript.warning, "2.0 seconds"));
    assert_int_equal(transcript.n_segments, 1);
}

static void what_is_no_media_never_reaches_the_engine(void **state)
{
    (void)state;
    media.rc = ERR_NOT_MEDIA;
    assert_int_equal(go(), ERR_NOT_MEDIA);
    assert_string_equal(error.message, "this is not media");
    assert_int_equal(engine.calls, 0);
    assert_int_equal(heard.decoded, 0);
    assert_int_equal(transcript.n_segments, 0);
}

static void cancelling_reaches_the_engine(void **state)
{
    (void)state;
    heard.cancel = true;
    assert_int_equal(go(), ERR_CANCELLED);
    assert_int_equal(engine.calls, 1);
    assert_int_equal(media.finished, 1);
    assert_int_equal(media.released, 1);
}

static void words_and_languages_come_when_asked_for(void **state)
{
    (void)state;
    assert_int_equal(go(), 0);
    assert_null(transcript.segments[0].words);
    assert_string_equal(transcript.segments[0].language, "");
    options.params.word_timestamps = true;
    options.params.multilingual = true;
    transcript_release(&transcript);
    assert_int_equal(go(), 0);
    const struct transcript_segment *s = &transcript.segments[0];
    assert_string_equal(s->language, "de");
    assert_int_equal(s->n_words, 2);
    assert_string_equal(s->words[1].text, " now");
    assert_true(s->words[1].start == 1.5 && s->words[1].end == 2);
    assert_true(s->words[0].probability == 0.75f);
}

static void the_report_is_taken_over(void **state)
{
    (void)state;
    engine.reports = true;
    assert_int_equal(go(), 0);
    const struct quality *q = &transcript.quality;
    assert_true(q->known);
    assert_int_equal(q->n_notes, QUALITY_KINDS);
    for (int kind = 0; kind < QUALITY_KINDS; kind++) {
        assert_int_equal(q->notes[kind].kind, kind);
        assert_true(q->notes[kind].start == kind && q->notes[kind].end == kind + 1);
        assert_true(q->notes[kind].value == 0.5f);
    }
    assert_int_equal(q->notes[QUALITY_LOOP].remedy, REMEDY_CUT);
    assert_string_equal(q->notes[QUALITY_LOOP].text, " la la");
    assert_int_equal(q->n_votes, 1);
    assert_string_equal(q->votes[0].language, "de");
    assert_true(q->votes[0].probability == 0.75f && q->votes[0].end == 30);
    assert_true(q->audio_seconds == 2 && q->speech_seconds == 1.5);
    assert_true(q->text_seconds == 0.75 && q->clipped_share == 0.25f);
    assert_true(q->peak_dbfs == -1 && q->speech_dbfs == -20);
    assert_string_equal(q->detector, "energy");
    /* A recording that is gone on with: the same part has one vote. */
    transcript_segment_release(&transcript.segments[0]);
    transcript.n_segments = 0;
    assert_int_equal(go(), 0);
    assert_int_equal(q->n_votes, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_transcript_is_filled, begin, end),
        cmocka_unit_test_setup_teardown(nobody_need_listen, begin, end),
        cmocka_unit_test_setup_teardown(an_earlier_attempt_goes_on, begin, end),
        cmocka_unit_test_setup_teardown(an_earlier_attempt_in_one_language_goes_on, begin,
                                        end),
        cmocka_unit_test_setup_teardown(words_and_languages_come_when_asked_for, begin,
                                        end),
        cmocka_unit_test_setup_teardown(the_report_is_taken_over, begin, end),
        cmocka_unit_test_setup_teardown(damage_is_said, begin, end),
        cmocka_unit_test_setup_teardown(what_is_no_media_never_reaches_the_engine, begin,
                                        end),
        cmocka_unit_test_setup_teardown(cancelling_reaches_the_engine, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
