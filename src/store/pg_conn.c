#include "store/pg_conn.h"

#include "base/clock.h"
#include "base/mem.h"

#include <endian.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#define MAX_PARAMETERS 160
/* What the server allows itself (settings below) and the way there and back. */
#define LIMIT_NS   INT64_C(20000000000)
#define OID_BOOL   16
#define OID_BYTEA  17
#define OID_INT8   20
#define OID_INT4   23
#define OID_TEXT   25
#define OID_FLOAT8 701

/* ---- errors ---------------------------------------------------------------------- */

void pg_one_line(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; text && *text && *text != '\n' && n + 1 < size && n < 200; text++)
        out[n++] = *text;
    while (n > 0 && ((unsigned char)out[n - 1] & 0x80))
        n--; /* perhaps half a character */
    out[n] = '\0';
}

int pg_lose(struct pg_conn *c, struct err *e, const char *why)
{
    char text[256];
    pg_one_line(why, text, sizeof text);
    c->lost = true;
    return err_set(e, ERR_AWAY, "the connection to %s broke off: %s", c->place->name,
                   text[0] ? text : "no answer");
}

static bool in_class(const char *state, const char *class)
{
    return !strncmp(state, class, strlen(class));
}

/* What the server says of itself: it stops, starts, is a copy that takes no writes, has
 * no connection left, or does not know what was prepared here. All of them pass, on
 * another connection. */
static bool is_passing(const char *state)
{
    static const char *const states[] = {"08",    "57P01", "57P02", "57P03", "57P05",
                                         "25006", "53300", "26000", "0A000", "25P03"};
    for (size_t i = 0; i < ARRAY_LENGTH(states); i++)
        if (in_class(state, states[i]))
            return true;
    return false;
}

static int code_of(const char *state)
{
    static const struct {
        const char *class;
        int code;
    } codes[] = {
        {"23", ERR_EXISTS},     {"53100", ERR_FULL},    {"53200", ERR_NOMEM},
        {"57014", ERR_TIMEOUT}, {"55P03", ERR_TIMEOUT}, {"42501", ERR_DENIED},
        {"28", ERR_DENIED},     {"22021", ERR_INVALID}, {"22P05", ERR_INVALID},
        {"XX001", ERR_CORRUPT}, {"XX002", ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(codes); i++)
        if (in_class(state, codes[i].class))
            return codes[i].code;
    return ERR_IO;
}

static int result_error(struct pg_conn *c, const PGresult *r, struct err *e)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    char why[256];
    if (PQstatus(c->pg) == CONNECTION_BAD || !state || is_passing(state))
        return pg_lose(c, e, primary ? primary : PQerrorMessage(c->pg));
    pg_one_line(primary, why, sizeof why);
    c->again = !strcmp(state, "40001") || !strcmp(state, "40P01");
    int code = c->again ? ERR_TIMEOUT : code_of(state);
    if (code == ERR_FULL)
        return err_set(e, code, "the disk of %s is full: free some space there",
                       c->place->name);
    if (code == ERR_DENIED)
        return err_set(e, code,
                       "%s refuses the user %.60s (%s): make it the owner of the "
                       "database, or GRANT CREATE ON DATABASE to it",
                       c->place->name, c->place->user, why);
    if (code == ERR_CORRUPT)
        return err_set(e, code, "%s is damaged (%s): restore it from a backup",
                       c->place->name, why);
    if (!strcmp(state, "42P05")) /* somebody else prepared it on our connection */
        return err_set(e, ERR_UNSUPPORTED,
                       "%s gives several processes the same connection: set the pooler "
                       "in front of it to pool_mode=session",
                       c->place->name);
    return err_set(e, code, "%s refused: %s (%s)", c->place->name, why, state);
}

/* ---- waiting --------------------------------------------------------------------- */

/* Silence is noticed elsewhere, and does not ring. */
#define LOOK_MS 200

bool pg_wait(const struct pg_conn *c, short events, int64_t until_ns)
{
    for (;;) {
        int64_t left_ms = (until_ns - clock_monotonic_ns()) / 1000000;
        struct pollfd p = {.fd = PQsocket(c->pg), .events = events};
        int n = left_ms > 0 ? poll(&p, 1, left_ms > LOOK_MS ? LOOK_MS : (int)left_ms) : 0;
        if (n > 0)
            return true;
        if (left_ms <= 0 || p.fd < 0 ||
            (c->silences && atomic_load(c->silences) != c->silences_then))
            return false;
    }
}

/* Send what is queued, and read until an answer is whole. */
static int until_answered(struct pg_conn *c, int64_t until_ns, struct err *e)
{
    int unsent;
    while ((unsent = PQflush(c->pg)) > 0) {
        if (!pg_wait(c, POLLIN | POLLOUT, until_ns))
            return pg_lose(c, e, "no answer in time");
        if (!PQconsumeInput(c->pg))
            return pg_lose(c, e, PQerrorMessage(c->pg));
    }
    while (unsent == 0 && PQisBusy(c->pg)) {
        if (!pg_wait(c, POLLIN, until_ns))
            return pg_lose(c, e, "no answer in time");
        if (!PQconsumeInput(c->pg))
            return pg_lose(c, e, PQerrorMessage(c->pg));
    }
    return unsent < 0 ? pg_lose(c, e, PQerrorMessage(c->pg)) : 0;
}

/* The last answer to what was sent, or the first that is an error. */
static int collect(struct pg_conn *c, int sent, PGresult **out, struct err *e)
{
    PGresult *kept = NULL, *r;
    int64_t until_ns = clock_monotonic_ns() + c->limit_ns;
    int status = sent ? 0 : pg_lose(c, e, PQerrorMessage(c->pg));
    while (!status) {
        status = until_answered(c, until_ns, e);
        if (status || !(r = PQgetResult(c->pg)))
            break;
        ExecStatusType kind = PQresultStatus(r);
        if (kept && PQresultStatus(kept) != PGRES_COMMAND_OK &&
            PQresultStatus(kept) != PGRES_TUPLES_OK) {
            PQclear(r);
            continue;
        }
        PQclear(kept);
        kept = r;
        if (kind == PGRES_COPY_IN || kind == PGRES_COPY_OUT || kind == PGRES_COPY_BOTH)
            status = pg_lose(c, e, "it answered out of turn");
    }
    if (!status && !kept)
        status = pg_lose(c, e, PQerrorMessage(c->pg));
    if (!status && PQresultStatus(kept) != PGRES_COMMAND_OK &&
        PQresultStatus(kept) != PGRES_TUPLES_OK)
        status = result_error(c, kept, e);
    if (status) {
        PQclear(kept);
        kept = NULL;
    }
    *out = kept;
    return status;
}

int pg_script(struct pg_conn *c, const char *sql, struct err *e)
{
    PGresult *r;
    int status = collect(c, PQsendQuery(c->pg, sql), &r, e);
    PQclear(r);
    return status;
}

/* ---- its end ------------------------------------------------------------------------
 */

void pg_conn_close(struct pg_conn *c)
{
    if (c->pg)
        PQfinish(c->pg);
    c->pg = NULL;
    c->n_statements = 0;
}

bool pg_conn_dead(struct pg_conn *c)
{
    struct pollfd p = {.fd = PQsocket(c->pg), .events = POLLIN};
    if (PQstatus(c->pg) != CONNECTION_OK)
        return true;
    if (poll(&p, 1, 0) <= 0)
        return false;
    return !PQconsumeInput(c->pg) || PQstatus(c->pg) != CONNECTION_OK ||
           PQtransactionStatus(c->pg) != PQTRANS_IDLE;
}

/* ---- statements ------------------------------------------------------------------ */

struct parameters {
    int count;
    Oid types[MAX_PARAMETERS];
    const char *values[MAX_PARAMETERS]; /* borrowed */
    int lengths[MAX_PARAMETERS], formats[MAX_PARAMETERS];
    uint64_t room[MAX_PARAMETERS]; /* what the numbers are, in network order */
    char *mended[MAX_PARAMETERS];  /* owned [n_mended] */
    int n_mended;
    bool failed; /* memory is out */
};

static void parameters_release(struct parameters *p)
{
    for (int i = 0; i < p->n_mended; i++)
        free(p->mended[i]);
}

static void put(struct parameters *p, Oid type, const void *bytes, size_t length)
{
    p->types[p->count] = type;
    p->values[p->count] = bytes;
    p->lengths[p->count] = (int)length;
    p->formats[p->count++] = 1;
}

/* A text that was cut within a character, or came from who knows where: the server would
 * refuse what is not UTF-8, and a job could not end because of its own error message. */
static void put_text(struct parameters *p, const char *text)
{
    size_t length = text ? strlen(text) : 0;
    const uint8_t *bad = text ? u8_check((const uint8_t *)text, length) : NULL;
    char *copy = bad ? mem_strdup(text) : NULL;
    if (bad && !copy) {
        p->failed = true;
        return;
    }
    if (copy) {
        uint8_t *bytes = (uint8_t *)copy, *at = bytes + (bad - (const uint8_t *)text);
        do
            *at = '?';
        while ((bad = u8_check(at, length - (size_t)(at - bytes))) &&
               (at = bytes + (bad - bytes)));
        p->mended[p->n_mended++] = copy;
    }
    put(p, OID_TEXT, copy ? copy : text, length);
}

static void put_64(struct parameters *p, Oid type, uint64_t value)
{
    p->room[p->count] = htobe64(value);
    put(p, type, &p->room[p->count], 8);
}

static void put_double(struct parameters *p, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_64(p, OID_FLOAT8, bits);
}

static void put_int(struct parameters *p, int value)
{
    uint32_t bits = htobe32((uint32_t)value);
    memcpy(&p->room[p->count], &bits, sizeof bits);
    put(p, OID_INT4, &p->room[p->count], 4);
}

static void put_bool(struct parameters *p, bool value)
{
    unsigned char byte = value;
    memcpy(&p->room[p->count], &byte, 1);
    put(p, OID_BOOL, &p->room[p->count], 1);
}

static void gather(struct parameters *p, const char *types, va_list args)
{
    p->count = p->n_mended = 0;
    p->failed = false;
    for (; *types; types++) {
        if (p->count == MAX_PARAMETERS)
            abort();
        if (*types == 't') {
            put_text(p, va_arg(args, const char *));
        } else if (*types == 'i') {
            put_int(p, va_arg(args, int));
        } else if (*types == 'l') {
            put_64(p, OID_INT8, (uint64_t)va_arg(args, int64_t));
        } else if (*types == 'd') {
            put_double(p, va_arg(args, double));
        } else if (*types == 'b') {
            put_bool(p, va_arg(args, int) != 0);
        } else if (*types == 'x') {
            const void *bytes = va_arg(args, const void *);
            put(p, OID_BYTEA, bytes ? bytes : "", va_arg(args, size_t));
        } else {
            abort();
        }
    }
}

/* The number of a statement, prepared; negative: an error. */
static int prepare(struct pg_conn *c, const char *sql, const struct parameters *p,
                   struct err *e)
{
    char name[16];
    size_t i = 0;
    while (i < c->n_statements && c->statements[i] != sql)
        i++;
    if (i < c->n_statements)
        return (int)i;
    if (i == PG_CONN_STATEMENTS)
        return err_set(e, ERR_NOMEM, "too many kinds of statements");
    (void)snprintf(name, sizeof name, "s%zu", i);
    PGresult *r;
    int status = collect(c, PQsendPrepare(c->pg, name, sql, p->count, p->types), &r, e);
    PQclear(r);
    if (status)
        return status;
    c->statements[c->n_statements++] = sql;
    return (int)i;
}

static int ask(struct pg_conn *c, PGresult **out, struct err *e, const char *sql,
               const char *types, va_list args)
{
    char name[16];
    struct parameters p;
    *out = NULL;
    gather(&p, types, args);
    int number =
        p.failed ? err_set(e, ERR_NOMEM, "out of memory") : prepare(c, sql, &p, e);
    int sent = 0;
    if (number >= 0) {
        (void)snprintf(name, sizeof name, "s%d", number);
        sent =
            PQsendQueryPrepared(c->pg, name, p.count, p.values, p.lengths, p.formats, 1);
    }
    parameters_release(&p); /* the library has copied them */
    return number < 0 ? number : collect(c, sent, out, e);
}

int pg_ask(struct pg_conn *c, PGresult **out, struct err *e, const char *sql,
           const char *types, ...)
{
    va_list args;
    va_start(args, types);
    int status = ask(c, out, e, sql, types, args);
    va_end(args);
    return status;
}

int pg_ask_texts(struct pg_conn *c, PGresult **out, struct err *e, const char *sql,
                 const char *const *texts, size_t count)
{
    struct parameters p = {0};
    *out = NULL;
    if (count > MAX_PARAMETERS)
        return err_set(e, ERR_TOO_LARGE, "too many parameters");
    for (size_t i = 0; i < count; i++)
        put_text(&p, texts[i]);
    int sent = p.failed ? 0
                        : PQsendQueryParams(c->pg, sql, p.count, p.types, p.values,
                                            p.lengths, p.formats, 1);
    parameters_release(&p);
    return p.failed ? err_set(e, ERR_NOMEM, "out of memory") : collect(c, sent, out, e);
}

int pg_run(struct pg_conn *c, struct err *e, const char *sql, const char *types, ...)
{
    PGresult *r;
    va_list args;
    va_start(args, types);
    int status = ask(c, &r, e, sql, types, args);
    va_end(args);
    if (!status) {
        long changed = strtol(PQcmdTuples(r), NULL, 10);
        status = changed > INT32_MAX ? INT32_MAX : (int)changed;
    }
    PQclear(r);
    return status;
}

/* ---- fields ---------------------------------------------------------------------- */

const char *pg_text(const PGresult *r, int row, int column)
{
    return PQgetvalue(r, row, column); /* has a NUL behind it, whatever its format */
}

int64_t pg_int(const PGresult *r, int row, int column)
{
    const unsigned char *bytes = (const unsigned char *)PQgetvalue(r, row, column);
    int length = PQgetlength(r, row, column);
    uint64_t value = length > 0 && bytes[0] & 0x80 ? UINT64_MAX : 0;
    for (int i = 0; i < length && i < 8; i++)
        value = value << 8 | bytes[i];
    return (int64_t)value;
}

double pg_double(const PGresult *r, int row, int column)
{
    double value = 0;
    if (PQgetlength(r, row, column) == 8) {
        uint64_t bits = (uint64_t)pg_int(r, row, column);
        memcpy(&value, &bits, sizeof value);
    }
    return value;
}

bool pg_bool(const PGresult *r, int row, int column)
{
    return PQgetlength(r, row, column) == 1 && *PQgetvalue(r, row, column);
}

char *pg_copy(const PGresult *r, int row, int column, bool *failed)
{
    if (PQgetisnull(r, row, column))
        return NULL;
    char *copy = mem_strdup(PQgetvalue(r, row, column));
    if (!copy)
        *failed = true;
    return copy;
}

void pg_copy_to(const PGresult *r, int row, int column, char *out, size_t size)
{
    (void)snprintf(out, size, "%s", PQgetvalue(r, row, column));
}
