/* The database and the queue, asked as the service asks them. */
#include "command/checks.h"

#include "base/clock.h"
#include "base/fs.h"
#include "command/database.h"
#include "job/keys.h"
#include "job/workers.h"
#include "queue/redis_link.h"
#include "store/keys.h"
#include "store/schema.h"
#include "store/settings.h"

#include <limits.h>
#include <unistd.h>

#define CLOCK_MS 2000 /* a difference that is worth a word */

/* ---- the database ---------------------------------------------------------------- */

/* No file yet: whether it could be made. The folder may be missing, too. */
static void check_new_file(struct checks *k, const char *file)
{
    char folder[PATH_MAX];
    struct err e = {0};
    const char *slash = strrchr(file, '/');
    int n = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - file) : 1,
                     slash ? file : ".");
    if (n > 0 && (size_t)n < sizeof folder && !access(folder, F_OK) &&
        check_folder(folder, &e))
        check_say(k, CHECK_FAIL, "database",
                  "%s: let the service's user write there, or set DATABASE_URL",
                  e.message);
    else
        check_say(k, CHECK_OK, "database", "%s does not exist yet; `serve` makes it",
                  file);
}

static void check_clock(struct checks *k)
{
    long long apart = (long long)(clock_now_ms() - clock_wall_ms());
    if (apart > CLOCK_MS || apart < -CLOCK_MS)
        check_say(k, CHECK_WARN, "clock",
                  "this machine's clock is %.1f s from the database's: let both follow "
                  "the same time server (`timedatectl set-ntp true`)",
                  (double)apart / 1000);
    else
        check_say(k, CHECK_OK, "clock", "%lld ms from the database's", apart);
}

static void check_workers(struct checks *k, struct store *s)
{
    struct store_worker_list l;
    struct err e = {0};
    size_t alive = 0;
    if (store_worker_list(s, clock_now_ms(), &l, &e)) {
        check_say(k, CHECK_FAIL, "workers", "%s", e.message);
        return;
    }
    for (size_t i = 0; i < l.count; i++)
        alive += worker_is_alive(&l.workers[i]);
    store_worker_list_release(&l);
    if (alive || k->c->embedded_workers)
        check_say(k, CHECK_OK, "workers", "%zu process(es) that transcribe", alive);
    else
        check_say(k, CHECK_WARN, "workers",
                  "nobody transcribes: start `whisper-transcriber worker` with this "
                  "database, or set EMBEDDED_WORKERS=on");
}

/* Who comes from elsewhere needs a key, so that without any nobody gets in. */
static void check_keys(struct checks *k, struct store *s)
{
    const struct config *c = k->c;
    struct store_key_list l;
    struct err e = {0};
    size_t good = 0;
    if (c->auth != AUTH_KEY && (c->auth != AUTH_AUTO || check_is_loopback(c->host)))
        return;
    if (store_key_list(s, clock_now_ms(), &l, &e)) {
        check_say(k, CHECK_FAIL, "keys", "%s", e.message);
        return;
    }
    for (size_t i = 0; i < l.count; i++)
        good += !strcmp(key_state(&l.keys[i], clock_now_ms()), "active");
    bool none = !l.count;
    store_key_list_release(&l);
    if (none)
        check_say(k, CHECK_OK, "keys", "none yet: `serve` makes the first, and says it");
    else if (good)
        check_say(k, CHECK_OK, "keys", "callers need one; %zu may be used", good);
    else
        check_say(k, CHECK_WARN, "keys",
                  "HOST is %s and there is no key that may be used, so that every caller "
                  "is refused: make one (`keys create --name operator --scope admin`)",
                  c->host);
}

static void try_store(struct checks *k, const struct store_schema *schema)
{
    const struct config *c = k->c;
    const struct store_options options = {.exclusive = false};
    const char *file = database_file(c);
    struct store *s = NULL;
    struct err e = {0};
    char now[CLOCK_ISO_SIZE];
    if (store_open(&s, c->database_url, &options, &e)) {
        check_say(k, CHECK_FAIL, "database", "%s", e.message);
        return;
    }
    clock_iso(clock_now_ms(), now);
    if (store_setting_set(s, "checked", now, &e))
        check_say(k, CHECK_FAIL, "database", "it can be read and not written: %s",
                  e.message);
    else
        check_say(k, CHECK_OK, "database", "%s, schema %d, which is %s; it was written",
                  file ? file : "the server answers", schema->version,
                  schema->version == schema->known ? "up to date"
                                                   : "a newer one that allows this one");
    if (!file)
        check_clock(k);
    check_workers(k, s);
    check_keys(k, s);
    store_close(s);
}

/* Opening a database of an older version would bring it up to date, which is not what
 * somebody wants who only looks. */
static void judge_schema(struct checks *k, const struct store_schema *s)
{
    if (s->needs > s->known)
        check_say(k, CHECK_FAIL, "database",
                  "schema %d, and this version runs with up to %d: install the version "
                  "that made it, or take it back with that one (`migrate down --to %d`)",
                  s->version, s->known, s->known);
    else if (!s->version)
        check_say(k, CHECK_OK, "database", "it is empty; `serve` makes its tables");
    else if (s->version < s->known)
        check_say(k, CHECK_WARN, "database",
                  "schema %d, and this version has %d: it can be brought up to date, "
                  "which the start of a service or `migrate up` does; make a copy before "
                  "(`backup`)%s",
                  s->version, s->known,
                  s->running && database_file(k->c)
                      ? ", and stop the service that uses it"
                      : "");
    else
        try_store(k, s);
}

void check_database(struct checks *k)
{
    const struct config *c = k->c;
    const char *file = database_file(c);
    struct store_schema schema;
    struct err e = {0};
    if (file && access(file, F_OK)) {
        check_new_file(k, file);
        return;
    }
    int status = store_schema_look(c->database_url, &schema, &e);
    if (status)
        check_say(k, CHECK_FAIL, "database", "%s%s", e.message,
                  status == ERR_AWAY ? "; is it started, and is DATABASE_URL right?"
                                     : "");
    else
        judge_schema(k, &schema);
}

/* ---- the queue ------------------------------------------------------------------- */

/* The value of "name:value" in what INFO says; "" when there is none. */
static void info_value(const char *info, const char *name, char *out, size_t size)
{
    const char *at = strstr(info, name);
    size_t n = strlen(name);
    out[0] = '\0';
    if (at && at[n] == ':')
        (void)snprintf(out, size, "%.*s", (int)strcspn(at + n + 1, "\r\n"), at + n + 1);
}

static int ask(struct redis_link *l, const char *words, redisReply **out, struct err *e)
{
    struct redis_words w = {0};
    redis_words_begin(&w, words);
    int status = redis_link_ask(l, &w, REDIS_COMMAND_MS, out, e);
    redis_words_release(&w);
    return status;
}

static int write_key(struct redis_link *l, const char *service, struct err *e)
{
    char words[200];
    (void)snprintf(words, sizeof words, "SET whisper-transcriber:%s:checked 1 EX 10",
                   service);
    int status = ask(l, words, NULL, e);
    if (status)
        return status;
    (void)snprintf(words, sizeof words, "DEL whisper-transcriber:%s:checked", service);
    return ask(l, words, NULL, e);
}

static void judge_memory(struct checks *k, struct redis_link *l)
{
    redisReply *reply = NULL;
    char policy[40], limit[40];
    if (ask(l, "INFO memory", &reply, NULL) || !reply || !reply->str) {
        freeReplyObject(reply);
        return;
    }
    info_value(reply->str, "maxmemory_policy", policy, sizeof policy);
    info_value(reply->str, "\nmaxmemory", limit, sizeof limit);
    freeReplyObject(reply);
    if (*policy && strcmp(policy, "noeviction") != 0 && *limit && strcmp(limit, "0") != 0)
        check_say(k, CHECK_WARN, "redis",
                  "maxmemory-policy is %s: it throws parts of the queue away when it is "
                  "full, which are then found again late; set it to noeviction",
                  policy);
}

void check_redis(struct checks *k)
{
    const struct config *c = k->c;
    struct redis_address a = {0};
    struct redis_link *l = NULL;
    struct err e = {0};
    char where[300];
    if (!c->redis_url)
        return;
    int status = redis_address_parse(&a, c->redis_url, c->redis_ca_file, &e);
    if (!status)
        status = redis_link_open(&l, &a, &e);
    if (!status)
        status = write_key(l, c->redis_namespace, &e);
    if (status) {
        check_say(k, CHECK_FAIL, "redis",
                  "%s; without it the queue works more slowly, from the database: start "
                  "it, or correct REDIS_URL",
                  e.message);
    } else {
        check_say(k, CHECK_OK, "redis", "%s answers and was written",
                  redis_address_print(&a, where, sizeof where));
        judge_memory(k, l);
    }
    redis_link_close(l);
    redis_address_release(&a);
}
