/* A PostgreSQL server of the tests' own: made in a temporary folder when it is first
 * asked for, on a port of its own, ended with the program. */
#ifndef STORE_POSTGRES_H
#define STORE_POSTGRES_H

#include <stdbool.h>
#include <stddef.h>

/* Ends the program as skipped, with a line, where PostgreSQL is not installed. */
void postgres_need(void);
/* Run SQL in a database ("postgres" is always there); fails the test otherwise. */
void postgres_run(const char *database, const char *sql);
/* The number that SQL gives; -1: none. */
long postgres_ask(const char *database, const char *sql);
/* A session that lasts, as somebody with psql has it. */
struct postgres_session;
struct postgres_session *postgres_session(const char *database);
void postgres_session_run(struct postgres_session *s, const char *sql);
void postgres_session_close(struct postgres_session *s);
int postgres_port(void);
/* "postgresql://wt:…@127.0.0.1:PORT/DATABASE" */
void postgres_url(const char *database, char *out, size_t size);
/* The password of the user wt, who owns what postgres_make makes. */
#define POSTGRES_PASSWORD "s3cr3t-pw"
void postgres_make(const char *database);
void postgres_drop(const char *database);
/* End it as with SIGQUIT, without a word to clients, or start it again. */
void postgres_stop(void);
void postgres_start(void);

#endif
