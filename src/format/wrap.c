#include "format/wrap.h"

#include "base/mem.h"
#include "format/text.h"

#include <stdlib.h>
#include <string.h>
#include <unigbrk.h>
#include <unilbrk.h>
#include <uniwidth.h>

void atoms_release(struct atoms *a)
{
    free(a->list);
    *a = (struct atoms){0};
}

/* ---- characters ------------------------------------------------------------------ */

static bool in(uint32_t c, uint32_t from, uint32_t to)
{
    return c >= from && c <= to;
}

/* Scripts whose words have no spaces between them, and whose lines may be broken between
 * any two characters, save for the marks that UAX #14 keeps together. */
static bool is_ideographic(uint32_t c)
{
    return in(c, 0x2E80, 0x312F) || in(c, 0x31A0, 0x4DBF) || in(c, 0x4E00, 0xA4CF) ||
           in(c, 0xF900, 0xFAFF) || in(c, 0xFE30, 0xFE4F) || in(c, 0xFF00, 0xFFEF) ||
           in(c, 0x20000, 0x3FFFF);
}

/* Scripts without spaces whose breaks only a dictionary knows: Thai, Lao, Myanmar, Khmer
 * and their kin. */
static bool needs_dictionary(uint32_t c)
{
    return in(c, 0x0E00, 0x0EFF) || in(c, 0x1000, 0x109F) || in(c, 0x1780, 0x17FF) ||
           in(c, 0x1950, 0x19DF) || in(c, 0x1A20, 0x1AAF) || in(c, 0xA9E0, 0xA9FF) ||
           in(c, 0xAA60, 0xAADF);
}

static bool is_hiragana(uint32_t c)
{
    return in(c, 0x3041, 0x309F);
}

static bool is_katakana(uint32_t c)
{
    return in(c, 0x30A0, 0x30FF);
}

static bool is_han(uint32_t c)
{
    return in(c, 0x3400, 0x9FFF) || in(c, 0xF900, 0xFAFF) || in(c, 0x20000, 0x3FFFF);
}

/* Words of Japanese begin with a character of another kind, and hardly with hiragana. */
static bool same_word(uint32_t before, uint32_t after)
{
    return (is_han(before) && is_han(after)) ||
           (is_katakana(before) && is_katakana(after)) ||
           (is_ideographic(before) && is_hiragana(after));
}

static bool one_of(uint32_t c, const char *set)
{
    while (*set)
        if (text_next(&set) == c)
            return true;
    return false;
}

static bool is_flag(uint32_t c)
{
    return in(c, 0x1F1E6, 0x1F1FF);
}

/* Columns of one grapheme cluster: its widest character, and 2 for what is shown as a
 * picture (variation selector 16, flags). */
static int cluster_width(const char *p, const char *end)
{
    int width = 0;
    while (p < end) {
        uint32_t c = text_next(&p);
        int w = c == 0xFE0F || is_flag(c) ? 2 : uc_width(c, "UTF-8");
        width = w > width ? w : width;
    }
    return width;
}

/* ---- the atoms ------------------------------------------------------------------- */

struct splitter {
    const char *text;
    size_t length;
    char *lines,
        *clusters; /* owned [length + 1]: may a line, does a cluster begin here */
    const struct wrap_limits *limits;
    struct atoms *out;
};

static int prepare(struct splitter *s)
{
    s->lines = calloc(s->length + 1, 1);
    s->clusters = calloc(s->length + 1, 1);
    if (!s->lines || !s->clusters)
        return ERR_NOMEM;
    u8_possible_linebreaks((const uint8_t *)s->text, s->length, "UTF-8", s->lines);
    u8_grapheme_breaks((const uint8_t *)s->text, s->length, s->clusters);
    s->clusters[s->length] = 1;
    return 0;
}

static size_t next_cluster(const struct splitter *s, size_t at)
{
    do
        at++;
    while (!s->clusters[at]);
    return at;
}

static int width_of(const struct splitter *s, size_t from, size_t to)
{
    int width = 0;
    for (size_t at = from; at < to;) {
        size_t next = next_cluster(s, at);
        width += cluster_width(s->text + at, s->text + (next < to ? next : to));
        at = next;
    }
    return width;
}

/* Whether a quotation mark stands by itself, as the French write them, as all of the atom
 * from … to or behind it: it belongs to what it opens or closes. So does a sign of
 * percent. */
static bool stands_alone(const struct splitter *s, size_t from, size_t to, size_t at)
{
    const char *atom = s->text + from, *next = s->text + at;
    uint32_t opening = text_next(&atom), closing = text_next(&next);
    if (one_of(opening, "«‹") && atom == s->text + to)
        return true;
    if (!one_of(closing, "»›%‰"))
        return false;
    uint32_t behind = *next ? text_next(&next) : ' ';
    return text_is_space(behind) || one_of(behind, ".,;:!?…");
}

/* Whether a line may begin at `at`, between the characters `before` and `after`. */
static bool may_break(const struct splitter *s, size_t at, uint32_t before,
                      uint32_t after)
{
    if (s->lines[at] != UC_BREAK_POSSIBLE || !s->clusters[at])
        return false;
    return text_is_space(before) || before == 0x200B || before == 0x2014 ||
           is_ideographic(before) || is_ideographic(after);
}

/* "Mr." and "e.g." end no sentence: up to two letters before a full stop, or another. */
static bool is_abbreviation(const char *p, const char *stop)
{
    int letters = 0;
    bool dotted = false;
    for (; p < stop; letters++)
        dotted |= text_next(&p) == '.';
    return letters <= 2 || dotted;
}

static enum atom_end end_of(const char *p, const char *end)
{
    static const char closing[] = "\"'”’»)]}」』）】》〉";
    static const char sentence[] = ".!?…。！？؟।॥۔։።";
    static const char clause[] = ",;:–—、，；：،؛፣";
    const char *start = p, *mark = NULL;
    uint32_t last = 0;
    while (p < end) {
        const char *here = p;
        uint32_t c = text_next(&p);
        if (one_of(c, closing) || text_is_space(c))
            continue;
        last = c;
        mark = here;
    }
    if (!last)
        return ATOM_PLAIN;
    if (last == '.' && is_abbreviation(start, mark))
        return ATOM_CLAUSE;
    if (one_of(last, sentence))
        return ATOM_SENTENCE;
    return one_of(last, clause) ? ATOM_CLAUSE : ATOM_PLAIN;
}

static size_t count_characters(const char *p, const char *end)
{
    size_t n = 0;
    while (p < end)
        n += !text_is_space(text_next(&p));
    return n;
}

static int add_atom(struct splitter *s, size_t from, size_t to, bool spaced)
{
    struct atoms *a = s->out;
    const char *p = s->text + from, *end = s->text + to;
    if (mem_grow(&a->list, &a->capacity, a->count + 1, sizeof *a->list))
        return ERR_NOMEM;
    size_t first = a->characters;
    a->characters += count_characters(p, end);
    a->list[a->count++] = (struct atom){.from = from,
                                        .to = to,
                                        .width = width_of(s, from, to),
                                        .spaced = spaced,
                                        .end = end_of(p, end),
                                        .first = first,
                                        .last = a->characters};
    return 0;
}

static bool holds_dictionary_script(const char *p, const char *end)
{
    while (p < end)
        if (needs_dictionary(text_next(&p)))
            return true;
    return false;
}

/* Vowels that are written before their consonant, and signs that are written behind it:
 * a syllable is not cut there. Lao has them 128 code points after Thai. */
static bool cuts_syllable(const struct splitter *s, size_t at)
{
    const char *p = s->text + at;
    uint32_t after = text_next(&p);
    after -= after >= 0x0E80 && after < 0x0F00 ? 0x80 : 0;
    if (one_of(after, "ะาำๅๆฯ"))
        return true;
    if (at < 3)
        return false;
    p = s->text + at - 3; /* a letter of these scripts takes three bytes */
    uint32_t before = text_next(&p);
    before -= before >= 0x0E80 && before < 0x0F00 ? 0x80 : 0;
    return p == s->text + at && in(before, 0x0E40, 0x0E44);
}

/* Where the piece that begins at `from` ends: as far as a line goes, at the end of a
 * cluster, and of a syllable if there is one. */
static size_t cut(const struct splitter *s, size_t from, size_t to)
{
    size_t end = next_cluster(s, from), best = end;
    int width = width_of(s, from, end);
    while (end < to) {
        if (!cuts_syllable(s, end))
            best = end;
        size_t next = next_cluster(s, end);
        width += width_of(s, end, next);
        if (width > s->limits->width)
            return best;
        end = next;
    }
    return to;
}

/* An atom, or where it cannot stay whole, as many as it takes. */
static int add_or_cut(struct splitter *s, size_t from, size_t to, bool spaced)
{
    int most = s->limits->width;
    if (!holds_dictionary_script(s->text + from, s->text + to))
        most *= s->limits->lines;
    if (width_of(s, from, to) <= most)
        return add_atom(s, from, to, spaced);
    for (size_t at = from, end; at < to; at = end) {
        end = cut(s, at, to);
        if (add_atom(s, at, end, spaced && at == from))
            return ERR_NOMEM;
    }
    return 0;
}

static enum atom_end last_end(const struct splitter *s)
{
    return s->out->list[s->out->count - 1].end;
}

static int split_all(struct splitter *s)
{
    const char *p = s->text, *end = s->text + s->length;
    size_t from = 0, to = 0; /* of the atom so far, without the spaces behind it */
    uint32_t before = 0;
    bool spaced = false;
    while (p < end) {
        size_t at = (size_t)(p - s->text);
        uint32_t c = text_next(&p);
        if (to > from && !text_is_space(c) && may_break(s, at, before, c) &&
            !stands_alone(s, from, to, at)) {
            if (add_or_cut(s, from, to, spaced))
                return ERR_NOMEM;
            if (to == at && same_word(before, c) && last_end(s) == ATOM_PLAIN)
                s->out->list[s->out->count - 1].end = ATOM_JOINED;
            spaced = to < at;
            from = to = at;
        }
        if (!text_is_space(c)) {
            if (to == from)
                from = at;
            to = (size_t)(p - s->text);
        }
        before = c;
    }
    return to > from ? add_or_cut(s, from, to, spaced) : 0;
}

int wrap_split(const char *text, const struct wrap_limits *limits, struct atoms *a)
{
    struct splitter s = {
        .text = text, .length = strlen(text), .limits = limits, .out = a};
    a->count = 0;
    a->characters = 0;
    int status = prepare(&s);
    if (!status)
        status = split_all(&s);
    free(s.lines);
    free(s.clusters);
    return status;
}

/* ---- lines ----------------------------------------------------------------------- */

/* The line so far. */
struct line {
    int width, words;
};

/* Put an atom on the line; false when it must begin the next. */
static bool put(struct line *l, const struct atom *a, const struct wrap_limits *limits)
{
    int width = l->width + (l->words && a->spaced) + a->width;
    bool new_word = !l->words || a->spaced;
    if (l->words && (width > limits->width ||
                     (limits->words && new_word && l->words >= limits->words)))
        return false;
    l->width = width;
    l->words += new_word;
    return true;
}

size_t wrap_fit(const struct atom *a, size_t count, const struct wrap_limits *limits)
{
    struct line line = {0};
    int lines = 1;
    for (size_t i = 0; i < count; i++) {
        if (put(&line, &a[i], limits))
            continue;
        if (++lines > limits->lines)
            return i;
        line = (struct line){0};
        (void)put(&line, &a[i], limits);
    }
    return count;
}

static int lines_needed(const struct atom *a, size_t count,
                        const struct wrap_limits *limits)
{
    int lines = 0;
    struct wrap_limits one = *limits;
    one.lines = 1;
    for (size_t done = 0; done < count; lines++)
        done += wrap_fit(a + done, count - done, &one);
    return lines;
}

/* The cost of a line of atoms i … j-1: how far it is from an even share, and what it is
 * broken after. */
static double line_cost(const struct atom *a, size_t i, size_t j, size_t count,
                        double share)
{
    static const double after[] = {[ATOM_JOINED] = 0.6,
                                   [ATOM_PLAIN] = 0.15,
                                   [ATOM_CLAUSE] = 0.01,
                                   [ATOM_SENTENCE] = 0};
    int width = 0;
    for (size_t k = i; k < j; k++)
        width += a[k].width + (k > i && a[k].spaced);
    double off = ((double)width - share) / share;
    return off * off + (j < count ? after[a[j - 1].end] : 0);
}

/* best[l * (count + 1) + j]: the least cost of j atoms in l lines, and where the last
 * line of it begins. */
struct choice {
    double cost;
    size_t from;
};

#define UNREACHED 1e30

static void choose(const struct atom *a, size_t count, const struct wrap_limits *limits,
                   int lines, double share, struct choice *best)
{
    struct wrap_limits one = *limits;
    one.lines = 1;
    for (size_t k = 0; k < (size_t)(lines + 1) * (count + 1); k++)
        best[k].cost = UNREACHED;
    best[0].cost = 0;
    for (int l = 0; l < lines; l++) {
        const struct choice *here = best + (size_t)l * (count + 1);
        struct choice *next = best + (size_t)(l + 1) * (count + 1);
        for (size_t i = 0; i < count; i++) {
            if (here[i].cost >= UNREACHED)
                continue;
            size_t fits = wrap_fit(a + i, count - i, &one);
            for (size_t j = i + 1; j <= i + fits; j++) {
                double cost = here[i].cost + line_cost(a, i, j, count, share);
                if (cost < next[j].cost)
                    next[j] = (struct choice){cost, i};
            }
        }
    }
}

int wrap_lines(const struct atom *a, size_t count, const struct wrap_limits *limits,
               bool *breaks)
{
    int lines = lines_needed(a, count, limits);
    memset(breaks, 0, count * sizeof *breaks);
    if (lines < 2)
        return 0;
    double total = 0;
    for (size_t i = 0; i < count; i++)
        total += a[i].width + (i && a[i].spaced);
    struct choice *best = mem_array((size_t)(lines + 1) * (count + 1), sizeof *best);
    if (!best)
        return ERR_NOMEM;
    choose(a, count, limits, lines, total / lines, best);
    size_t j = count;
    for (int l = lines; l > 1; l--) {
        j = best[(size_t)l * (count + 1) + j].from;
        breaks[j] = true;
    }
    free(best);
    return 0;
}
