/* PostgreSQL's own parser knows words of languages with spaces. Ours come from the same
 * tokenizer as SQLite's (search_words.h) and are handed over as vectors of words with
 * their places, so that both databases find the same. */
#include "store/pg_search.h"

#include "base/mem.h"
#include "store/search.h"
#include "store/search_words.h"

/* A vector has at most 16383 places, 255 of one word and 1 MB. */
#define MOST_WORDS  8000
#define MOST_SAME   240
#define MOST_BYTES  300000
#define PHRASE      64 /* words in a row; one less of them begins the next part, too */
#define SAME_COUNTS 4096

/* ---- the index ------------------------------------------------------------------- */

struct vector {
    struct pg_conn *conn; /* borrowed */
    const char *id;       /* borrowed */
    int part;
    struct buf text;                 /* 'word':place 'word':place … */
    size_t words, fresh;             /* in it; of them not in the part before */
    unsigned char same[SAME_COUNTS]; /* how often each hash came: at least as often as
                                        the word */
    char last[PHRASE][WORDS_MAX_BYTES + 1]; /* a ring */
    size_t seen;                            /* words in all */
    struct err *e;                          /* borrowed */
};

static unsigned hash(const char *word, size_t length)
{
    unsigned h = 2166136261u;
    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)word[i]) * 16777619u;
    return h % SAME_COUNTS;
}

static int put_word(struct vector *v, const char *word, size_t length)
{
    buf_char(&v->text, '\'');
    buf_add(&v->text, word, length); /* letters, digits, marks: nothing to escape */
    buf_printf(&v->text, "':%zu ", ++v->words);
    v->same[hash(word, length)]++;
    return buf_failed(&v->text) ? ERR_NOMEM : 0;
}

static int write_part(struct vector *v)
{
    if (!v->fresh)
        return 0;
    int n = pg_run(v->conn, v->e,
                   "INSERT INTO job_words (job_id, part, words) "
                   "VALUES ($1, $2, $3::tsvector)",
                   "tit", v->id, v->part, buf_cstr(&v->text));
    v->part++;
    v->words = v->fresh = 0;
    buf_reset(&v->text);
    memset(v->same, 0, sizeof v->same);
    return n < 0 ? n : 0;
}

/* A phrase that lies across the border of two parts is whole in the second one. */
static int repeat_end(struct vector *v)
{
    int status = 0;
    size_t n = v->seen < PHRASE - 1 ? v->seen : PHRASE - 1;
    for (size_t i = v->seen - n; !status && i < v->seen; i++)
        status = put_word(v, v->last[i % PHRASE], strlen(v->last[i % PHRASE]));
    return status;
}

static int on_word(void *arg, const char *word, size_t length)
{
    struct vector *v = arg;
    int status = 0;
    if (v->words >= MOST_WORDS || v->text.length >= MOST_BYTES ||
        v->same[hash(word, length)] >= MOST_SAME) {
        status = write_part(v);
        if (!status)
            status = repeat_end(v);
    }
    if (!status)
        status = put_word(v, word, length);
    v->fresh++;
    char *last = v->last[v->seen++ % PHRASE];
    memcpy(last, word, length);
    last[length] = '\0';
    return status;
}

static int add_text(struct pg_store *s, struct pg_conn *c, const char *id, int part,
                    const char *text, struct err *e)
{
    struct err why = {0}; /* of a statement: better than what the tokenizer says of it */
    struct vector *v = calloc(1, sizeof *v);
    if (!v)
        return err_set(e, ERR_NOMEM, "out of memory");
    v->conn = c;
    v->id = id;
    v->part = part;
    v->e = &why;
    buf_init(&v->text, 2 * MOST_BYTES);
    int status = search_words_split(s->words, text, strlen(text), on_word, v, e);
    if (!status)
        status = write_part(v);
    if (status && why.code)
        status = err_set(e, why.code, "%s", why.message);
    buf_release(&v->text);
    free(v);
    return status;
}

int pg_index_name(struct pg_store *s, struct pg_conn *c, const char *id, const char *name,
                  struct err *e)
{
    return add_text(s, c, id, 0, name, e);
}

int pg_index_body(struct pg_store *s, struct pg_conn *c, const char *id, const char *body,
                  struct err *e)
{
    int n =
        pg_run(c, e, "DELETE FROM job_words WHERE job_id = $1 AND part >= 1000", "t", id);
    /* A name may be as long as it likes; its parts are never so many. */
    return n < 0 ? n : add_text(s, c, id, 1000, body, e);
}

/* ---- questions ------------------------------------------------------------------- */

struct phrase {
    struct pg_search *q;                     /* borrowed */
    char words[PHRASE][WORDS_MAX_BYTES + 1]; /* a ring of the last ones */
    size_t count;
};

/* The last words in a row, as many as the border of two parts repeats. */
static int add_row(struct phrase *p, bool begins)
{
    struct buf b;
    size_t n = p->count < PHRASE ? p->count : PHRASE;
    if (p->q->count == PG_SEARCH_PARTS)
        return ERR_TOO_LARGE;
    buf_init(&b, 1u << 20);
    for (size_t i = p->count - n; i < p->count; i++)
        buf_printf(&b, "%s'%s'", b.length ? " <-> " : "", p->words[i % PHRASE]);
    if (begins)
        buf_str(&b, ":*");
    char *row = buf_take(&b);
    buf_release(&b);
    if (!row)
        return ERR_NOMEM;
    p->q->parts[p->q->count++] = row;
    return 0;
}

/* A phrase that is longer than a row becomes rows that lap over: a text that has all of
 * them has the phrase, or is very odd. */
static int on_phrase_word(void *arg, const char *word, size_t length)
{
    struct phrase *p = arg;
    int status = 0;
    if (p->count >= PHRASE && p->count % (PHRASE / 2) == 0)
        status = add_row(p, false);
    char *at = p->words[p->count++ % PHRASE];
    memcpy(at, word, length);
    at[length] = '\0';
    return status;
}

static int add_phrase(struct pg_search *q, struct pg_store *s,
                      const struct search_part *part, struct err *e)
{
    struct phrase *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "out of memory");
    p->q = q;
    int status =
        search_words_split(s->words, part->text, part->length, on_phrase_word, p, e);
    if (!status && p->count && (status = add_row(p, part->begins)))
        err_set(e, status, "the text cannot be searched for");
    free(p);
    return status;
}

int pg_search_init(struct pg_search *q, struct pg_store *s, const char *text,
                   struct err *e)
{
    struct search_part part;
    *q = (struct pg_search){0};
    int status = search_check(text, e);
    while (!status && search_next(&text, &part))
        status = add_phrase(q, s, &part, e);
    if (status)
        pg_search_release(q);
    return status;
}

void pg_search_release(struct pg_search *q)
{
    for (size_t i = 0; i < q->count; i++)
        free(q->parts[i]);
    *q = (struct pg_search){0};
}
