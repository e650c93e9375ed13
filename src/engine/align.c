#include "engine/align.h"

#include "base/mem.h"
#include "engine/align_heads.h"
#include "engine/align_times.h"

#include <math.h>

#define LOGIT_ROWS 16 /* whose probabilities are computed at a time */

/* ---- open -------------------------------------------------------------------------- */

static size_t most_heads_of_a_layer(const struct align *a)
{
    size_t most = 0, run = 0;
    for (int i = 0; i < a->n_heads; i++) {
        run = i > 0 && a->heads[i].layer == a->heads[i - 1].layer ? run + 1 : 1;
        if (run > most)
            most = run;
    }
    return most;
}

/* Everything that is sized by the dimensions; each is freed by align_close. */
static int take_scratch(struct align *a)
{
    const struct whisper_config *c = &a->model->config;
    size_t rows = (size_t)c->n_text_ctx, columns = (size_t)c->n_audio_ctx, all, seen;
    size_t states = 2 * rows + 1, trace;
    if (!size_mul(rows, columns, &all) ||
        !size_mul(all, most_heads_of_a_layer(a), &seen) ||
        !size_mul(states, columns, &trace))
        return ERR_NOMEM;
    const struct {
        void *out;
        size_t count, size;
    } parts[] = {
        {&a->seen, seen, sizeof *a->seen},
        {&a->matrix, all, sizeof *a->matrix},
        {&a->line, 2 * columns, sizeof *a->line},
        {&a->pause, columns, sizeof *a->pause},
        {&a->cut, columns + 1, sizeof *a->cut},
        {&a->sound, WHISPER_WINDOW_FRAMES, sizeof *a->sound},
        {&a->logits, (size_t)c->n_vocab * LOGIT_ROWS, sizeof *a->logits},
        {&a->states, states, sizeof *a->states},
        {&a->sum, 2 * states, sizeof *a->sum},
        {&a->trace, trace, sizeof *a->trace},
        {&a->first, states, sizeof *a->first},
        {&a->last, states, sizeof *a->last},
        {&a->state_of, rows, sizeof *a->state_of},
        {&a->start, rows, sizeof *a->start},
        {&a->end, rows, sizeof *a->end},
        {&a->prompt, rows, sizeof *a->prompt},
        {&a->pieces, rows, sizeof *a->pieces},
        {&a->origin, rows, sizeof *a->origin},
        {&a->probability, rows, sizeof *a->probability},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        void *memory = mem_array(parts[i].count, parts[i].size);
        if (!memory)
            return ERR_NOMEM;
        memcpy(parts[i].out, &memory, sizeof memory);
    }
    return 0;
}

int align_open(struct align **out, const struct whisper_model *m, struct net *n,
               const struct tokenizer *t, struct err *e)
{
    *out = NULL;
    struct align *a = mem_array(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_NOMEM, "no memory is left for word times");
    a->model = m;
    a->net = n;
    a->tokenizer = t;
    int status = align_heads_of(m, &a->heads, &a->n_heads, &a->lag, e);
    if (!status && take_scratch(a))
        status = err_set(e, ERR_NOMEM, "no memory is left for word times");
    if (status) {
        align_close(a);
        return status;
    }
    *out = a;
    return 0;
}

void align_close(struct align *a)
{
    if (!a)
        return;
    free(a->heads);
    free(a->seen);
    free(a->matrix);
    free(a->line);
    free(a->pause);
    free(a->cut);
    free(a->sound);
    free(a->logits);
    free(a->states);
    free(a->sum);
    free(a->trace);
    free(a->first);
    free(a->last);
    free(a->state_of);
    free(a->start);
    free(a->end);
    free(a->prompt);
    free(a->pieces);
    free(a->origin);
    free(a->probability);
    free(a);
}

/* ---- what the decoder is told -------------------------------------------------------
 */

static void tell_prompt(struct align *a, const struct align_request *r)
{
    const struct special_tokens *special = tokenizer_specials(a->tokenizer);
    size_t n = 0;
    a->prompt[n++] = special->sot;
    if (special->language_begin >= 0) {
        a->prompt[n++] = special->language_begin + r->language;
        a->prompt[n++] =
            r->task == WHISPER_TRANSLATE ? special->translate : special->transcribe;
    }
    a->prompt[n++] = special->no_timestamps;
    a->n_prompt = n;
    a->n_text = 0;
}

/* The text without what is no text, and end-of-text behind it. */
static int tell_text(struct align *a, const struct align_request *r, struct err *e)
{
    const struct special_tokens *special = tokenizer_specials(a->tokenizer);
    size_t room = (size_t)a->model->config.n_text_ctx - a->n_prompt - 1;
    for (size_t i = 0; i < r->n_tokens; i++) {
        if (r->tokens[i] < 0 || r->tokens[i] >= special->eot)
            continue;
        if (a->n_text == room)
            return err_set(
                e, ERR_INVALID,
                "more than %zu tokens of text in one window have no word times", room);
        struct word_piece *piece = &a->pieces[a->n_text];
        piece->bytes = tokenizer_piece(a->tokenizer, r->tokens[i], &piece->length);
        a->prompt[a->n_prompt + a->n_text] = r->tokens[i];
        a->origin[a->n_text++] = i;
    }
    a->prompt[a->n_prompt + a->n_text] = special->eot;
    return 0;
}

static int check_request(const struct align *a, const struct align_request *r,
                         struct err *e)
{
    const struct special_tokens *special = tokenizer_specials(a->tokenizer);
    if (r->frames < 1 || r->frames > WHISPER_WINDOW_FRAMES)
        return err_set(e, ERR_INVALID, "a window has 1 to %d frames, not %d",
                       WHISPER_WINDOW_FRAMES, r->frames);
    if (special->language_begin >= 0 &&
        (r->language < 0 || r->language >= special->n_languages))
        return err_set(e, ERR_INVALID, "the model has no language %d", r->language);
    int cut = 0;
    for (size_t i = 0; i < r->n_cuts; cut = r->cuts[i++])
        if (r->cuts[i] < cut || r->cuts[i] > r->frames)
            return err_set(e, ERR_INVALID, "a cut lies outside of the window");
    size_t before = 0;
    for (size_t i = 0; i < r->n_segments; before = r->segment_ends[i++])
        if (r->segment_ends[i] < before || r->segment_ends[i] > r->n_tokens)
            return err_set(e, ERR_INVALID, "a segment ends outside of the text");
    if (r->n_segments && before != r->n_tokens)
        return err_set(e, ERR_INVALID, "the last segment does not end with the text");
    return 0;
}

/* ---- attention -----------------------------------------------------------------------
 */

/* Attention to what is recording alone: the rest of the window is passed over. Square
 * roots, because a token looks hardest at a few columns, and all of its own count. */
static void restrict_rows(float *w, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++, w += columns) {
        float sum = 0;
        for (size_t c = 0; c < columns; c++)
            sum += w[c] = sqrtf(w[c]);
        float factor = sum > 0 ? 1 / sum : 0;
        for (size_t c = 0; c < columns; c++)
            w[c] *= factor;
    }
}

/* Row k of the matrix is what the decoder looks at when it is about to say text token k;
 * the last one, when it is about to end: nobody needs it. */
static void add_head(struct align *a, float *w, size_t rows)
{
    size_t columns = a->columns;
    restrict_rows(w, rows, columns);
    warp_standardise(w, rows, columns, a->line);
    const float *from = w + (a->n_prompt - 1) * columns;
    for (size_t k = 0; k < a->n_text; k++) {
        float *to = a->matrix + k * columns;
        warp_median(a->line, from + k * columns, columns);
        for (size_t c = 0; c < columns; c++)
            to[c] += a->line[c] / (float)a->n_heads;
    }
}

static void take_layer(void *arg, int first, int count, int rows)
{
    struct align *a = arg;
    (void)first;
    for (int i = 0; i < count; i++)
        add_head(a, a->seen + (size_t)i * (size_t)rows * a->columns, (size_t)rows);
}

/* How probable the text tokens are, among all that are text. */
static void take_probabilities(struct align *a)
{
    size_t vocab = (size_t)a->model->config.n_vocab;
    int ordinary = tokenizer_specials(a->tokenizer)->eot;
    for (size_t k = 0; k < a->n_text; k += LOGIT_ROWS) {
        size_t count = a->n_text - k < LOGIT_ROWS ? a->n_text - k : LOGIT_ROWS;
        net_logits(a->net, (int)(a->n_prompt - 1 + k), (int)count, a->logits);
        for (size_t i = 0; i < count; i++) {
            const float *logits = a->logits + i * vocab;
            float own = logits[a->prompt[a->n_prompt + k + i]], largest = own;
            double sum = 0;
            for (int t = 0; t < ordinary; t++)
                largest = logits[t] > largest ? logits[t] : largest;
            for (int t = 0; t < ordinary; t++)
                sum += (double)expf(logits[t] - largest);
            a->probability[k + i] = (float)(exp((double)(own - largest)) / sum);
        }
    }
}

static int look(struct align *a, const struct align_request *r, struct err *e)
{
    a->columns = (size_t)(r->frames + FRAMES_PER_COLUMN - 1) / FRAMES_PER_COLUMN;
    memset(a->matrix, 0, a->n_text * a->columns * sizeof *a->matrix);
    struct net_capture capture = {
        .heads = a->heads,
        .n_heads = a->n_heads,
        .columns = (int)a->columns,
        .out = a->seen,
        .layer = take_layer,
        .arg = a,
    };
    int n = (int)(a->n_prompt + a->n_text + 1);
    struct net_input input = {r->slot, a->prompt, n, n};
    net_slot_begin(a->net, r->slot, r->window);
    net_set_capture(a->net, &capture);
    int status = net_decode(a->net, &input, 1, a->logits, e);
    net_set_capture(a->net, NULL);
    if (!status)
        take_probabilities(a);
    return status;
}

/* ---- words ---------------------------------------------------------------------------
 */

static size_t segment_end(const struct align *a, const struct align_request *r, size_t i,
                          size_t from)
{
    size_t end = r->n_segments ? r->segment_ends[i] : r->n_tokens;
    while (from < a->n_text && a->origin[from] < end)
        from++;
    return from;
}

static int split(struct align *a, const struct align_request *r, struct words *w,
                 struct err *e)
{
    size_t segments = r->n_segments ? r->n_segments : 1, from = 0;
    for (size_t i = 0; i < segments; i++) {
        size_t to = segment_end(a, r, i, from);
        int status = words_split(w, a->pieces + from, to - from, from, r->language,
                                 r->prepend, r->append, e);
        if (status)
            return status;
        from = to;
    }
    return 0;
}

/* ---- out -----------------------------------------------------------------------------
 */

static float mean_probability(const struct align *a, size_t from, size_t to)
{
    double sum = 0;
    for (size_t i = from; i < to; i++)
        sum += (double)a->probability[i];
    return (float)(sum / (double)(to - from));
}

static int make_words(struct align *a, const struct words *w, struct align_word *out)
{
    for (size_t i = 0; i < w->n_spans; i++) {
        const struct word_span *span = &w->spans[i];
        out[i] = (struct align_word){
            .from = a->origin[span->from],
            .to = a->origin[span->to - 1] + 1,
            .start_seconds = (double)a->start[i] / WHISPER_FRAMES_PER_SECOND,
            .end_seconds = (double)a->end[i] / WHISPER_FRAMES_PER_SECOND,
            .probability = mean_probability(a, span->from, span->to),
            .text = tokenizer_decode(a->tokenizer, a->prompt + a->n_prompt + span->from,
                                     span->to - span->from),
        };
        if (!out[i].text)
            return ERR_NOMEM;
    }
    return 0;
}

static int hand_out(struct align *a, const struct words *w, struct align_word **words,
                    size_t *n_words, struct err *e)
{
    struct align_word *out = mem_array(w->n_spans, sizeof *out);
    if (!out || make_words(a, w, out)) {
        align_words_free(out, out ? w->n_spans : 0);
        return err_set(e, ERR_NOMEM, "no memory is left for the words");
    }
    *words = out;
    *n_words = w->n_spans;
    return 0;
}

int align_window(struct align *a, const struct align_request *r,
                 struct align_word **words, size_t *n_words, struct err *e)
{
    *words = NULL;
    *n_words = 0;
    int status = check_request(a, r, e);
    if (status)
        return status;
    tell_prompt(a, r);
    status = tell_text(a, r, e);
    if (status || a->n_text == 0)
        return status;
    struct words w = {0};
    status = split(a, r, &w, e);
    if (!status)
        status = look(a, r, e);
    if (!status) {
        align_find_times(a, r, &w);
        status = hand_out(a, &w, words, n_words, e);
    }
    words_release(&w);
    return status;
}

void align_words_free(struct align_word *words, size_t n_words)
{
    for (size_t i = 0; i < n_words; i++)
        free(words[i].text);
    free(words);
}
