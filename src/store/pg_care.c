/* Care for a database of PostgreSQL: see care.h. Its pages are its server's; what can be
 * asked from here is whether the indexes agree with the tables (amcheck), where that is
 * installed and allowed. */
#include "store/care.h"

#include "store/pg_jobs.h"

#define LIMIT_NS INT64_C(3600000000000)

static int ask(struct store *s, const char *sql, int64_t *out, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e, sql, "");
        if (!status)
            *out = pg_int(r, 0, 0);
        PQclear(r);
    }
    return status;
}

static int check_references(struct store *s, store_finding_fn fn, void *arg,
                            struct err *e)
{
    char sentence[120];
    int64_t count = 0;
    int status = ask(
        s,
        "SELECT (SELECT count(*) FROM transcripts WHERE job_id NOT IN (SELECT id FROM "
        "jobs)) + (SELECT count(*) FROM job_windows WHERE job_id NOT IN (SELECT id "
        "FROM jobs)) + (SELECT count(*) FROM job_words WHERE job_id NOT IN (SELECT id "
        "FROM jobs))",
        &count, e);
    if (!status && count) {
        (void)snprintf(sentence, sizeof sentence,
                       "%lld row(s) name a job that is not there", (long long)count);
        fn(arg, sentence);
    }
    return status;
}

/* Each index on its own, so that one that is damaged does not hide the others. */
static int check_index(struct pg_conn *c, const char *name, store_finding_fn fn,
                       void *arg, struct err *e)
{
    char sentence[600];
    PGresult *r;
    struct err why;
    int status =
        pg_ask(c, &r, &why, "SELECT bt_index_check($1::text::regclass)", "t", name);
    PQclear(r);
    if (!status)
        return 0;
    if (c->lost)
        return err_set(e, status, "%s", why.message);
    if (status == ERR_DENIED)
        return ERR_DENIED;
    (void)snprintf(sentence, sizeof sentence, "the index %.80s: %.400s", name,
                   why.message);
    fn(arg, sentence);
    return 0;
}

static int check_indexes(struct pg_conn *c, store_finding_fn fn, void *arg, struct err *e)
{
    PGresult *r;
    int status =
        pg_ask(c, &r, e,
               "SELECT format('%I.%I', n.nspname, i.relname) FROM pg_class i "
               "JOIN pg_namespace n ON n.oid = i.relnamespace JOIN pg_am a ON "
               "a.oid = i.relam WHERE i.relkind = 'i' AND a.amname = 'btree' AND "
               "n.nspname = '" PG_SCHEMA "' ORDER BY 1",
               "");
    for (int i = 0; !status && i < PQntuples(r); i++)
        status = check_index(c, pg_text(r, i, 0), fn, arg, e);
    PQclear(r);
    return status == ERR_DENIED ? 0 : status; /* only a superuser may, by default */
}

static int check(struct store *s, bool quick, store_finding_fn fn, void *arg,
                 struct err *e)
{
    int64_t amcheck = 0;
    int status = check_references(s, fn, arg, e);
    if (!status)
        status = ask(s, "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'",
                     &amcheck, e);
    if (status || quick || !amcheck)
        return status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        status = pg_script(t.conn,
                           "SELECT set_config('search_path', '" PG_SCHEMA ", ' || "
                           "(SELECT nspname FROM pg_namespace n JOIN pg_extension x ON "
                           "x.extnamespace = n.oid WHERE x.extname = 'amcheck'), false)",
                           e);
        if (!status)
            status = check_indexes(t.conn, fn, arg, e);
    }
    return status;
}

static int vacuum_all(struct pg_conn *c, struct err *e)
{
    PGresult *r;
    char sql[200];
    int64_t limit_ns = c->limit_ns;
    c->limit_ns = LIMIT_NS;
    int status = pg_script(c, "SET statement_timeout = 0", e);
    if (!status)
        status = pg_ask(c, &r, e,
                        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
                        "WHERE schemaname = '" PG_SCHEMA "'",
                        "");
    else
        r = NULL;
    for (int i = 0; !status && i < PQntuples(r); i++) {
        (void)snprintf(sql, sizeof sql, "VACUUM (ANALYZE) %.150s", pg_text(r, i, 0));
        status = pg_script(c, sql, e);
    }
    PQclear(r);
    c->limit_ns = limit_ns;
    return status;
}

static int vacuum(struct store *s, struct store_vacuumed *out, struct err *e)
{
    static const char size[] =
        "SELECT COALESCE(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '" PG_SCHEMA
        "' AND c.relkind = 'r'";
    *out = (struct store_vacuumed){.whole = true};
    int status = ask(s, size, &out->before_bytes, e);
    if (status)
        return status;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e))
        status = vacuum_all(t.conn, e);
    return status ? status : ask(s, size, &out->after_bytes, e);
}

const struct store_care_ops pg_care_ops = {.check = check, .vacuum = vacuum};
