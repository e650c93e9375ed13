/* Bringing Redis and the store together: what waits in the store and is not on Redis is
 * put there, and what does not wait any more is taken out. */
#include "queue/redis_queue.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/settings.h"

#include <sodium.h>

/* So many are held on Redis; what is beyond follows as these are done. */
#define MOST_JOBS 50000
/* What is still to be measured is taken for so many bytes a second: between compressed
 * speech and music. */
#define BYTES_PER_SECOND 32000.0
#define SHORT_SECONDS    60.0
#define MOST_SECONDS     36000.0
#define TURN_MS          2500   /* less than there is between two looks */
#define OWNER_MS         60000  /* that the queue belongs to a service that is gone */
#define PASS_MS          600000 /* that the mark of a pass lives */
#define DEAD_AT_ONCE     20     /* of which it is looked whether they are */

/* ---- what Redis is told of a job ----------------------------------------------------
 */

/* A hash in place of a caller's name: it may hold anything. */
static void hash_name(const char *name, char out[33])
{
    unsigned char hash[16];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)name, strlen(name), NULL,
                       0);
    sodium_bin2hex(out, 33, hash, sizeof hash);
}

static double seconds_of(const struct store_waiting *job)
{
    double s =
        job->seconds > 0 ? job->seconds : (double)job->file_bytes / BYTES_PER_SECOND;
    return s < 1 ? 1 : s > MOST_SECONDS ? MOST_SECONDS : s;
}

void redis_describe(struct redis_words *w, const struct store_waiting *job,
                    int64_t now_ms)
{
    char caller[33];
    double seconds = seconds_of(job);
    bool named = *job->model && !strpbrk(job->model, " \t\r\n,");
    bool beside = named && job->attempt == 0 && job->file_bytes <= QUEUE_BESIDE_BYTES;
    int64_t wait_ms = job->run_after_ms - now_ms;
    hash_name(job->caller, caller);
    redis_words_add(w, job->id);
    redis_words_add(w, caller);
    redis_words_add(w, seconds < SHORT_SECONDS ? "short" : "long");
    redis_words_number(w, store_waiting_turn(job));
    redis_words_number(w, (int64_t)(seconds + 0.5));
    redis_words_add(w, named ? job->model : "-");
    redis_words_add(w, beside ? "1" : "0");
    redis_words_number(w, job->attempt);
    redis_words_number(w, wait_ms > 0 ? wait_ms : 0);
}

/* ---- what is missing ----------------------------------------------------------------
 */

struct pass {
    struct redis_queue *q;
    struct redis_words words;
    char (*ids)[ID_SIZE]; /* owned [count]: what waits in the store, sorted at the end */
    size_t count, capacity;
    int64_t added;
};

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int ask(struct pass *p, redisReply **out, struct err *e)
{
    return redis_link_ask(p->q->link, &p->words, REDIS_COMMAND_MS, out, e);
}

static void command(struct pass *p, const char *name, const char *key)
{
    char full[REDIS_PREFIX_SIZE + 64];
    (void)snprintf(full, sizeof full, "%s%s", p->q->prefix, key);
    redis_words_begin(&p->words, name);
    redis_words_add(&p->words, full);
}

static int add_page(struct pass *p, const struct store_waiting_list *page, struct err *e)
{
    redisReply *reply = NULL;
    int64_t now = clock_now_ms();
    if (mem_grow(&p->ids, &p->capacity, p->count + page->count, sizeof *p->ids))
        return err_set(e, ERR_NOMEM, "out of memory");
    redis_words_begin(&p->words, "");
    for (size_t i = 0; i < page->count; i++) {
        memcpy(p->ids[p->count++], page->list[i].id, ID_SIZE);
        redis_describe(&p->words, &page->list[i], now);
    }
    int status = redis_script_run(p->q->link, &redis_script_add, p->q->prefix, &p->words,
                                  REDIS_COMMAND_MS, &reply, e);
    if (!status && reply->type == REDIS_REPLY_INTEGER)
        p->added += reply->integer;
    freeReplyObject(reply);
    return status;
}

static int add_missing(struct pass *p, struct err *e)
{
    struct store_waiting_list page = {0}, next = {0};
    int status = 0;
    bool more = true;
    while (!status && more && p->count < MOST_JOBS && !atomic_load(&p->q->closing)) {
        const struct store_waiting *last = page.count ? &page.list[page.count - 1] : NULL;
        status = store_waiting_list(p->q->store, last, REDIS_ADD_MOST, &next, e);
        p->q->store_failed |= status != 0;
        store_waiting_list_release(&page);
        if (status)
            break;
        page = next;
        next = (struct store_waiting_list){0};
        more = page.count == REDIS_ADD_MOST;
        if (page.count)
            status = add_page(p, &page, e);
    }
    store_waiting_list_release(&page);
    if (!status && p->count)
        qsort(p->ids, p->count, sizeof *p->ids, compare_ids);
    return status;
}

/* ---- what does not wait any more ----------------------------------------------------
 */

static bool is_among(const char *id, const redisReply *list)
{
    for (size_t i = 0; i < list->elements; i++)
        if (list->element[i]->type == REDIS_REPLY_STRING &&
            !strcmp(list->element[i]->str, id))
            return true;
    return false;
}

/* One that the store did not list may have come since: ask it. */
static int drop_if_done(struct pass *p, const char *id, struct err *e)
{
    struct store_waiting job = {0};
    if (id_valid(id)) {
        int status = store_waiting_get(p->q->store, id, &job, e);
        store_waiting_release(&job);
        p->q->store_failed |= status && status != ERR_NOT_FOUND;
        if (status != ERR_NOT_FOUND)
            return status;
    }
    redis_words_begin(&p->words, "");
    redis_words_add(&p->words, id);
    redis_words_add(&p->words, "0");
    redis_words_add(&p->words, "gone");
    return redis_script_run(p->q->link, &redis_script_drop, p->q->prefix, &p->words,
                            REDIS_COMMAND_MS, NULL, e);
}

/* A page of the hash of jobs: [cursor, [id, what is known, id, …]]. */
static int drop_page(struct pass *p, const redisReply *page, const redisReply *leases,
                     struct err *e)
{
    int status = 0;
    for (size_t i = 0; !status && i + 1 < page->elements; i += 2) {
        const redisReply *id = page->element[i];
        if (id->type != REDIS_REPLY_STRING)
            continue;
        bool waits =
            p->count && bsearch(id->str, p->ids, p->count, sizeof *p->ids, compare_ids);
        if (!waits && !is_among(id->str, leases))
            status = drop_if_done(p, id->str, e);
    }
    return status;
}

static int drop_done(struct pass *p, struct err *e)
{
    char cursor[32] = "0";
    redisReply *leases = NULL;
    command(p, "ZRANGE", "leases");
    redis_words_add(&p->words, "0");
    redis_words_add(&p->words, "-1");
    int status = ask(p, &leases, e);
    do {
        redisReply *r = NULL;
        if (status)
            break;
        command(p, "HSCAN", "jobs");
        redis_words_add(&p->words, cursor);
        redis_words_add(&p->words, "COUNT");
        redis_words_add(&p->words, "500");
        status = ask(p, &r, e);
        if (!status &&
            (r->type != REDIS_REPLY_ARRAY || r->elements != 2 ||
             r->element[0]->type != REDIS_REPLY_STRING || r->element[0]->len > 30 ||
             r->element[1]->type != REDIS_REPLY_ARRAY))
            status = err_set(e, ERR_CORRUPT, "its answer to HSCAN is none");
        if (!status) {
            (void)snprintf(cursor, sizeof cursor, "%s", r->element[0]->str);
            status = drop_page(p, r->element[1], leases, e);
        }
        freeReplyObject(r);
    } while (!status && strcmp(cursor, "0") != 0 && !atomic_load(&p->q->closing));
    freeReplyObject(leases);
    return status;
}

/* A few of the dead each time, all of them in turn: one that was tried again elsewhere,
 * or deleted, is none. */
static int mind_the_dead(struct pass *p, struct err *e)
{
    struct redis_queue *q = p->q;
    redisReply *list = NULL;
    command(p, "ZRANGE", "dead");
    redis_words_number(&p->words, (int64_t)q->dead_at);
    redis_words_number(&p->words, (int64_t)q->dead_at + DEAD_AT_ONCE - 1);
    int status = ask(p, &list, e);
    if (status)
        return status;
    size_t dropped = 0;
    for (size_t i = 0; !status && i < list->elements; i++) {
        struct job j = {0};
        const char *id = list->element[i]->str;
        if (list->element[i]->type != REDIS_REPLY_STRING)
            continue;
        int found = id_valid(id) ? store_get(q->store, id, &j, e) : ERR_NOT_FOUND;
        bool is_dead = found ? found != ERR_NOT_FOUND : j.status == JOB_FAILED;
        job_release(&j);
        if (is_dead)
            continue;
        command(p, "ZREM", "dead");
        redis_words_add(&p->words, id);
        status = ask(p, NULL, e);
        dropped++;
    }
    q->dead_at = list->elements == DEAD_AT_ONCE ? q->dead_at + DEAD_AT_ONCE - dropped : 0;
    freeReplyObject(list);
    return status;
}

/* ---- the pass -----------------------------------------------------------------------
 */

/* The database's own name; it is made once. */
static int identity(struct redis_queue *q, char out[ID_SIZE], struct err *e)
{
    struct buf value;
    buf_init(&value, ID_SIZE);
    int status = store_setting_get(q->store, STORE_IDENTITY, &value, e);
    if (!status && id_valid(buf_cstr(&value)))
        memcpy(out, buf_cstr(&value), ID_SIZE);
    else if (!status || status == ERR_NOT_FOUND)
        status = store_setting_set(q->store, STORE_IDENTITY, id_new(out), e);
    buf_release(&value);
    q->store_failed |= status != 0;
    return status;
}

/* Two services on one queue would drop each other's jobs all the time: the queue belongs
 * to one database, as long as somebody who has that says so. */
static int be_the_owner(struct pass *p, struct err *e)
{
    char id[ID_SIZE];
    redisReply *r = NULL;
    int status = identity(p->q, id, e);
    if (status)
        return status;
    command(p, "GET", "store");
    status = ask(p, &r, e);
    bool others = !status && r->type == REDIS_REPLY_STRING && strcmp(r->str, id) != 0;
    freeReplyObject(r);
    if (others)
        return err_set(
            e, ERR_INVALID,
            "another service has the queue %s on this Redis: give this one its "
            "own REDIS_NAMESPACE or, if that one is gone, wait for a minute",
            p->q->prefix);
    if (status)
        return status;
    command(p, "SET", "store");
    redis_words_add(&p->words, id);
    redis_words_add(&p->words, "PX");
    redis_words_number(&p->words, OWNER_MS);
    return ask(p, NULL, e);
}

/* A mark that vanishes with everything else when Redis is emptied. */
static int begin(struct pass *p, const char *token, struct err *e)
{
    char key[64];
    (void)snprintf(key, sizeof key, "pass:%s", token);
    command(p, "SET", key);
    redis_words_add(&p->words, "1");
    redis_words_add(&p->words, "PX");
    redis_words_number(&p->words, PASS_MS);
    return ask(p, NULL, e);
}

static int finish(struct pass *p, const char *token, struct err *e)
{
    redisReply *r = NULL;
    redis_words_begin(&p->words, token);
    int status = redis_script_run(p->q->link, &redis_script_whole, p->q->prefix,
                                  &p->words, REDIS_COMMAND_MS, &r, e);
    if (!status && (r->type != REDIS_REPLY_INTEGER || r->integer != 1))
        status = err_set(e, ERR_STATE, "it was emptied while it was filled");
    freeReplyObject(r);
    return status;
}

int redis_refill(struct redis_queue *q, struct err *e)
{
    char token[ID_SIZE];
    struct pass p = {.q = q};
    q->store_failed = false;
    id_new(token);
    int status = be_the_owner(&p, e);
    if (!status)
        status = begin(&p, token, e);
    if (!status)
        status = add_missing(&p, e);
    if (!status)
        status = drop_done(&p, e);
    if (!status)
        status = mind_the_dead(&p, e);
    if (!status)
        status = finish(&p, token, e);
    if (!status && p.added)
        log_event(LOG_DEBUG, NULL, "%lld job(s) put on Redis that were not there",
                  (long long)p.added);
    redis_words_release(&p.words);
    free(p.ids);
    return status;
}

static int take_turn(struct pass *p, bool only_if_free, bool *mine, struct err *e)
{
    redisReply *r = NULL;
    command(p, "SET", "turn");
    redis_words_add(&p->words, "1");
    if (only_if_free)
        redis_words_add(&p->words, "NX");
    redis_words_add(&p->words, "PX");
    redis_words_number(&p->words, TURN_MS);
    int status = ask(p, &r, e);
    *mine = !status && r->type == REDIS_REPLY_STATUS;
    freeReplyObject(r);
    return status;
}

/* When Redis' clock was set back, somebody's turn would last for hours. */
static int lasts_too_long(struct pass *p, bool *out, struct err *e)
{
    redisReply *r = NULL;
    command(p, "PTTL", "turn");
    int status = ask(p, &r, e);
    *out = !status && r->type == REDIS_REPLY_INTEGER &&
           (r->integer > TURN_MS || r->integer == -1);
    freeReplyObject(r);
    return status;
}

int redis_my_turn(struct redis_queue *q, bool *mine, struct err *e)
{
    bool too_long = false;
    struct pass p = {.q = q};
    int status = take_turn(&p, true, mine, e);
    if (!status && !*mine)
        status = lasts_too_long(&p, &too_long, e);
    if (!status && too_long)
        status = take_turn(&p, false, mine, e);
    redis_words_release(&p.words);
    return status;
}
