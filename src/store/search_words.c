#include "store/search_words.h"

#include "store/sqlite_conn.h"
#include "store/sqlite_words.h"

/* The tokenizer lives in an empty database in memory, of which nothing else is used. */
struct search_words {
    struct sqlite_conn conn;
    fts5_tokenizer tokenizer;
    Fts5Tokenizer *instance; /* owned */
    pthread_mutex_t lock;    /* it has a buffer of its own */
};

struct listener {
    search_words_fn fn;
    void *arg;
    int status;
};

int search_words_open(struct search_words **out, struct err *e)
{
    void *context = NULL;
    struct search_words *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&w->lock, NULL);
    int status = sqlite_conn_open(&w->conn, ":memory:", false, e);
    if (!status) {
        fts5_api *api = sqlite_words_api(w->conn.db);
        if (!api ||
            api->xFindTokenizer(api, "wt_words", &context, &w->tokenizer) != SQLITE_OK ||
            w->tokenizer.xCreate(context, NULL, 0, &w->instance) != SQLITE_OK)
            status = err_set(e, ERR_NOMEM, "the search cannot take texts apart");
    }
    if (status) {
        search_words_close(w);
        return status;
    }
    *out = w;
    return 0;
}

void search_words_close(struct search_words *w)
{
    if (!w)
        return;
    if (w->instance)
        w->tokenizer.xDelete(w->instance);
    sqlite_conn_close(&w->conn);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static int on_word(void *arg, int flags, const char *word, int length, int start, int end)
{
    struct listener *l = arg;
    (void)flags;
    (void)start;
    (void)end;
    if (length > WORDS_MAX_BYTES) {
        length = WORDS_MAX_BYTES;
        while (length > 0 && ((unsigned char)word[length] & 0xC0) == 0x80)
            length--;
    }
    if (length > 0)
        l->status = l->fn(l->arg, word, (size_t)length);
    return l->status < 0 ? SQLITE_ABORT : SQLITE_OK;
}

int search_words_split(struct search_words *w, const char *text, size_t length,
                       search_words_fn fn, void *arg, struct err *e)
{
    struct listener l = {fn, arg, 0};
    if (length > INT32_MAX)
        return err_set(e, ERR_TOO_LARGE, "the text is too long to be searched");
    pthread_mutex_lock(&w->lock);
    int rc = w->tokenizer.xTokenize(w->instance, &l, FTS5_TOKENIZE_DOCUMENT, text,
                                    (int)length, on_word);
    pthread_mutex_unlock(&w->lock);
    if (l.status < 0)
        return err_set(e, l.status, "the text cannot be made searchable");
    return rc == SQLITE_OK ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}
