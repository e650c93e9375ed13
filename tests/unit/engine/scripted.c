#include "scripted.h"

#include "base/mem.h"
#include "engine/align.h"
#include "engine/vad.h"

#include <math.h>
#include <pthread.h>
#include <unistd.h>

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

struct net net;
static size_t n_frames;
int64_t void_frames;

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

bool mel_gather(struct mel *f, const struct mel_piece *pieces, size_t n, float *out)
{
    (void)f;
    int64_t first = n ? pieces[0].first : 0;
    for (size_t i = 0; i < WHISPER_WINDOW_FRAMES * 80; i++)
        out[i] = 0;
    for (size_t i = 0; first >= void_frames && i < 80; i++)
        out[i] = (float)(first + (int64_t)i + 1);
    return first >= void_frames;
}

void net_encode(struct net *n, int first, const float *const *mel, int count)
{
    assert_in_range(first + count, 1, WINDOWS);
    for (int i = 0; i < count; i++)
        n->frame[first + i] = (int64_t)mel[i][0] - 1;
    n->encoded += count;
}

void net_set_stop(struct net *n, bool (*stop)(void *arg), void *arg)
{
    (void)n;
    (void)stop;
    (void)arg;
}

void net_slot_begin(struct net *n, int slot, int window)
{
    n->window[slot] = window;
    n->length[slot] = 0;
}

void net_slot_copy(struct net *n, int to, int from, int same)
{
    (void)same;
    n->window[to] = n->window[from];
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

/* Does the prompt of a slot tell a token as said before? */
static bool is_told(const struct net *n, int slot, int32_t token)
{
    for (int i = 0; i < n->length[slot] && n->slot[slot][i] != SOT; i++) {
        if (n->slot[slot][i] == token)
            return true;
    }
    return false;
}

static const struct line *line_of(const struct net *n, int slot)
{
    int64_t frame = n->frame[n->window[slot]];
    for (size_t i = 0; i < n->n_lines; i++) {
        const struct line *l = &n->script[i];
        if ((l->frame == frame || l->frame < 0) &&
            (l->told == 0 || is_told(n, slot, l->told)))
            return l;
    }
    fail_msg("no one asked for a window at frame %lld", (long long)frame);
    return NULL;
}

/* Logits after token `at` of a slot. */
static void speak(const struct net *n, int slot, int at, float *logits)
{
    const struct line *l = line_of(n, slot);
    for (int i = 0; i < VOCAB; i++)
        logits[i] = 0;
    if (n->slot[slot][at] == SOT) {
        logits[special.no_speech] = l->no_speech;
        logits[ZH] = l->zh;
        return;
    }
    int said = at + 1 - n->n_read[n->window[slot]];
    if (said < 0)
        return;
    int32_t next = said < (int)ARRAY_LENGTH(l->tokens) ? l->tokens[said] : 0;
    logits[next ? next : EOT] = l->logit;
}

int net_decode(struct net *n, const struct net_input *inputs, int count, float *logits,
               struct err *e)
{
    bool seen[WINDOWS] = {false};
    int windows = 0;
    n->decoded++;
    if (n->pause_us > 0)
        usleep((useconds_t)n->pause_us);
    for (int i = 0; i < count; i++) {
        const struct net_input *in = &inputs[i];
        windows += !seen[n->window[in->slot]];
        seen[n->window[in->slot]] = true;
        int before = n->length[in->slot];
        if (before + in->n_tokens > CONTEXT)
            return err_set(e, ERR_INVALID, "the slot would overflow");
        memcpy(&n->slot[in->slot][before], in->tokens,
               (size_t)in->n_tokens * sizeof(*in->tokens));
        n->length[in->slot] += in->n_tokens;
        if (before == 0) {
            memcpy(n->prompt, n->slot[in->slot], sizeof(n->prompt));
            n->n_prompt = in->n_tokens;
            n->n_read[n->window[in->slot]] = in->n_tokens;
        }
        for (int t = in->logits_from; t < in->n_tokens; t++, logits += VOCAB)
            speak(n, in->slot, before + t, logits);
    }
    n->most = windows > n->most ? windows : n->most;
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

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *length)
{
    static const char letters[] =
        "wordswordswordswordswordswordswordswordswordswordswords";
    (void)t;
    *length = id >= EOT ? 0 : id == 17 ? 50 : id == 16 ? 25 : 4;
    return letters;
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

/* Every token is a word, and they share the window's time evenly. */
int align_open(struct align **out, const struct whisper_model *m, struct net *n,
               const struct tokenizer *t, struct err *e)
{
    (void)m;
    (void)t;
    (void)e;
    *out = (struct align *)n;
    return 0;
}

void align_close(struct align *a)
{
    (void)a;
}

int align_window(struct align *a, const struct align_request *r,
                 struct align_word **words, size_t *n_words, struct err *e)
{
    (void)a;
    (void)e;
    *words = mem_array(r->n_tokens, sizeof(**words));
    *n_words = 0;
    assert_non_null(*words);
    for (size_t i = 0; i < r->n_tokens; i++) {
        if (r->tokens[i] < EOT) {
            struct align_word *word = &(*words)[(*n_words)++];
            *word = (struct align_word){.from = i, .to = i + 1, .probability = 0.5f};
            word->text = tokenizer_decode(NULL, &r->tokens[i], 1);
        }
    }
    for (size_t i = 0; i < *n_words; i++) {
        double share = (double)r->frames / 100 / (double)*n_words;
        (*words)[i].start_seconds = share * (double)i;
        (*words)[i].end_seconds = share * (double)(i + 1);
    }
    return 0;
}

void align_words_free(struct align_word *words, size_t n_words)
{
    for (size_t i = 0; i < n_words; i++)
        free(words[i].text);
    free(words);
}

size_t vad_count(size_t n_samples)
{
    return (n_samples + VAD_SAMPLES - 1) / VAD_SAMPLES;
}

int vad_run(const struct vad *v, struct pool *pool, const float *samples,
            size_t n_samples, float gain, float *probabilities,
            bool (*cancelled)(void *arg), void *arg, struct err *e)
{
    (void)v;
    (void)pool;
    (void)gain;
    (void)cancelled;
    (void)arg;
    (void)e;
    for (size_t i = 0; i < vad_count(n_samples); i++)
        probabilities[i] = samples[i * VAD_SAMPLES] != 0 ? 0.95f : 0.02f;
    return 0;
}

static void open_session(struct fixture *f, const struct line *script, size_t n_lines,
                         const struct vad *vad)
{
    *f = (struct fixture){.model.config = {.n_vocab = VOCAB,
                                           .n_text_ctx = CONTEXT,
                                           .n_mels = 80,
                                           .multilingual = true,
                                           .n_languages = 2}};
    net = (struct net){.script = script, .n_lines = n_lines};
    whisper_params_init(&f->params);
    f->params.language = "en";
    f->params.mode = WHISPER_MODE_SEQUENTIAL;
    whisper_result_init(&f->result);
    const struct whisper_session_options options = {.max_batch = WINDOWS, .vad = vad};
    assert_int_equal(whisper_session_open(&f->session, &f->model, &options, &f->e), 0);
}

void begin(struct fixture *f, const struct line *script, size_t n_lines)
{
    open_session(f, script, n_lines, NULL);
}

void begin_with_voice(struct fixture *f, const struct line *script, size_t n_lines)
{
    open_session(f, script, n_lines, (const struct vad *)&net);
}

void begin_beside(struct fixture *f, const struct fixture *other)
{
    *f = (struct fixture){.model.config = other->model.config, .params = other->params};
    whisper_result_init(&f->result);
    const struct whisper_session_options options = {.beside = other->session};
    assert_int_equal(whisper_session_open(&f->session, &f->model, &options, &f->e), 0);
}

void end(struct fixture *f)
{
    whisper_result_release(&f->result);
    whisper_session_close(f->session);
}

static float sound[130 * 16000];
double quiet_from, quiet_to;

int go(struct fixture *f, double seconds)
{
    size_t n_samples = (size_t)(seconds * 16000);
    assert_true(n_samples <= ARRAY_LENGTH(sound));
    static pthread_mutex_t filling = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&filling);
    /* The level moves, as that of speech does. */
    for (size_t i = 0; i < n_samples; i++)
        sound[i] = (i % 2 ? 0.1f : -0.1f) * (i / 160 % 2 ? 1.0f : 0.5f);
    for (size_t i = (size_t)(quiet_from * 16000);
         i < n_samples && i < (size_t)(quiet_to * 16000); i++)
        sound[i] = 0;
    pthread_mutex_unlock(&filling);
    const struct whisper_callbacks c = {&f->watch,  on_cancelled, on_language,
                                        on_segment, on_window,    on_note};
    return whisper_transcribe(f->session, sound, n_samples, &f->params, &c, &f->result,
                              &f->e);
}

void expect(const struct fixture *f, size_t i, const char *text, double start,
            double stop)
{
    assert_true(i < f->result.n_segments);
    const struct whisper_segment *s = &f->result.segments[i];
    assert_string_equal(s->text, text);
    assert_true(fabs(s->start_seconds - start) < 1e-9);
    assert_true(fabs(s->end_seconds - stop) < 1e-9);
}
