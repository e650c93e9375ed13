/* The tokenizer of the search index: what counts as a word. */
#ifndef STORE_SQLITE_WORDS_H
#define STORE_SQLITE_WORDS_H

#include "store/sqlite_conn.h"

/* Make it known to the connection as "wt_words". ERR_UNSUPPORTED when this SQLite was
 * built without full text search. */
int sqlite_words_add(struct sqlite_conn *c, struct err *e);

/* SQLite's interface for tokenizers; NULL where it was built without FTS5. */
fts5_api *sqlite_words_api(sqlite3 *db);

#endif
