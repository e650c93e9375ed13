/* Words are those of SQLite's unicode61: case and accents do not count. Where a script
 * has no spaces between words, its runs would be one word each, and nothing within them
 * would be found; there every character is a word of its own, and what is searched for
 * becomes a phrase of characters. SQLite's trigrams would do for three characters and
 * more, but most Chinese words have two; and this way one index is enough. */
#include "store/sqlite_words.h"

#include "base/mem.h"

#include <stdint.h>

/* A Fts5Tokenizer, as SQLite sees it. */
struct words {
    fts5_tokenizer unicode;
    Fts5Tokenizer *inner; /* owned */
};

/* What hands on the tokens of one text. */
struct relay {
    void *context;
    int (*token)(void *context, int flags, const char *token, int length, int start,
                 int end);
};

static const struct range {
    uint32_t first, last;
} without_spaces[] = {
    {0x0E00, 0x0EFF},   /* Thai, Lao */
    {0x1000, 0x109F},   /* Myanmar */
    {0x1780, 0x17FF},   /* Khmer */
    {0x3040, 0x312F},   /* Hiragana, Katakana, Bopomofo */
    {0x31A0, 0x31BF},   /* Bopomofo */
    {0x31F0, 0x31FF},   /* Katakana */
    {0x3400, 0x4DBF},   /* Han */
    {0x4E00, 0x9FFF},   /* Han */
    {0xA9E0, 0xA9FF},   /* Myanmar */
    {0xAA60, 0xAA7F},   /* Myanmar */
    {0xF900, 0xFAFF},   /* Han */
    {0xFF66, 0xFF9F},   /* Katakana */
    {0x20000, 0x3FFFF}, /* Han */
};

static bool stands_alone(uint32_t c)
{
    for (size_t i = 0; i < ARRAY_LENGTH(without_spaces); i++)
        if (c >= without_spaces[i].first && c <= without_spaces[i].last)
            return true;
    return false;
}

/* The character at `s` and its length; a token is UTF-8, but is not trusted to be. */
static uint32_t character(const unsigned char *s, int left, int *length)
{
    int n = s[0] < 0xC0 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7Fu >> n);
    if (n > left)
        n = left;
    for (int i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3Fu);
    *length = n;
    return c;
}

static int on_token(void *arg, int flags, const char *token, int length, int start,
                    int end)
{
    const struct relay *r = arg;
    int from = 0, at = 0, n, rc = SQLITE_OK;
    while (rc == SQLITE_OK && at < length) {
        uint32_t c = character((const unsigned char *)token + at, length - at, &n);
        if (stands_alone(c)) {
            if (at > from)
                rc = r->token(r->context, flags, token + from, at - from, start, end);
            if (rc == SQLITE_OK)
                rc = r->token(r->context, flags, token + at, n, start, end);
            from = at + n;
        }
        at += n;
    }
    if (rc == SQLITE_OK && length > from)
        rc = r->token(r->context, flags, token + from, length - from, start, end);
    return rc;
}

static int tokenize(Fts5Tokenizer *self, void *context, int flags, const char *text,
                    int length,
                    int (*token)(void *context, int flags, const char *token, int length,
                                 int start, int end))
{
    struct words *w = (struct words *)self;
    struct relay relay = {context, token};
    return w->unicode.xTokenize(w->inner, &relay, flags, text, length, on_token);
}

static void words_free(Fts5Tokenizer *self)
{
    struct words *w = (struct words *)self;
    if (w && w->inner)
        w->unicode.xDelete(w->inner);
    free(w);
}

/* Marks belong to their letters: vowels of the scripts of India are marks. */
static int words_new(void *context, const char **args, int n_args, Fts5Tokenizer **out)
{
    static const char *options[] = {"remove_diacritics", "2", "categories",
                                    "L* N* Co Mn Mc"};
    fts5_api *api = context;
    void *inner_context = NULL;
    (void)args;
    (void)n_args;
    struct words *w = calloc(1, sizeof *w);
    if (!w)
        return SQLITE_NOMEM;
    int rc = api->xFindTokenizer(api, "unicode61", &inner_context, &w->unicode);
    if (rc == SQLITE_OK)
        rc = w->unicode.xCreate(inner_context, options, (int)ARRAY_LENGTH(options),
                                &w->inner);
    if (rc != SQLITE_OK) {
        words_free((Fts5Tokenizer *)w);
        w = NULL;
    }
    *out = (Fts5Tokenizer *)w;
    return rc;
}

/* SQLite gives its interface for this through a pointer bound to a statement. */
fts5_api *sqlite_words_api(sqlite3 *db)
{
    fts5_api *api = NULL;
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, "SELECT fts5(?1)", -1, &stmt, NULL) == SQLITE_OK) {
        sqlite3_bind_pointer(stmt, 1, &api, "fts5_api_ptr", NULL);
        (void)sqlite3_step(stmt);
    }
    sqlite3_finalize(stmt);
    return api;
}

int sqlite_words_add(struct sqlite_conn *c, struct err *e)
{
    fts5_tokenizer words = {words_new, words_free, tokenize};
    fts5_api *api = sqlite_words_api(c->db);
    if (!api)
        return err_set(e, ERR_UNSUPPORTED,
                       "this SQLite (%s) was built without full text search (FTS5): "
                       "install one that has it",
                       sqlite3_libversion());
    if (api->xCreateTokenizer(api, "wt_words", api, &words, NULL) != SQLITE_OK)
        return sqlite_conn_error(c, e);
    return 0;
}
