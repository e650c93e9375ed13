#include "format/cues.h"

#include "base/mem.h"
#include "format/text.h"
#include "format/wrap.h"

#include <math.h>

#define GAP_MS   83  /* two frames of film */
#define PAUSE_MS 300 /* speakers breathe: a good place to divide */
/* What is shorter is not divided for its duration alone, unless words have times. */
#define SHORT_COLUMNS 24
#define TEXT_BYTES    ((size_t)1 << 20)

void cue_options_init(struct cue_options *o)
{
    *o = (struct cue_options){.max_line_width = 42,
                              .max_line_count = 2,
                              .max_cps = 20,
                              .min_cue_duration = 5.0f / 6,
                              .max_cue_duration = 7};
}

static void cue_release(struct cue *c)
{
    free(c->text);
    free(c->words);
    *c = (struct cue){0};
}

void cues_release(struct cues *c)
{
    for (size_t i = 0; i < c->count; i++)
        cue_release(&c->list[i]);
    free(c->list);
    *c = (struct cues){0};
}

int cues_check(const struct transcript *t, const struct cue_options *o, struct err *e)
{
    bool known = !t->n_segments;
    for (size_t i = 0; i < t->n_segments; i++)
        known |= t->segments[i].words != NULL;
    if (!o->highlight_words || o->raw_subtitles || known)
        return 0;
    return err_set(e, ERR_STATE,
                   "highlight_words needs the times of the words, which this transcript "
                   "does not have: transcribe it again with word_timestamps");
}

/* ---- a segment and its times ------------------------------------------------------ */

/* The characters (spaces aside) first … last-1 of the text are said at that time. */
struct spoken {
    size_t first, last;
    int64_t start_ms, end_ms;
};

struct divider {
    const struct cue_options *options;
    struct wrap_limits limits;
    struct cues *out;
    /* of the segment at hand */
    struct buf text;
    struct atoms atoms;
    struct spoken *words; /* owned [n_words] */
    size_t n_words, words_capacity;
    int64_t start_ms, end_ms;
};

static size_t count_characters(const char *p)
{
    size_t n = 0;
    while (*p)
        n += !text_is_space(text_next(&p));
    return n;
}

/* Times within the segment, and none before the one before it. */
static int64_t clamp(int64_t at, int64_t low, int64_t high)
{
    return at < low ? low : at > high ? high : at;
}

/* The words as the text's characters; none when they are not of this text. */
static int take_words(struct divider *d, const struct transcript_segment *s)
{
    size_t at = 0;
    int64_t before = d->start_ms;
    d->n_words = 0;
    if (mem_grow(&d->words, &d->words_capacity, s->n_words + 1, sizeof *d->words))
        return ERR_NOMEM;
    for (size_t i = 0; i < s->n_words; i++) {
        size_t n = count_characters(s->words[i].text);
        int64_t start = text_milliseconds(s->words[i].start);
        int64_t end = text_milliseconds(s->words[i].end);
        start = clamp(start, before, d->end_ms);
        end = clamp(end, start, d->end_ms);
        if (n)
            d->words[d->n_words++] = (struct spoken){at, at + n, start, end};
        at += n;
        before = end;
    }
    if (at != d->atoms.characters)
        d->n_words = 0;
    return 0;
}

/* When character `n` of the text is reached, by its word's time; `word` is the one that
 * the last question ended in, and moves on. */
static int64_t time_in(const struct divider *d, size_t n, size_t *word)
{
    while (*word + 1 < d->n_words && d->words[*word].last < n)
        ++*word;
    const struct spoken *w = &d->words[*word];
    double share = (double)(n - w->first) / (double)(w->last - w->first);
    return w->start_ms + llrint(share * (double)(w->end_ms - w->start_ms));
}

static void time_by_words(struct divider *d)
{
    size_t word = 0;
    for (size_t i = 0; i < d->atoms.count; i++) {
        struct atom *a = &d->atoms.list[i];
        /* The beginning is that of the next word, not the end of the one before. */
        while (word + 1 < d->n_words && d->words[word].last <= a->first)
            word++;
        a->start_ms = time_in(d, a->first, &word);
        a->end_ms = time_in(d, a->last, &word);
    }
}

static void time_by_width(struct divider *d)
{
    double total = 0, at = 0, span = (double)(d->end_ms - d->start_ms);
    for (size_t i = 0; i < d->atoms.count; i++)
        total += d->atoms.list[i].width;
    for (size_t i = 0; i < d->atoms.count; i++) {
        struct atom *a = &d->atoms.list[i];
        a->start_ms = d->start_ms + (total > 0 ? llrint(span * at / total) : 0);
        at += a->width;
        a->end_ms = d->start_ms + (total > 0 ? llrint(span * at / total) : 0);
    }
}

/* ---- where to divide -------------------------------------------------------------- */

struct choice {
    double cost;
    size_t from;
};

#define UNREACHED 1e30

static int columns(const struct atom *a, size_t count)
{
    int width = 0;
    for (size_t i = 0; i < count; i++)
        width += a[i].width + (i && a[i].spaced);
    return width;
}

static bool too_long(const struct divider *d, const struct atom *a, size_t count,
                     int width)
{
    int64_t most = llrint((double)d->options->max_cue_duration * 1000);
    if (count < 2 || a[count - 1].end_ms - a[0].start_ms <= most)
        return false;
    return d->n_words || width > SHORT_COLUMNS;
}

/* What a cue of atoms i … j-1 costs: fewer are better, and each should end where a
 * sentence, a clause or a breath does, and neither be a scrap nor fly past. */
static double cue_cost(const struct divider *d, size_t i, size_t j, int width)
{
    static const double after[] = {
        [ATOM_JOINED] = 20, [ATOM_PLAIN] = 10, [ATOM_CLAUSE] = 3, [ATOM_SENTENCE] = 0};
    const struct atom *a = d->atoms.list;
    double cost = 5;
    if (j < d->atoms.count) {
        double end = after[a[j - 1].end];
        bool breath = d->n_words && a[j].start_ms - a[j - 1].end_ms >= PAUSE_MS;
        cost += breath && end > 2 ? 2 : end;
    }
    double full = (double)d->limits.width * d->limits.lines;
    double empty = 1 - (double)width / full;
    cost += empty > 0 ? 4 * empty * empty : 0;
    double least = (double)d->options->min_cue_duration * 1000;
    double lasts = (double)(a[j - 1].end_ms - a[i].start_ms);
    if (lasts < least)
        cost += 10 * (1 - lasts / least);
    return cost;
}

static void divide(const struct divider *d, struct choice *best)
{
    const struct atom *a = d->atoms.list;
    size_t count = d->atoms.count;
    for (size_t i = 1; i <= count; i++)
        best[i].cost = UNREACHED;
    best[0] = (struct choice){0};
    for (size_t i = 0; i < count; i++) {
        size_t fits = wrap_fit(a + i, count - i, &d->limits);
        int width = 0;
        for (size_t j = i + 1; j <= i + fits; j++) {
            width += a[j - 1].width + (j - 1 > i && a[j - 1].spaced);
            if (too_long(d, a + i, j - i, width))
                break;
            double cost = best[i].cost + cue_cost(d, i, j, width);
            if (cost < best[j].cost)
                best[j] = (struct choice){cost, i};
        }
    }
}

/* ---- cues from atoms -------------------------------------------------------------- */

static char *lines_of(const struct divider *d, const struct atom *a, size_t count)
{
    bool *breaks = mem_array(count, sizeof *breaks);
    if (!breaks || wrap_lines(a, count, &d->limits, breaks)) {
        free(breaks);
        return NULL;
    }
    struct buf b;
    buf_init(&b, TEXT_BYTES);
    for (size_t i = 0; i < count; i++) {
        if (i && (breaks[i] || a[i].spaced))
            buf_char(&b, breaks[i] ? '\n' : ' ');
        buf_add(&b, d->text.data + a[i].from, a[i].to - a[i].from);
    }
    free(breaks);
    char *text = buf_take(&b);
    buf_release(&b);
    return text;
}

/* The byte behind `n` characters that are no spaces, from `p` on. */
static const char *skip_characters(const char *p, size_t n)
{
    while (*p && n)
        n -= !text_is_space(text_next(&p));
    return p;
}

static const char *skip_spaces(const char *p)
{
    for (const char *q = p; *q && text_is_space(text_next(&q));)
        p = q;
    return p;
}

/* The words that are in a cue whose text begins with character `first`. */
static int words_of(const struct divider *d, size_t first, size_t last, struct cue *c)
{
    c->words = mem_array(d->n_words + 1, sizeof *c->words);
    if (!c->words)
        return ERR_NOMEM;
    const char *p = c->text;
    size_t at = first;
    for (size_t i = 0; i < d->n_words && at < last; i++) {
        const struct spoken *w = &d->words[i];
        if (w->last <= at)
            continue;
        size_t until = w->last < last ? w->last : last;
        const char *from = skip_spaces(p), *to = skip_characters(from, until - at);
        c->words[c->n_words++] = (struct cue_word){.from = (size_t)(from - c->text),
                                                   .to = (size_t)(to - c->text),
                                                   .start_ms = w->start_ms,
                                                   .end_ms = w->end_ms};
        p = to;
        at = until;
    }
    return 0;
}

static int add_cue(struct divider *d, size_t i, size_t j)
{
    const struct atom *a = d->atoms.list;
    struct cues *out = d->out;
    struct cue c = {.start_ms = a[i].start_ms,
                    .end_ms = a[j - 1].end_ms,
                    .columns = columns(a + i, j - i)};
    if (mem_grow(&out->list, &out->capacity, out->count + 1, sizeof *out->list))
        return ERR_NOMEM;
    c.text = lines_of(d, a + i, j - i);
    if (!c.text || (d->n_words && words_of(d, a[i].first, a[j - 1].last, &c))) {
        cue_release(&c);
        return ERR_NOMEM;
    }
    out->list[out->count++] = c;
    return 0;
}

/* The best way back to front, then the cues front to back. */
static int add_cues(struct divider *d, struct choice *best)
{
    size_t next = 0;
    for (size_t j = d->atoms.count; j;) {
        size_t i = best[j].from;
        best[j].from = next; /* the links are turned around */
        next = j;
        j = i;
    }
    for (size_t i = 0; next; i = next, next = best[next].from)
        if (add_cue(d, i, next))
            return ERR_NOMEM;
    return 0;
}

static int add_segment(struct divider *d, const struct transcript_segment *s)
{
    buf_reset(&d->text);
    if (!text_cue(&d->text, s->text, false))
        return 0;
    d->start_ms = text_milliseconds(s->start);
    d->end_ms = text_milliseconds(s->end);
    d->end_ms = d->end_ms < d->start_ms ? d->start_ms : d->end_ms;
    if (buf_failed(&d->text) || wrap_split(buf_cstr(&d->text), &d->limits, &d->atoms) ||
        take_words(d, s))
        return ERR_NOMEM;
    if (d->n_words)
        time_by_words(d);
    else
        time_by_width(d);
    struct choice *best = mem_array(d->atoms.count + 1, sizeof *best);
    if (!best)
        return ERR_NOMEM;
    divide(d, best);
    int status = add_cues(d, best);
    free(best);
    return status;
}

/* ---- times ------------------------------------------------------------------------ */

/* What begins before the end of the one before begins there; no two begin together. */
static void put_in_order(struct cues *c)
{
    int64_t before = 0;
    for (size_t i = 0; i < c->count; i++) {
        struct cue *q = &c->list[i];
        q->start_ms = q->start_ms < before ? before : q->start_ms;
        q->end_ms = q->end_ms <= q->start_ms ? q->start_ms + 1 : q->end_ms;
        before = q->end_ms;
    }
}

static int64_t reading_ms(const struct cue *q, const struct cue_options *o)
{
    int64_t needed = llrint(1000.0 * q->columns / (double)o->max_cps);
    int64_t least = llrint(1000.0 * (double)o->min_cue_duration);
    return needed > least ? needed : least;
}

/* Long enough to be read, if what follows leaves the time; never too long; with a gap
 * before the next one. */
static void stretch(struct cue *q, const struct cue_options *o, int64_t limit)
{
    int64_t most = q->start_ms + llrint(1000.0 * (double)o->max_cue_duration);
    int64_t wanted = q->start_ms + reading_ms(q, o);
    int64_t least = q->start_ms + llrint(1000.0 * (double)o->min_cue_duration);
    if (q->end_ms < wanted)
        q->end_ms = wanted;
    if (q->end_ms > most)
        q->end_ms = most;
    /* A cue that would be too short keeps its time up to the next one. */
    if (q->end_ms > limit - GAP_MS)
        q->end_ms = limit - GAP_MS >= least ? limit - GAP_MS
                    : q->end_ms < limit     ? q->end_ms
                                            : limit;
}

static void set_times(struct cues *c, const struct cue_options *o, int64_t end_ms)
{
    put_in_order(c);
    for (size_t i = 0; i < c->count; i++) {
        struct cue *q = &c->list[i];
        /* The last one may stand until the recording ends. */
        int64_t limit = i + 1 < c->count ? q[1].start_ms : INT64_MAX;
        int64_t last = q->end_ms;
        stretch(q, o, limit);
        if (i + 1 == c->count && end_ms > 0 && q->end_ms > end_ms)
            q->end_ms = last > end_ms ? last : end_ms;
    }
}

/* The segments as they are, one cue each. */
static int build_raw(const struct transcript *t, struct cues *out)
{
    for (size_t i = 0; i < t->n_segments; i++) {
        const struct transcript_segment *s = &t->segments[i];
        struct buf text;
        buf_init(&text, TEXT_BYTES);
        struct cue c = {.start_ms = text_milliseconds(s->start),
                        .end_ms = text_milliseconds(s->end)};
        c.end_ms = c.end_ms < c.start_ms ? c.start_ms : c.end_ms;
        bool any = text_cue(&text, s->text, false);
        c.text = any ? buf_take(&text) : NULL;
        buf_release(&text);
        if (any && (!c.text || mem_grow(&out->list, &out->capacity, out->count + 1,
                                        sizeof *out->list))) {
            cue_release(&c);
            return ERR_NOMEM;
        }
        if (any)
            out->list[out->count++] = c;
    }
    return 0;
}

int cues_build(const struct transcript *t, const struct cue_options *o, struct cues *out)
{
    struct divider d = {
        .options = o,
        .limits = {o->max_line_width, o->max_line_count, o->max_words_per_line},
        .out = out};
    int status = 0;
    if (o->raw_subtitles)
        return build_raw(t, out);
    buf_init(&d.text, TEXT_BYTES);
    for (size_t i = 0; !status && i < t->n_segments; i++)
        status = add_segment(&d, &t->segments[i]);
    if (!status)
        set_times(out, o, text_milliseconds(t->duration));
    atoms_release(&d.atoms);
    free(d.words);
    buf_release(&d.text);
    return status;
}
