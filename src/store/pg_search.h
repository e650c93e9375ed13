/* The words of jobs in PostgreSQL's full text search, and questions for them. */
#ifndef STORE_PG_SEARCH_H
#define STORE_PG_SEARCH_H

#include "store/pg_pool.h"

/* At most 64 words and phrases (see search.c), and a row for every 32 words of a phrase
 * that is longer than a row. */
#define PG_SEARCH_PARTS 128

/* Put a job's name, or its transcript in place of one that was there before, among what
 * is searched. Within a transaction. */
int pg_index_name(struct pg_store *s, struct pg_conn *c, const char *id, const char *name,
                  struct err *e);
int pg_index_body(struct pg_store *s, struct pg_conn *c, const char *id, const char *body,
                  struct err *e);

/* What a person types, as one question for each word or phrase; a job must fit all of
 * them. None: nothing fits. */
struct pg_search {
    char *parts[PG_SEARCH_PARTS]; /* owned [count] */
    size_t count;
};
int pg_search_init(struct pg_search *q, struct pg_store *s, const char *text,
                   struct err *e);
void pg_search_release(struct pg_search *q);

#endif
