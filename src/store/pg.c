#include "store/vitals.h"
#include "store/pg.h"

#include "base/clock.h"
#include "store/care.h"
#include "store/holds.h"
#include "store/pg_clock.h"
#include "store/pg_jobs.h"
#include "store/pg_listen.h"
#include "store/pg_schema.h"
#include "store/queue_view.h"
#include "store/search_words.h"
static void pg_close(struct store *base)
{
    struct pg_store *s = (struct pg_store *)base;
    pg_listener_close(s->listener);
    pg_pool_release(&s->pool);
    search_words_close(s->words);
    free(s);
}

static void pg_listen(struct store *s, store_news_fn fn, void *arg)
{
    struct pg_listener *l = ((struct pg_store *)s)->listener;
    if (l)
        pg_listener_tell(l, fn, arg);
}

static int pg_others(struct store *s, int64_t *count, struct err *e)
{
    int status, instance = ((struct pg_store *)s)->pool.instance;
    struct pg_turn t = pg_begin(s, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e,
                        "SELECT count(*) + (NOT " PG_SETTLED ")::int FROM " PG_RUNNING
                        " AS running (number) WHERE number <> $1",
                        "i", instance);
        if (!status)
            *count = pg_int(r, 0, 0);
        PQclear(r);
    }
    return status;
}

static const struct store_ops pg_store_ops = {
    .close = pg_close,
    .listen = pg_listen,
    .others = pg_others,
    .insert = pg_insert,
    .get = pg_read_get,
    .list = pg_read_list,
    .transcript = pg_read_transcript,
    .claim = pg_claim,
    .renew = pg_renew,
    .decoded = pg_decoded,
    .checkpoint = pg_checkpoint,
    .ahead = pg_ahead,
    .resume = pg_read_resume,
    .complete = pg_complete,
    .fail_job = pg_fail,
    .requeue = pg_requeue,
    .put_off = pg_put_off,
    .crash = pg_crash,
    .requeue_expired = pg_requeue_expired,
    .cancel = pg_cancel,
    .retry = pg_retry,
    .remove = pg_remove,
    .aged = pg_read_aged,
    .drop_audio = pg_drop_audio,
    .probe = pg_probe,
    .keys = &pg_keys_ops,
    .audit = &pg_audit_ops,
    .native = &pg_native_ops,
    .share = &pg_share_ops,
    .settings = &pg_settings_ops,
    .waveform = &pg_waveform_ops,
    .uploads = &pg_uploads_ops,
    .sources = &pg_sources_ops,
    .webhooks = &pg_webhooks_ops,
    .waiting = &pg_waiting_ops,
    .queue = &pg_queue_ops,
    .workers = &pg_workers_ops,
    .holds = &pg_holds_ops,
    .care = &pg_care_ops,
    .vitals = &pg_vitals_ops,
    .rates = &pg_rates_ops,
};

/* Migrating is a transaction of its own, and harmless to begin anew. */
static int migrate(struct pg_store *s, bool beside, struct err *e)
{
    size_t count;
    const struct pg_step *steps = pg_steps(&count);
    int status;
    struct pg_turn t = pg_begin(&s->base, PG_LOOK);
    while (pg_turn(&t, &status, e))
        status = pg_migrate(t.conn, steps, count, beside, clock_now_ms(), e);
    return status;
}

/* A number of its own for this process, for as long as it runs. */
static int draw_number(struct pg_store *s, struct err *e)
{
    int status, number = 0;
    struct pg_turn t = pg_begin(&s->base, PG_LOOK);
    while (pg_turn(&t, &status, e)) {
        PGresult *r;
        status = pg_ask(t.conn, &r, e, "SELECT nextval('processes')", "");
        if (!status)
            number = (int)pg_int(r, 0, 0);
        PQclear(r);
    }
    if (status)
        return status;
    /* Connections tell their number to the triggers: those that have none open anew. */
    s->pool.instance = number;
    s->pool.generation++;
    return 0;
}

static int look_at_clock(struct pg_store *s, struct err *e)
{
    int status;
    struct pg_turn t = pg_begin(&s->base, PG_LOOK);
    while (pg_turn(&t, &status, e))
        status = pg_clock_look(s, t.conn, e);
    return status;
}

int pg_store_open(struct store **out, const char *url,
                  const struct store_options *options, struct err *e)
{
    *out = NULL;
    struct pg_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->base.ops = &pg_store_ops;
    int status = pg_pool_init(&s->pool, url, options->connections, e);
    if (!status)
        status = search_words_open(&s->words, e);
    if (!status)
        status = migrate(s, !options->exclusive, e);
    if (!status)
        status = look_at_clock(s, e);
    if (!status && options->exclusive)
        status = draw_number(s, e);
    if (!status && options->exclusive)
        status = pg_listener_start(&s->listener, &s->pool, e);
    if (status) {
        pg_close(&s->base);
        return status;
    }
    s->pool.opened = true;
    *out = &s->base;
    return 0;
}
