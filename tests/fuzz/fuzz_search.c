/* What people search for: an input is the text, and a line of it the transcript.
 *
 * Whatever is typed becomes an expression that the index understands, and a text finds
 * the words that it was taken from. */
#include "fuzz.h"

#include "http/params.h"
#include "store/search.h"
#include "store/sqlite_words.h"

static struct sqlite_conn conn;

static void prepare(void)
{
    struct err e;
    if (conn.db)
        return;
    HOLDS(sqlite3_open(":memory:", &conn.db) == SQLITE_OK);
    HOLDS(!sqlite_words_add(&conn, &e));
    HOLDS(sqlite3_exec(conn.db,
                       "CREATE VIRTUAL TABLE t USING fts5(text, tokenize = 'wt_words')",
                       NULL, NULL, NULL) == SQLITE_OK);
}

static int run(const char *sql, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    HOLDS(sqlite3_prepare_v2(conn.db, sql, -1, &stmt, NULL) == SQLITE_OK);
    sqlite3_bind_text(stmt, 1, text, -1, SQLITE_STATIC);
    int rows = 0, rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        rows++;
    if (rc != SQLITE_DONE)
        (void)fprintf(stderr, "%s: %s\n", text, sqlite3_errmsg(conn.db));
    HOLDS(rc == SQLITE_DONE);
    sqlite3_finalize(stmt);
    return rows;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    char *text = fuzz_text(data, size), *rest = text, *expression = NULL;
    const char *wanted = fuzz_line(&rest);
    prepare();
    /* A query that is not UTF-8 is refused before. */
    if (http_utf8_valid(wanted, strlen(wanted)) && http_utf8_valid(rest, strlen(rest))) {
        int status = search_expression(wanted, &expression, &e);
        HOLDS(!status == !!expression && (!status || e.message[0]));
        (void)run("INSERT INTO t (text) VALUES (?1)", rest);
        if (expression)
            (void)run("SELECT rowid FROM t WHERE t MATCH ?1", expression);
        (void)run("DELETE FROM t", NULL);
    }
    free(expression);
    free(text);
    return 0;
}
