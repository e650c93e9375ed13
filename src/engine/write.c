/* Tokens to segments, in the times of the recording. */
#include "engine/longform.h"

#include "base/mem.h"

/* A text whose mean log probability is lower is to be checked by whoever reads it. */
#define LOW_CONFIDENCE -0.8f
/* Where nobody speaks, by the network … */
#define NO_VOICE        0.1f
#define NO_VOICE_MARGIN 30 /* frames on both sides */
/* … and nothing rises above the background by more dB, there are no words. */
#define ABOVE_BACKGROUND 6
/* Without the network: 10 ms of steady noise stay within this, in dB, and speech in it
 * does not, unless it is softer than the noise. */
#define STEADY 3

/* Every text lasts a moment. */
#define LEAST_SECONDS 0.1

/* One segment to be, of one of the parts; frames count from its window's start. */
struct line {
    const struct heard *heard;
    size_t from, to; /* tokens */
    size_t words_from, words_to;
    int start_frame, end_frame;
    double start_seconds, end_seconds; /* in the recording */
};

struct lines {
    struct line *list; /* owned [n] */
    size_t n, capacity;
};

/* ---- lines ---------------------------------------------------------------------------
 */

static int64_t line_at(const struct line *l)
{
    return l->heard->window.at + l->start_frame;
}

/* In the order of their times; most are in order already. */
static int insert(struct lines *lines, const struct line *line)
{
    if (mem_grow(&lines->list, &lines->capacity, lines->n + 1, sizeof(*lines->list)) < 0)
        return ERR_NOMEM;
    size_t at = lines->n++;
    for (; at > 0 && line_at(&lines->list[at - 1]) > line_at(line); at--)
        lines->list[at] = lines->list[at - 1];
    lines->list[at] = *line;
    return 0;
}

/* The parts of a segment end where their words do. */
static void follow_words(struct line *l)
{
    const struct align_word *first = &l->heard->words[l->words_from];
    const struct align_word *last = &l->heard->words[l->words_to - 1];
    l->start_frame = (int)(first->start_seconds * WHISPER_FRAMES_PER_SECOND);
    l->end_frame = (int)(last->end_seconds * WHISPER_FRAMES_PER_SECOND + 0.999);
    if (l->end_frame == l->start_frame)
        l->end_frame++;
}

/* A piece without words is a line; one with words may go over a gap that no sentence goes
 * over, and is parted there. `word` is the first of its words, and moves on behind them.
 */
static int add_piece(const struct run *w, struct lines *lines, const struct heard *h,
                     const struct piece *piece, size_t *word)
{
    struct line line = {h, piece->from,        piece->to,       0,
                        0, piece->start_frame, piece->end_frame};
    size_t first = *word, end;
    while (first < h->n_words && h->words[first].from < piece->from)
        first++;
    for (end = first; end < h->n_words && h->words[end].to <= piece->to;)
        end++;
    *word = end;
    while (first < end) {
        size_t together = timing_together(w, h, first, end);
        line.words_from = first;
        line.words_to = first += together;
        if (first < end || line.from > piece->from)
            follow_words(&line);
        line.to = first < end ? h->words[first].from : piece->to;
        int rc = insert(lines, &line);
        if (rc < 0 || first == end)
            return rc;
        line.from = line.to;
    }
    return insert(lines, &line);
}

/* The times of a line in the recording; false when it has none. */
static bool place(const struct run *w, struct line *l)
{
    const struct window *window = &l->heard->window;
    int end = l->end_frame < window->frames ? l->end_frame : window->frames;
    int64_t from, to;
    if (l->start_frame >= end)
        return false;
    timeline_text(w->t, window->at + l->start_frame, window->at + end, &from, &to);
    l->start_seconds = (double)from / WHISPER_FRAMES_PER_SECOND;
    l->end_seconds = (double)to / WHISPER_FRAMES_PER_SECOND;
    if (w->p->word_timestamps && l->words_from < l->words_to)
        timing_edges(w, l->heard, l->words_from, l->words_to, &l->start_seconds,
                     &l->end_seconds);
    return true;
}

/* Two lines claim the same time: they share it by the length of their texts. */
static void share(struct line *before, struct line *l)
{
    double texts = (double)(before->to - before->from + l->to - l->from);
    double part = (double)(before->to - before->from) / texts;
    double middle =
        before->start_seconds + part * (before->end_seconds - before->start_seconds);
    l->end_seconds = before->end_seconds;
    l->start_seconds = before->end_seconds = middle;
}

/* Lines without time go; of the others each begins where the one before it has ended, and
 * none is lost because that one has taken its time. */
static void place_all(const struct run *w, struct lines *lines)
{
    size_t n = 0;
    for (size_t i = 0; i < lines->n; i++) {
        struct line l = lines->list[i];
        if (!place(w, &l))
            continue;
        if (n > 0 && l.end_seconds <= lines->list[n - 1].end_seconds &&
            l.start_seconds < lines->list[n - 1].end_seconds)
            share(&lines->list[n - 1], &l);
        else if (n > 0 && l.start_seconds < lines->list[n - 1].end_seconds)
            l.start_seconds = lines->list[n - 1].end_seconds;
        lines->list[n++] = l;
    }
    lines->n = n;
}

static int collect(const struct run *w, const struct account *a, struct lines *lines)
{
    int rc = 0;
    for (size_t i = 0; i < a->n_parts; i++) {
        const struct heard *h = &a->parts[i];
        size_t word = 0;
        for (size_t j = 0; rc == 0 && j < h->n_pieces; j++)
            rc = add_piece(w, lines, h, &h->pieces[j], &word);
    }
    place_all(w, lines);
    return rc;
}

/* ---- judging -------------------------------------------------------------------------
 */

static bool may_be_voice(const struct speech *s, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++) {
        if (speech_probability(s, i) >= NO_VOICE)
            return true;
    }
    return false;
}

/* Can there be no words at all? Only where the network is sure that nobody speaks, and
 * nothing sounds above the recording's background: whispering and bad lines do. Where the
 * network is absent, only where the level does not move. Who wants everything heard gets
 * everything that is heard. */
static bool is_unspoken(const struct run *w, int64_t from, int64_t to)
{
    const struct speech *s = &w->s->speech;
    from = from > NO_VOICE_MARGIN ? from - NO_VOICE_MARGIN : 0;
    to = to + NO_VOICE_MARGIN < s->total_frames ? to + NO_VOICE_MARGIN : s->total_frames;
    if (s->source == SPEECH_ALL || may_be_voice(s, from, to))
        return false;
    int background = speech_loudness(s, 0, s->total_frames, 0.10);
    int loud = 0;
    for (int64_t i = from; i < to; i++)
        loud = s->levels[i] > loud ? s->levels[i] : loud;
    return loud <= background + (s->n_probabilities > 0 ? ABOVE_BACKGROUND : STEADY);
}

/* Mean log probability of the line's text; 0 when there is none. */
static float confidence(const struct run *w, const struct line *l)
{
    int32_t eot = tokenizer_specials(w->s->tokenizer)->eot;
    double sum = 0;
    size_t n = 0;
    for (size_t i = l->from; i < l->to; i++) {
        if (l->heard->tokens[i] >= eot)
            continue;
        sum += l->heard->logprobs[i];
        n++;
    }
    return n > 0 ? (float)(sum / (double)n) : 0;
}

/* ---- segments ------------------------------------------------------------------------
 */

static int fill_logprobs(const struct heard *h, const struct line *l,
                         struct whisper_segment *out)
{
    out->logprobs = mem_array(out->n_tokens, sizeof(*out->logprobs));
    if (!out->logprobs)
        return ERR_NOMEM;
    memcpy(out->logprobs, h->logprobs + l->from, out->n_tokens * sizeof(*out->logprobs));
    return 0;
}

/* Text, tokens and words of a line; *empty when there is no text. */
static int fill(const struct run *w, const struct line *l, struct whisper_segment *out,
                bool *empty, struct err *e)
{
    const struct heard *h = l->heard;
    out->n_tokens = l->to - l->from;
    out->text = tokenizer_decode(w->s->tokenizer, h->tokens + l->from, out->n_tokens);
    out->tokens = mem_array(out->n_tokens, sizeof(*out->tokens));
    if (!out->text || !out->tokens || (w->p->token_logprobs && fill_logprobs(h, l, out)))
        return err_set(e, ERR_NOMEM, "no memory is left for the text");
    memcpy(out->tokens, h->tokens + l->from, out->n_tokens * sizeof(*out->tokens));
    size_t length = strlen(out->text);
    words_trim(out->text, &length);
    *empty = length == 0;
    if (*empty || l->words_from == l->words_to || !w->p->word_timestamps)
        return 0;
    return timing_words(w, h, l->words_from, l->words_to, out, e);
}

/* Append a segment, which becomes the result's. */
static int append(struct run *w, struct whisper_segment *segment, struct err *e)
{
    struct whisper_result *r = w->r;
    if (mem_grow(&r->segments, &r->capacity, r->n_segments + 1, sizeof(*r->segments)) < 0)
        return err_set(e, ERR_NOMEM, "no memory is left for the text");
    struct whisper_segment *out = &r->segments[r->n_segments];
    *out = *segment;
    *segment = (struct whisper_segment){0};
    out->id = r->n_segments ? out[-1].id + 1 : 0;
    r->n_segments++;
    if (w->c && w->c->segment)
        w->c->segment(w->c->arg, out);
    return 0;
}

/* Text where nobody speaks is no text; unsure text is said to be so. */
static int tell(struct run *w, struct account *a, const struct line *l,
                struct whisper_segment *s, bool *unspoken, struct err *e)
{
    int64_t from = (int64_t)(s->start_seconds * WHISPER_FRAMES_PER_SECOND);
    int64_t to = (int64_t)(s->end_seconds * WHISPER_FRAMES_PER_SECOND);
    float sure = confidence(w, l);
    *unspoken = is_unspoken(w, from, to);
    if (!*unspoken && !(sure < LOW_CONFIDENCE))
        return 0;
    int rc = account_note(
        w, a, *unspoken ? WHISPER_NOTE_HALLUCINATION : WHISPER_NOTE_LOW_CONFIDENCE, 0, 0,
        *unspoken ? 0 : sure, e);
    if (rc < 0)
        return rc;
    struct whisper_note *note = &a->notes[a->n_notes - 1];
    note->start_seconds = s->start_seconds;
    note->end_seconds = s->end_seconds;
    if (*unspoken) {
        note->text = s->text;
        s->text = NULL;
    }
    return 0;
}

static int write_line(struct run *w, struct account *a, const struct line *l,
                      struct err *e)
{
    const struct heard *h = l->heard;
    const struct whisper_result *r = w->r;
    double previous = r->n_segments ? r->segments[r->n_segments - 1].end_seconds : 0;
    bool empty, unspoken;
    struct whisper_segment segment = {
        .seek_frame = timeline_recording(w->t, h->window.at),
        .start_seconds = l->start_seconds,
        .end_seconds = l->end_seconds,
        .temperature = h->attempt.temperature,
        .avg_logprob = h->attempt.avg_logprob,
        .compression_ratio = h->attempt.compression_ratio,
        .no_speech_prob = h->attempt.no_speech_prob,
        .language = h->language,
    };
    /* What another window has taken the time of is still said. */
    if (segment.end_seconds < previous + LEAST_SECONDS)
        segment.end_seconds = previous + LEAST_SECONDS;
    if (!segments_clamp(&segment.start_seconds, &segment.end_seconds, previous,
                        r->duration_seconds))
        return 0;
    int rc = fill(w, l, &segment, &empty, e);
    if (rc == 0 && !empty) {
        rc = tell(w, a, l, &segment, &unspoken, e);
        if (rc == 0 && !unspoken)
            rc = append(w, &segment, e);
    }
    whisper_segment_release(&segment);
    return rc;
}

int write_account(struct run *w, struct account *a, struct err *e)
{
    struct lines lines = {0};
    int rc = collect(w, a, &lines);
    if (rc < 0)
        err_set(e, rc, "no memory is left for the text");
    for (size_t i = 0; rc == 0 && i < lines.n; i++)
        rc = write_line(w, a, &lines.list[i], e);
    free(lines.list);
    for (size_t i = 0; rc == 0 && i < a->n_notes; i++) {
        rc = report_note(w->r, w->c, &a->notes[i], e);
        a->notes[i].text = NULL; /* it is the report's now */
    }
    return rc;
}
