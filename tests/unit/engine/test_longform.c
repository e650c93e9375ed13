/* The sliding window over a scripted network: what a model would say in the window that
 * begins at a frame is written down here, so that moving on, the fallback ladder,
 * silence, cancellation and going on after a break are tested without weights. The small
 * vocabulary is that of test_search.c: 0 … 19 text, 20 end-of-text, markers, 30 …
 * timestamps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/session.h"

#include <math.h>

enum { EOT = 20, SOT = 21, EN = 28, ZH = 29, BEGIN = 32, VOCAB = BEGIN + 1501 };
enum { CONTEXT = 24, SLOTS = 4 * WHISPER_MAX_SEQUENCES };

static const struct special_tokens special = {
    .eot = EOT,
    .sot = SOT,
    .translate = 22,
    .transcribe = 23,
    .sot_lm = 24,
    .sot_prev = 25,
    .no_speech = 26,
    .no_timestamps = 27,
    .timestamp_begin = BEGIN,
    .language_begin = EN,
    .n_languages = 2,
};

/* What is said in the window at `frame`: up to the first 0, each with `logit` against 0
 * for all others. Id 0 itself cannot be said. A negative frame is any. */
struct line {
    int64_t frame;
    float logit, no_speech;
    int32_t tokens[12];
};

/* ---- the scripted network, features and tokenizer -------------------------------- */

struct net {
    const struct line *script;
    size_t n_lines;
    int64_t frame; /* encoded */
    int encoded;   /* windows, all in all */
    int decoded;   /* steps */
    int32_t slot[SLOTS][CONTEXT];
    int length[SLOTS];
    int32_t prompt[CONTEXT]; /* the last one that was read */
    int n_prompt;
};

static struct net net;
static size_t n_frames;
static int64_t void_frames; /* so many at the beginning hold no sound at all */

int net_open(struct net **out, const struct whisper_model *m, const struct net_options *o,
             struct err *e)
{
    (void)m;
    (void)e;
    assert_true(o->max_slots <= SLOTS);
    *out = &net;
    return 0;
}

void net_close(struct net *n)
{
    (void)n;
}

struct pool *net_pool(struct net *n)
{
    (void)n;
    return NULL;
}

int mel_open(struct mel **out, const struct whisper_model *m, struct pool *pool,
             struct err *e)
{
    (void)m;
    (void)pool;
    (void)e;
    *out = (struct mel *)&net;
    return 0;
}

void mel_close(struct mel *f)
{
    (void)f;
}

int mel_begin(struct mel *f, const float *samples, size_t n_samples, struct err *e)
{
    (void)f;
    (void)samples;
    (void)e;
    n_frames = n_samples / 160;
    return 0;
}

int64_t mel_frames(const struct mel *f)
{
    (void)f;
    return (int64_t)n_frames;
}

void mel_gather(struct mel *f, const struct mel_piece *pieces, size_t n, float *out)
{
    (void)f;
    int64_t first = n ? pieces[0].first : 0;
    for (size_t i = 0; i < WHISPER_WINDOW_FRAMES * 80; i++)
        out[i] = 0;
    for (size_t i = 0; first >= void_frames && i < 80; i++)
        out[i] = (float)(first + (int64_t)i + 1);
}

void net_encode(struct net *n, const float *const *mel, int count)
{
    assert_int_equal(count, 1);
    n->frame = (int64_t)mel[0][0] - 1;
    n->encoded++;
}

void net_slot_begin(struct net *n, int slot, int window)
{
    assert_int_equal(window, 0);
    n->length[slot] = 0;
}

void net_slot_copy(struct net *n, int to, int from, int same)
{
    (void)same;
    memcpy(n->slot[to], n->slot[from], sizeof(n->slot[to]));
    n->length[to] = n->length[from];
}

int net_slot_length(const struct net *n, int slot)
{
    return n->length[slot];
}

void net_slot_truncate(struct net *n, int slot, int length)
{
    assert_true(length <= n->length[slot]);
    n->length[slot] = length;
}

static const struct line *line_at(const struct net *n, int64_t frame)
{
    for (size_t i = 0; i < n->n_lines; i++) {
        if (n->script[i].frame == frame || n->script[i].frame < 0)
            return &n->script[i];
    }
    fail_msg("no one asked for a window at frame %lld", (long long)frame);
    return NULL;
}

/* Logits after token `at` of a slot. */
static void speak(const struct net *n, int slot, int at, float *logits)
{
    const struct line *l = line_at(n, n->frame);
    for (int i = 0; i < VOCAB; i++)
        logits[i] = 0;
    if (n->slot[slot][at] == SOT) {
        logits[special.no_speech] = l->no_speech;
        logits[ZH] = 2;
        return;
    }
    int said = at + 1 - n->n_prompt;
    if (said < 0)
        return;
    int32_t next = said < (int)ARRAY_LENGTH(l->tokens) ? l->tokens[said] : 0;
    logits[next ? next : EOT] = l->logit;
}

int net_decode(struct net *n, const struct net_input *inputs, int count, float *logits,
               struct err *e)
{
    n->decoded++;
    for (int i = 0; i < count; i++) {
        const struct net_input *in = &inputs[i];
        int before = n->length[in->slot];
        if (before + in->n_tokens > CONTEXT)
            return err_set(e, ERR_INVALID, "the slot would overflow");
        memcpy(&n->slot[in->slot][before], in->tokens,
               (size_t)in->n_tokens * sizeof(*in->tokens));
        n->length[in->slot] += in->n_tokens;
        if (before == 0) {
            memcpy(n->prompt, n->slot[in->slot], sizeof(n->prompt));
            n->n_prompt = in->n_tokens;
        }
        for (int t = in->logits_from; t < in->n_tokens; t++, logits += VOCAB)
            speak(n, in->slot, before + t, logits);
    }
    return 0;
}

int tokenizer_open(struct tokenizer **out, const struct whisper_model *m, struct err *e)
{
    (void)m;
    (void)e;
    *out = (struct tokenizer *)&net;
    return 0;
}

void tokenizer_close(struct tokenizer *t)
{
    (void)t;
}

const struct special_tokens *tokenizer_specials(const struct tokenizer *t)
{
    (void)t;
    return &special;
}

/* Text is letters: "a" is token 1. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t length,
                     int32_t **out, size_t *count, size_t *capacity, struct err *e)
{
    (void)t;
    (void)e;
    assert_int_equal(text[0], ' ');
    for (size_t i = 1; i < length; i++) {
        assert_int_equal(mem_grow(out, capacity, *count + 1, sizeof(**out)), 0);
        (*out)[(*count)++] = text[i] - 'a' + 1;
    }
    return 0;
}

/* Token 19 is white space. */
char *tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count)
{
    (void)t;
    char *text = mem_array(count + 1, 1);
    assert_non_null(text);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < EOT)
            text[n++] = ids[i] == 19 ? ' ' : (char)('a' + ids[i] - 1);
    }
    return text;
}

const int32_t *tokenizer_non_speech(const struct tokenizer *t, size_t *count)
{
    static const int32_t list[] = {18};
    (void)t;
    *count = 1;
    return list;
}

int32_t tokenizer_blank(const struct tokenizer *t)
{
    (void)t;
    return 19;
}

/* ---- driving it ------------------------------------------------------------------ */

struct watch {
    int64_t checkpoints[16];
    int n_checkpoints, n_segments, n_languages, n_notes, language, cancel_after;
};

static bool on_cancelled(void *arg)
{
    struct watch *w = arg;
    return w->cancel_after > 0 && w->n_checkpoints >= w->cancel_after;
}

static void on_language(void *arg, int language, float probability)
{
    struct watch *w = arg;
    assert_true(probability > 0 && probability <= 1);
    w->language = language;
    w->n_languages++;
}

static void on_segment(void *arg, const struct whisper_segment *segment)
{
    struct watch *w = arg;
    assert_int_equal(segment->id, w->n_segments);
    w->n_segments++;
}

static void on_window(void *arg, int64_t next, int64_t total)
{
    struct watch *w = arg;
    assert_int_equal(total, n_frames);
    if (w->n_checkpoints < (int)ARRAY_LENGTH(w->checkpoints))
        w->checkpoints[w->n_checkpoints] = next;
    w->n_checkpoints++;
}

static void on_note(void *arg, const struct whisper_note *note)
{
    struct watch *w = arg;
    assert_true(note->start_seconds < note->end_seconds);
    w->n_notes++;
}

struct fixture {
    struct whisper_model model;
    struct whisper_session *session;
    struct whisper_params params;
    struct whisper_result result;
    struct watch watch;
    struct err e;
};

static void begin(struct fixture *f, const struct line *script, size_t n_lines)
{
    *f = (struct fixture){.model.config = {.n_vocab = VOCAB,
                                           .n_text_ctx = CONTEXT,
                                           .n_mels = 80,
                                           .multilingual = true,
                                           .n_languages = 2}};
    net = (struct net){.script = script, .n_lines = n_lines};
    whisper_params_init(&f->params);
    f->params.language = "en";
    whisper_result_init(&f->result);
    assert_int_equal(whisper_session_open(&f->session, &f->model, NULL, &f->e), 0);
}

static void end(struct fixture *f)
{
    whisper_result_release(&f->result);
    whisper_session_close(f->session);
}

/* What the net hears is scripted; the samples only have to sound, where nothing else is
 * said: [quiet_from, quiet_to) seconds do not. */
static float sound[130 * 16000];
static double quiet_from, quiet_to;

static int go(struct fixture *f, double seconds)
{
    size_t n_samples = (size_t)(seconds * 16000);
    assert_true(n_samples <= ARRAY_LENGTH(sound));
    for (size_t i = 0; i < n_samples; i++)
        sound[i] = i % 2 ? 0.1f : -0.1f;
    for (size_t i = (size_t)(quiet_from * 16000);
         i < n_samples && i < (size_t)(quiet_to * 16000); i++)
        sound[i] = 0;
    const struct whisper_callbacks c = {&f->watch,  on_cancelled, on_language,
                                        on_segment, on_window,    on_note};
    return whisper_transcribe(f->session, sound, n_samples, &f->params, &c, &f->result,
                              &f->e);
}

static void expect(const struct fixture *f, size_t i, const char *text, double start,
                   double stop)
{
    assert_true(i < f->result.n_segments);
    const struct whisper_segment *s = &f->result.segments[i];
    assert_string_equal(s->text, text);
    assert_true(fabs(s->start_seconds - start) < 1e-9);
    assert_true(fabs(s->end_seconds - stop) < 1e-9);
}

/* ---- tests ----------------------------------------------------------------------- */

/* Three windows: a pair and an unfinished text; the unfinished text heard again; the end,
 * whose times go past the recording. */
static const struct line talk[] = {
    {0, 20, 0, {BEGIN, 1, 2, BEGIN + 500, BEGIN + 600, 3}},
    {1000, 20, 0, {BEGIN + 40, 3, 4, BEGIN + 1400}},
    {4000, 20, 0, {BEGIN, 5, BEGIN + 300, BEGIN + 350, 6, BEGIN + 400}},
};
static const double talk_seconds = 47.5;

static void windows_follow_each_other(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, talk, ARRAY_LENGTH(talk));
    assert_int_equal(go(&f, talk_seconds), 0);
    assert_int_equal(f.result.n_segments, 4);
    expect(&f, 0, "ab", 0, 10);
    expect(&f, 1, "cd", 10, 38); /* one timestamp only: the window's start is its start */
    expect(&f, 2, "e", 40, 46);
    expect(&f, 3, "f", 47, 47.5);
    assert_int_equal(f.watch.n_checkpoints, 3);
    assert_int_equal(f.watch.checkpoints[0], 1000);
    assert_int_equal(f.watch.checkpoints[1], 4000);
    assert_int_equal(f.watch.checkpoints[2], 4750);
    assert_int_equal(f.watch.n_segments, 4);
    assert_int_equal(f.result.segments[2].seek_frame, 4000);
    assert_int_equal(f.result.segments[2].n_tokens, 3);
    assert_true(f.result.segments[0].temperature == 0);
    assert_true(f.result.segments[0].avg_logprob > -0.01f);
    assert_true(fabs(f.result.duration_seconds - talk_seconds) < 1e-9);
    assert_int_equal(net.encoded, 3);
    end(&f);
}

static void a_language_is_detected_once(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, talk, ARRAY_LENGTH(talk));
    f.params.language = "auto";
    assert_int_equal(go(&f, talk_seconds), 0);
    assert_int_equal(f.watch.n_languages, 1);
    assert_int_equal(f.watch.language, 1);
    assert_int_equal(f.result.language, 1);
    assert_true(fabsf(f.result.language_probability - 0.8808f) < 1e-3f); /* e²/(e²+1) */
    assert_int_equal(net.prompt[1], ZH);
    assert_int_equal(net.encoded, 3); /* the first window is not encoded twice */
    end(&f);
}

static void going_on_gives_the_same(void **state)
{
    (void)state;
    for (int after = 1; after <= 2; after++) {
        struct fixture whole, f;
        begin(&whole, talk, ARRAY_LENGTH(talk));
        whole.params.condition_on_previous_text = true;
        assert_int_equal(go(&whole, talk_seconds), 0);
        struct net before = net;

        begin(&f, talk, ARRAY_LENGTH(talk));
        f.params.condition_on_previous_text = true;
        f.watch.cancel_after = after;
        assert_int_equal(go(&f, talk_seconds), ERR_CANCELLED);
        assert_int_equal(f.watch.n_checkpoints, after);
        f.watch.cancel_after = 0;
        f.params.start_frame = f.watch.checkpoints[after - 1];
        assert_int_equal(go(&f, talk_seconds), 0);
        assert_int_equal(f.result.n_segments, whole.result.n_segments);
        for (size_t i = 0; i < f.result.n_segments; i++) {
            const struct whisper_segment *s = &whole.result.segments[i];
            expect(&f, i, s->text, s->start_seconds, s->end_seconds);
            assert_int_equal(f.result.segments[i].id, i);
        }
        assert_int_equal(net.n_prompt, before.n_prompt);
        assert_memory_equal(net.prompt, before.prompt, sizeof(net.prompt));
        end(&f);
        end(&whole);
    }
}

static void what_was_said_is_the_next_prompt(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, talk, ARRAY_LENGTH(talk));
    f.params.condition_on_previous_text = true;
    f.params.initial_prompt = " abcd ";
    assert_int_equal(go(&f, talk_seconds), 0);
    /* 11 tokens of history at most, half a context less one: "a" has made room. */
    const int32_t expected[] = {25,  2,           3,          4, BEGIN, 1,
                                2,   BEGIN + 500, BEGIN + 40, 3, 4,     BEGIN + 1400,
                                SOT, EN,          23};
    assert_int_equal(net.n_prompt, ARRAY_LENGTH(expected));
    assert_memory_equal(net.prompt, expected, sizeof(expected));
    end(&f);
}

static void by_default_nothing_is_carried_over(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, talk, ARRAY_LENGTH(talk));
    f.params.initial_prompt = "hi";
    f.watch.cancel_after = 1;
    assert_int_equal(go(&f, talk_seconds), ERR_CANCELLED);
    const int32_t first[] = {25, 8, 9, SOT, EN, 23};
    assert_int_equal(net.n_prompt, ARRAY_LENGTH(first));
    assert_memory_equal(net.prompt, first, sizeof(first));
    f.watch.cancel_after = 0;
    f.params.start_frame = 1000;
    assert_int_equal(go(&f, talk_seconds), 0);
    assert_int_equal(net.n_prompt, 3);
    end(&f);
}

static bool same_text(const struct whisper_result *a, const struct whisper_result *b)
{
    bool same = a->n_segments == b->n_segments;
    for (size_t i = 0; same && i < a->n_segments; i++)
        same = strcmp(a->segments[i].text, b->segments[i].text) == 0;
    return same;
}

/* A little more than all timestamps together: each token has half the probability, a
 * logarithm of -0.6. */
static const struct line unsure[] = {{-1, 7.5f, 0, {BEGIN, 1, 2, BEGIN + 40}}};

static void improbable_text_is_tried_again(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, unsure, 1);
    f.params.n_temperatures = 1;
    assert_int_equal(go(&f, 0.85), 0);
    expect(&f, 0, "ab", 0, 0.8);
    int once = net.decoded;
    end(&f);

    begin(&f, unsure, 1);
    f.params.log_prob_threshold = -0.3f;
    assert_int_equal(go(&f, 0.85), 0);
    /* No temperature is good enough: the most probable text is kept. */
    expect(&f, 0, "ab", 0, 0.8);
    assert_true(f.result.segments[0].temperature < 1.0f);
    assert_int_equal(net.encoded, 1);
    assert_true(net.decoded >= once + 5);
    end(&f);

    begin(&f, unsure, 1);
    assert_int_equal(go(&f, 0.85), 0);
    expect(&f, 0, "ab", 0, 0.8);
    assert_int_equal(net.decoded, once);
    end(&f);
}

static void a_seed_repeats_itself(void **state)
{
    (void)state;
    struct fixture f, again;
    begin(&f, unsure, 1);
    f.params.temperatures[0] = 1.0f;
    f.params.n_temperatures = 1;
    f.params.best_of = 1; /* of several, the likeliest text would win */
    assert_int_equal(go(&f, 20), 0);
    assert_true(f.result.n_segments >= 1);
    assert_true(f.result.segments[0].temperature == 1.0f);

    begin(&again, unsure, 1);
    again.params = f.params;
    assert_int_equal(go(&again, 20), 0);
    assert_true(same_text(&again.result, &f.result));
    end(&again);

    begin(&again, unsure, 1);
    again.params = f.params;
    again.params.seed = 7;
    assert_int_equal(go(&again, 20), 0);
    assert_false(same_text(&again.result, &f.result));
    end(&again);
    end(&f);
}

static void silence_is_skipped(void **state)
{
    (void)state;
    static const struct line quiet[] = {
        {0, 1, 30, {BEGIN, 1, BEGIN + 40}},
        {3000, 20, 30, {BEGIN, 2, BEGIN + 40}}, /* sure of its text: speech after all */
    };
    struct fixture f;
    begin(&f, quiet, 2);
    assert_int_equal(go(&f, 40), 0);
    assert_int_equal(f.result.n_segments, 1);
    expect(&f, 0, "b", 30, 30.8);
    assert_true(f.result.segments[0].no_speech_prob > 0.9f);
    assert_int_equal(f.watch.n_checkpoints, 2);
    assert_int_equal(f.watch.checkpoints[0], 3000);
    /* No other temperature was tried in silence. */
    assert_true(net.decoded < 20);
    end(&f);
}

static void quiet_is_passed_over(void **state)
{
    (void)state;
    /* The second window begins half a second before it sounds again, at 20.5 s. */
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, BEGIN + 100, BEGIN + 100}},
        {2000, 20, 0, {BEGIN, 2, BEGIN + 40}},
    };
    struct fixture f;
    begin(&f, lines, 2);
    quiet_from = 1.5;
    quiet_to = 20.5;
    assert_int_equal(go(&f, 40), 0);
    quiet_from = quiet_to = 0;
    assert_int_equal(f.result.n_segments, 2);
    /* 0.4 s of the quiet are heard behind the sound, and no text lasts longer. */
    expect(&f, 0, "a", 0, 1.9);
    expect(&f, 1, "b", 20, 20.8);
    assert_int_equal(net.encoded, 2);
    assert_int_equal(f.watch.n_checkpoints, 2);
    assert_int_equal(f.watch.checkpoints[0], 2000);
    assert_int_equal(f.watch.checkpoints[1], 4000);
    const struct whisper_report *report = &f.result.report;
    assert_int_equal(report->detector, WHISPER_DETECTOR_ENERGY);
    assert_true(fabs(report->audio_seconds - 40) < 1e-9);
    assert_true(fabs(report->speech_seconds - 21.9) < 1e-9);
    assert_true(fabs(report->text_seconds - 2.7) < 1e-9);
    assert_int_equal(report->n_notes, 1);
    assert_int_equal(f.watch.n_notes, 1);
    assert_int_equal(report->notes[0].kind, WHISPER_NOTE_NON_SPEECH);
    assert_true(fabs(report->notes[0].start_seconds - 1.9) < 1e-9);
    assert_true(fabs(report->notes[0].end_seconds - 20) < 1e-9);
    end(&f);
}

static void without_a_filter_all_is_heard(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {0, 20, 0, {BEGIN, 1, BEGIN + 100, BEGIN + 100}},
        {200, 20, 0, {BEGIN, 2, BEGIN + 40}},
        {3200, 20, 0, {BEGIN, 3, BEGIN + 40}},
    };
    struct fixture f;
    begin(&f, lines, ARRAY_LENGTH(lines));
    f.params.vad_filter = false;
    quiet_from = 1.5;
    quiet_to = 20.5;
    assert_int_equal(go(&f, 40), 0);
    quiet_from = quiet_to = 0;
    assert_int_equal(f.result.n_segments, 3);
    assert_int_equal(f.result.report.detector, WHISPER_DETECTOR_OFF);
    assert_true(fabs(f.result.report.speech_seconds - 40) < 1e-9);
    assert_int_equal(f.result.report.n_notes, 0);
    end(&f);
}

static void only_the_clips_are_heard(void **state)
{
    (void)state;
    static const struct whisper_clip clips[] = {{4, 6}, {6, 7.5}, {39, INFINITY}};
    static const struct line lines[] = {
        {400, 20, 0, {BEGIN, 1, BEGIN + 100, BEGIN + 100}},
        {600, 20, 0, {BEGIN, 2, BEGIN + 900}}, /* past its clip's end */
        {3900, 20, 0, {BEGIN, 3, BEGIN + 40}},
    };
    struct fixture f;
    begin(&f, lines, ARRAY_LENGTH(lines));
    f.params.clips = clips;
    f.params.n_clips = ARRAY_LENGTH(clips);
    assert_int_equal(go(&f, 40), 0);
    assert_int_equal(f.result.n_segments, 3);
    expect(&f, 0, "a", 4, 6);
    expect(&f, 1, "b", 6, 7.5);
    expect(&f, 2, "c", 39, 39.8);
    assert_int_equal(f.watch.checkpoints[0], 600);
    assert_int_equal(f.watch.checkpoints[1], 3900);
    assert_int_equal(f.watch.checkpoints[2], 4000);
    end(&f);
}

static void nothing_is_heard_in_nothing(void **state)
{
    (void)state;
    static const struct line late[] = {{3000, 20, 0, {BEGIN, 2, BEGIN + 40}}};
    struct fixture f;
    begin(&f, late, 1);
    f.params.language = "auto";
    void_frames = 3000;
    assert_int_equal(go(&f, 40), 0);
    assert_int_equal(f.result.n_segments, 1);
    expect(&f, 0, "b", 30, 30.8);
    assert_int_equal(f.watch.n_checkpoints, 2);
    assert_int_equal(f.watch.n_languages, 1); /* told by the window with sound */
    assert_int_equal(net.encoded, 1);
    end(&f);

    begin(&f, NULL, 0);
    f.params.language = "auto";
    void_frames = 9000;
    assert_int_equal(go(&f, 40), 0);
    assert_int_equal(f.result.n_segments, 0);
    assert_int_equal(f.result.language, -1);
    assert_int_equal(f.watch.n_languages, 0);
    assert_int_equal(f.watch.n_checkpoints, 2);
    assert_int_equal(net.encoded, 0);
    void_frames = 0;
    end(&f);
}

static void segments_without_text_or_time_go(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {0,
         20,
         0,
         {BEGIN + 2, 19, BEGIN + 40, BEGIN + 40, 2, BEGIN + 90, BEGIN + 1000, 3,
          BEGIN + 1100}},
    };
    struct fixture f;
    begin(&f, lines, 1);
    assert_int_equal(go(&f, 15), 0);
    /* White space alone; text; text that begins after the end of the audio. */
    assert_int_equal(f.result.n_segments, 1);
    expect(&f, 0, "b", 0.8, 1.8);
    assert_int_equal(f.result.segments[0].id, 0);
    end(&f);
}

static void endless_text_ends(void **state)
{
    (void)state;
    static const struct line endless[] = {
        {0, 30, 0, {BEGIN, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
    };
    struct fixture f;
    begin(&f, endless, 1);
    f.params.n_temperatures = 1;
    f.params.condition_on_previous_text = true;
    f.params.initial_prompt = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert_int_equal(go(&f, 20), 0);
    assert_int_equal(f.result.n_segments, 1);
    /* 15 tokens of prompt in a context of 24, and one that is chosen but not read. */
    assert_int_equal(f.result.segments[0].n_tokens, 10);
    expect(&f, 0, "aaaaaaaaa", 0, 20);
    end(&f);
}

static void no_audio_is_no_text(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, NULL, 0);
    f.params.language = NULL;
    assert_int_equal(go(&f, 0), 0);
    assert_int_equal(f.result.n_segments, 0);
    assert_int_equal(f.result.language, -1);
    assert_int_equal(go(&f, 0.05), 0);
    assert_int_equal(net.encoded, 0);
    f.params.language = "zh";
    assert_int_equal(go(&f, 0), 0);
    assert_int_equal(f.watch.language, 1);
    end(&f);
}

static void a_cancelled_start_does_nothing(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, talk, ARRAY_LENGTH(talk));
    f.watch.cancel_after = 1;
    f.watch.n_checkpoints = 1;
    assert_int_equal(go(&f, talk_seconds), ERR_CANCELLED);
    assert_int_equal(net.encoded, 0);
    assert_non_null(strstr(f.e.message, "cancelled"));
    end(&f);
}

static void languages_are_told_apart(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, talk, ARRAY_LENGTH(talk));
    float *p = mem_array((size_t)whisper_language_count(), sizeof(*p));
    float samples[1600] = {0};
    int language = -1;
    p[5] = 9;
    assert_int_equal(
        whisper_detect_language(f.session, samples, 1600, &language, p, &f.e), 0);
    assert_int_equal(language, 1);
    assert_true(fabsf(p[0] + p[1] - 1) < 1e-6f);
    assert_true(p[5] == 0);
    f.model.config.multilingual = false;
    assert_int_equal(
        whisper_detect_language(f.session, samples, 1600, &language, p, &f.e),
        ERR_UNSUPPORTED);
    free(p);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_follow_each_other),
        cmocka_unit_test(a_language_is_detected_once),
        cmocka_unit_test(going_on_gives_the_same),
        cmocka_unit_test(what_was_said_is_the_next_prompt),
        cmocka_unit_test(by_default_nothing_is_carried_over),
        cmocka_unit_test(improbable_text_is_tried_again),
        cmocka_unit_test(a_seed_repeats_itself),
        cmocka_unit_test(silence_is_skipped),
        cmocka_unit_test(quiet_is_passed_over),
        cmocka_unit_test(without_a_filter_all_is_heard),
        cmocka_unit_test(only_the_clips_are_heard),
        cmocka_unit_test(nothing_is_heard_in_nothing),
        cmocka_unit_test(segments_without_text_or_time_go),
        cmocka_unit_test(endless_text_ends),
        cmocka_unit_test(no_audio_is_no_text),
        cmocka_unit_test(a_cancelled_start_does_nothing),
        cmocka_unit_test(languages_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
