/* Finding the database, and what to tell whoever cannot. */
#include "store/pg_conn.h"

#include "base/clock.h"
#include "base/mem.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* What the server allows itself (settings below) and the way there and back. */
#define LIMIT_NS INT64_C(20000000000)

/* A statement that hangs, a lock that is not given, a transaction that was forgotten: the
 * server ends each by itself, so that one that is lost holds up nobody for long. An
 * operator's choice about the syncing of commits stands, unless what is accepted could be
 * lost by it. */
static const char settings_sql[] =
    "SET statement_timeout = 15000;"
    "SET lock_timeout = 10000;"
    "SET idle_in_transaction_session_timeout = 10000;"
    "SET client_min_messages = warning;"
    "SET search_path = " PG_SCHEMA ";"
    "SELECT pg_catalog.set_config('synchronous_commit', 'on', false)"
    "  WHERE pg_catalog.current_setting('synchronous_commit') = 'off';";

/* ---- where it is ----------------------------------------------------------------- */

static const char *option_of(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *o = options; o && o->keyword; o++)
        if (!strcmp(o->keyword, keyword))
            return o->val && *o->val ? o->val : NULL;
    return NULL;
}

static char *name_place(const PQconninfoOption *options)
{
    char text[300];
    const char *host = option_of(options, "host"), *port = option_of(options, "port");
    const char *database = option_of(options, "dbname");
    if (!host)
        host = option_of(options, "hostaddr");
    (void)snprintf(text, sizeof text, "the database %.80s at %.120s%s%.20s",
                   database ? database : "of the user's name",
                   host ? host : "the local socket", port ? ":" : "", port ? port : "");
    return mem_strdup(text);
}

int pg_place_init(struct pg_place *p, const char *url, struct err *e)
{
    char *why = NULL;
    *p = (struct pg_place){0};
    PQconninfoOption *options = PQconninfoParse(url, &why);
    PQfreemem(why); /* it repeats the URL, password and all */
    if (!options)
        return err_set(e, ERR_INVALID,
                       "DATABASE_URL is no address that PostgreSQL understands: write "
                       "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and characters "
                       "such as @, /, # and %% within them as %%40, %%2F, %%23, %%25");
    const char *database = option_of(options, "dbname");
    const char *user = option_of(options, "user");
    p->url = mem_strdup(url);
    p->name = name_place(options);
    p->database = mem_strdup(database ? database : "");
    p->user = mem_strdup(user ? user : "");
    PQconninfoFree(options);
    if (p->url && p->name && p->database && p->user)
        return 0;
    pg_place_release(p);
    return err_set(e, ERR_NOMEM, "out of memory");
}

void pg_place_release(struct pg_place *p)
{
    if (!p)
        return;
    free(p->url);
    free(p->name);
    free(p->database);
    free(p->user);
    *p = (struct pg_place){0};
}

/* ---- connecting ------------------------------------------------------------------ */

static void ignore_notice(void *arg, const PGresult *r)
{
    (void)arg;
    (void)r;
}

/* The SQLSTATE in "… FATAL:  28P01: password …"; severity and words are in the server's
 * language, the code is not. "" when it was not the server that spoke. */
static void find_state(const char *message, char out[6])
{
    out[0] = '\0';
    for (const char *p = strchr(message, ':'); p; p = strchr(p + 1, ':')) {
        const char *q = p + 1 + strspn(p + 1, " ");
        size_t n = strspn(q, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (n == 5 && q[5] == ':' && strcspn(q, "0123456789") < 5) { /* not "FATAL" */
            memcpy(out, q, 5);
            out[5] = '\0';
            return;
        }
    }
}

static int why_not_connected(struct pg_conn *c, struct err *e)
{
    char state[6], why[256];
    const char *message = PQerrorMessage(c->pg);
    const char *last = strstr(message, "FATAL");
    find_state(message, state);
    pg_one_line(last ? last : message, why, sizeof why);
    if (!strncmp(state, "28", 2) || PQconnectionNeedsPassword(c->pg))
        return err_set(e, ERR_DENIED,
                       "%s refuses the user %.60s: check user and password in "
                       "DATABASE_URL, and the server's pg_hba.conf (%s)",
                       c->place->name, c->place->user,
                       why[0] ? why : "no password was given");
    if (!strcmp(state, "3D000"))
        return err_set(e, ERR_NOT_FOUND,
                       "there is no such database (%s): make it with CREATE DATABASE "
                       "\"%.80s\" OWNER \"%.60s\" ENCODING 'UTF8' TEMPLATE template0",
                       c->place->name, c->place->database, c->place->user);
    if (!strcmp(state, "53300"))
        return err_set(e, ERR_AWAY,
                       "%s has no connection left: lower DATABASE_CONNECTIONS, or raise "
                       "the server's max_connections",
                       c->place->name);
    return err_set(e, ERR_AWAY, "%s cannot be reached: %s", c->place->name, why);
}

static int shake_hands(struct pg_conn *c, int64_t until_ns, struct err *e)
{
    PostgresPollingStatusType step = PGRES_POLLING_WRITING;
    while (step != PGRES_POLLING_OK) {
        if (step == PGRES_POLLING_FAILED)
            return why_not_connected(c, e);
        if (!pg_wait(c, step == PGRES_POLLING_READING ? POLLIN : POLLOUT, until_ns))
            return err_set(e, ERR_AWAY, "%s cannot be reached: no answer in time",
                           c->place->name);
        step = PQconnectPoll(c->pg);
    }
    return 0;
}

static int judge_server(struct pg_conn *c, struct err *e)
{
    const char *encoding = PQparameterStatus(c->pg, "server_encoding");
    int version = PQserverVersion(c->pg);
    if (version < PG_OLDEST)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s is on PostgreSQL %d.%d: version %d or later is needed",
                       c->place->name, version / 10000, version / 100 % 100,
                       PG_OLDEST / 10000);
    if (!encoding || strcmp(encoding, "UTF8") != 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s is in the encoding %.40s, which cannot hold every language: "
                       "make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE "
                       "template0",
                       c->place->name, encoding ? encoding : "(unknown)");
    return 0;
}

static int set_up(struct pg_conn *c, int instance, struct err *e)
{
    char sql[80];
    (void)snprintf(sql, sizeof sql, "SET wt.instance = '%d'", instance);
    int status = pg_script(c, settings_sql, e);
    return status ? status : pg_script(c, sql, e);
}

int pg_conn_open(struct pg_conn *c, const struct pg_place *place, int instance,
                 int64_t until_ns, struct err *e)
{
    /* What stands before the URL can be set otherwise in it, what stands behind cannot.
     * A peer that vanished without a word is noticed within half a minute, and one that
     * no longer acknowledges what we send, sooner. */
    static const char *const keywords[] = {
        "keepalives_idle",  "keepalives_interval",  "keepalives_count",
        "tcp_user_timeout", "target_session_attrs", "fallback_application_name",
        "dbname",           "client_encoding",      NULL};
    const char *const values[] = {"15",       "5",          "3",
                                  "8000",     "read-write", "whisper-transcriber",
                                  place->url, "UTF8",       NULL};
    int64_t left_ns = until_ns - clock_monotonic_ns();
    *c = (struct pg_conn){.place = place,
                          .limit_ns = left_ns > 0 ? left_ns : 1,
                          .silences = c->silences,
                          .silences_then = c->silences ? atomic_load(c->silences) : 0,
                          .taken = c->taken,
                          .slot = c->slot};
    c->pg = PQconnectStartParams(keywords, values, 1);
    int status = 0;
    if (!c->pg)
        return err_set(e, ERR_NOMEM, "out of memory");
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    (void)PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
    status = PQstatus(c->pg) == CONNECTION_BAD ? why_not_connected(c, e)
                                               : shake_hands(c, until_ns, e);
    if (!status)
        status = judge_server(c, e);
    if (!status && PQsetnonblocking(c->pg, 1))
        status = pg_lose(c, e, PQerrorMessage(c->pg));
    if (!status)
        status = set_up(c, instance, e);
    c->limit_ns = LIMIT_NS;
    if (status)
        pg_conn_close(c);
    return status;
}
