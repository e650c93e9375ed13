#include "engine/words.h"

#include "base/buf.h"
#include "base/mem.h"
#include "engine/utf8.h"

/* ---- characters -------------------------------------------------------------------- */

struct range {
    uint32_t first, last;
};

static bool in_ranges(uint32_t c, const struct range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

/* Punctuation that nobody speaks; signs that are read aloud (%, $, &, @, +, =) are none.
 */
static const struct range punctuation[] = {
    {'!', '"'},       {'\'', '*'},      {',', '.'},       {':', ';'},
    {'?', '?'},       {'[', '['},       {']', ']'},       {'_', '`'},
    {'{', '{'},       {'}', '}'},       {0xA1, 0xA1},     {0xAB, 0xAB},
    {0xB7, 0xB7},     {0xBB, 0xBB},     {0xBF, 0xBF},     {0x387, 0x387},
    {0x55A, 0x55F},   {0x589, 0x58A},   {0x5BE, 0x5BE},   {0x5C0, 0x5C0},
    {0x5C3, 0x5C3},   {0x5F3, 0x5F4},   {0x60C, 0x60D},   {0x61B, 0x61B},
    {0x61E, 0x61F},   {0x66A, 0x66D},   {0x6D4, 0x6D4},   {0x964, 0x965},
    {0xE4F, 0xE4F},   {0xE5A, 0xE5B},   {0x104A, 0x104F}, {0x1361, 0x1368},
    {0x17D4, 0x17DA}, {0x2010, 0x2027}, {0x2030, 0x205E}, {0x2669, 0x266F},
    {0x3001, 0x3003}, {0x3008, 0x3011}, {0x3014, 0x301F}, {0x30FB, 0x30FB},
    {0xFE10, 0xFE19}, {0xFE30, 0xFE63}, {0xFF01, 0xFF02}, {0xFF07, 0xFF0A},
    {0xFF0C, 0xFF0E}, {0xFF1A, 0xFF1B}, {0xFF1F, 0xFF1F}, {0xFF3B, 0xFF3B},
    {0xFF3D, 0xFF3D}, {0xFF5B, 0xFF5B}, {0xFF5D, 0xFF65}, {0xFFFD, 0xFFFD},
};

/* What changes the character before it: marks of Thai, Lao, Burmese and kana, variation
 * selectors, joiners and the tones of skin. */
static const struct range extending[] = {
    {0x300, 0x36F},     {0xE31, 0xE31},   {0xE33, 0xE3A},   {0xE47, 0xE4E},
    {0xEB1, 0xEB1},     {0xEB3, 0xEBC},   {0xEC8, 0xECE},   {0x102B, 0x103E},
    {0x1056, 0x1059},   {0x105E, 0x1060}, {0x1062, 0x1064}, {0x1067, 0x106D},
    {0x1071, 0x1074},   {0x1082, 0x108D}, {0x200D, 0x200D}, {0x20D0, 0x20F0},
    {0x3099, 0x309A},   {0x30FC, 0x30FC}, {0xFE00, 0xFE0F}, {0xFF9E, 0xFF9F},
    {0x1F3FB, 0x1F3FF},
};

static const char opening[] = "（「『【《〈〔［｛‘«‹";
static const char closing[] = "）」』】》〉〕］｝’»›";

static bool has_char(const char *list, uint32_t c)
{
    size_t length = strlen(list);
    for (size_t at = 0; at < length;)
        if (utf8_next(list, length, &at) == c)
            return true;
    return false;
}

static bool is_silent(uint32_t c)
{
    return in_ranges(c, punctuation, ARRAY_LENGTH(punctuation));
}

/* "(" stands for the opening brackets of all scripts. */
static bool may_prepend(const char *list, uint32_t c)
{
    return has_char(list, c) || (has_char(list, '(') && has_char(opening, c));
}

/* ")" stands for the closing brackets of all scripts, and "." for their other marks. */
static bool may_append(const char *list, uint32_t c)
{
    if (has_char(list, c))
        return true;
    if (c < 0x80 || !is_silent(c) || has_char(opening, c))
        return false;
    return has_char(list, has_char(closing, c) ? ')' : '.');
}

/* ---- units: the least that may be a word --------------------------------------------
 */

/* Tokens that no character is cut by, with what the rules ask of their text. */
struct unit {
    size_t from, to;        /* tokens */
    bool space;             /* begins with one */
    bool empty;             /* nothing but spaces */
    bool silent;            /* nothing but punctuation, and not empty */
    bool prepends, appends; /* all of it is in the caller's list */
};

struct splitter {
    const struct word_piece *pieces;
    size_t count;
    bool spaced;
    const char *prepend, *append;
    struct buf text;    /* of the unit at hand */
    struct unit *units; /* owned [n_units] */
    size_t n_units, capacity;
};

static void judge(const struct splitter *s, struct unit *u)
{
    const char *text = buf_cstr(&s->text);
    size_t length = s->text.length;
    u->space = length > 0 && text[0] == ' ';
    u->empty = u->silent = u->prepends = u->appends = true;
    for (size_t at = 0; at < length;) {
        uint32_t c = utf8_next(text, length, &at);
        if (c == ' ')
            continue;
        u->empty = false;
        u->silent = u->silent && is_silent(c);
        u->prepends = u->prepends && may_prepend(s->prepend, c);
        u->appends = u->appends && may_append(s->append, c);
    }
    if (u->empty)
        u->silent = u->appends = false;
}

/* A mark is not parted from its letter, nor what a joiner joins. */
static bool belongs_to_the_last(const struct splitter *s)
{
    if (s->n_units == 0 || s->spaced || s->text.length == 0)
        return false;
    size_t at = 0;
    uint32_t c = utf8_next(s->text.data, s->text.length, &at);
    return in_ranges(c, extending, ARRAY_LENGTH(extending));
}

static int add_unit(struct splitter *s, size_t from, size_t to)
{
    if (belongs_to_the_last(s)) {
        s->units[s->n_units - 1].to = to;
        return 0;
    }
    if (mem_grow(&s->units, &s->capacity, s->n_units + 1, sizeof *s->units))
        return ERR_NOMEM;
    struct unit *u = &s->units[s->n_units++];
    u->from = from;
    u->to = to;
    judge(s, u);
    return 0;
}

static int find_units(struct splitter *s)
{
    size_t from = 0;
    for (size_t i = 0; i < s->count; i++) {
        buf_add(&s->text, s->pieces[i].bytes, s->pieces[i].length);
        if (buf_failed(&s->text))
            return ERR_NOMEM;
        if (i + 1 < s->count && utf8_unfinished(s->text.data, s->text.length))
            continue;
        if (add_unit(s, from, i + 1))
            return ERR_NOMEM;
        buf_reset(&s->text);
        from = i + 1;
    }
    return 0;
}

/* ---- words ---------------------------------------------------------------------------
 */

/* Punctuation between the last letter and the next space, or the end. */
static bool at_the_end(const struct splitter *s, size_t i)
{
    while (i < s->n_units && s->units[i].silent && !s->units[i].space)
        i++;
    return i == s->n_units || s->units[i].space;
}

static bool begins_word(const struct splitter *s, size_t i)
{
    const struct unit *u = &s->units[i];
    if (i == 0 || !s->spaced || u->space)
        return true;
    return u->silent && at_the_end(s, i);
}

/* Units [first, last) as a word. */
static struct word_span span_of(const struct splitter *s, size_t first, size_t last)
{
    struct word_span w = {.from = s->units[first].from, .to = s->units[last - 1].to};
    while (first < last && (s->units[first].silent || s->units[first].empty))
        first++;
    while (first < last && (s->units[last - 1].silent || s->units[last - 1].empty))
        last--;
    w.core_from = first < last ? s->units[first].from : w.from;
    w.core_to = first < last ? s->units[last - 1].to : w.from;
    return w;
}

/* Does a word that is nothing but unit i go to its neighbour? What may go either way
 * goes to the word before it, unless a space is in between. */
static bool goes_back(const struct splitter *s, size_t i)
{
    const struct unit *u = &s->units[i];
    if (u->empty)
        return i + 1 == s->n_units;
    return u->appends && !u->space && !s->units[i - 1].empty;
}

static bool goes_on(const struct splitter *s, size_t i)
{
    const struct unit *u = &s->units[i];
    return i + 1 < s->n_units && u->prepends && (u->space || !s->spaced || i == 0);
}

static int add_span(struct words *w, struct word_span span, size_t first)
{
    if (mem_grow(&w->spans, &w->capacity, w->n_spans + 1, sizeof *w->spans))
        return ERR_NOMEM;
    w->spans[w->n_spans++] = (struct word_span){span.from + first, span.core_from + first,
                                                span.core_to + first, span.to + first};
    return 0;
}

static int join_units(const struct splitter *s, struct words *w, size_t first)
{
    size_t begin = 0; /* of the word at hand */
    bool open = true; /* all of it so far goes to what follows */
    for (size_t i = 0; i < s->n_units; i++) {
        bool apart = i > begin && begins_word(s, i) && !open && !goes_back(s, i);
        if (apart) {
            if (add_span(w, span_of(s, begin, i), first))
                return ERR_NOMEM;
            begin = i;
        }
        if (i == begin)
            open = true;
        open = open && goes_on(s, i);
    }
    return s->n_units ? add_span(w, span_of(s, begin, s->n_units), first) : 0;
}

static bool writes_spaces(int language)
{
    static const char *const unspaced[] = {"zh", "ja", "th", "lo", "my", "yue"};
    const char *code = whisper_language_code(language);
    for (size_t i = 0; code && i < ARRAY_LENGTH(unspaced); i++)
        if (strcmp(code, unspaced[i]) == 0)
            return false;
    return true;
}

int words_split(struct words *w, const struct word_piece *pieces, size_t count,
                size_t first, int language, const char *prepend, const char *append,
                struct err *e)
{
    struct splitter s = {
        .pieces = pieces,
        .count = count,
        .spaced = writes_spaces(language),
        .prepend = prepend ? prepend : WORDS_PREPEND,
        .append = append ? append : WORDS_APPEND,
    };
    buf_init(&s.text, SIZE_MAX / 4);
    int status = find_units(&s);
    if (!status)
        status = join_units(&s, w, first);
    free(s.units);
    buf_release(&s.text);
    return status ? err_set(e, status, "no memory is left to split text into words") : 0;
}

void words_release(struct words *w)
{
    free(w->spans);
    *w = (struct words){0};
}
