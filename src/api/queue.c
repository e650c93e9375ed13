/* The queue over HTTP, for admins: the same as the command line's `queue`. What is done
 * to one job (cancel, retry, delete) is with the jobs. */
#include "api/access.h"
#include "api/api.h"
#include "api/errors.h"
#include "api/json_fields.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/json_body.h"
#include "job/keys.h"
#include "job/queue_report.h"

#include <errno.h>

#define LIST_DEFAULT 100
#define LIST_MAX     1000
#define IDS_MAX      1000
#define REFUSED_MAX  100
#define DAYS_MAX     36500
#define DAY_MS       (INT64_C(86400) * 1000)

static bool read_limit(struct http_request *r, int64_t *out)
{
    const char *text = http_request_query(r, "limit");
    *out = LIST_DEFAULT;
    if (!text || !*text)
        return true;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (!*end && !errno && value >= 1 && value <= LIST_MAX) {
        *out = value;
        return true;
    }
    http_respond_error(&r->response, 400, "invalid",
                       "\"limit\" must be a whole number from 1 to %d, not \"%.40s\"",
                       LIST_MAX, text);
    return false;
}

void api_queue_show(struct http_request *r)
{
    struct api *api = r->app;
    const char *state = http_request_query(r, "state");
    enum queue_part part = QUEUE_ALIVE;
    int64_t limit;
    json_t *o;
    struct err e;
    if (!read_limit(r, &limit))
        return;
    if (state && *state && !queue_part_parse(state, &part))
        http_respond_error(&r->response, 400, "invalid",
                           "\"state\" must be waiting, running or failed, not \"%.40s\"",
                           state);
    else if (queue_report(jobs_store(api->jobs), part, limit, jobs_at_once(api->jobs), &o,
                          &e))
        api_error(&r->response, &e);
    else
        http_respond_json(&r->response, 200, o);
}

/* ---- requeue --------------------------------------------------------------------- */

struct requeue {
    struct jobs *jobs; /* borrowed */
    int64_t done, refused;
    json_t *refusals; /* owned: the first REFUSED_MAX of them */
};

static void refuse(struct requeue *q, const char *id, int status, const struct err *e)
{
    int http_status = api_status(status);
    bool ours = http_status >= 500;
    if (ours)
        log_event(LOG_ERROR, id, "not put back: %s", e->message);
    if (q->refused++ >= REFUSED_MAX)
        return;
    (void)json_array_append_new(
        q->refusals,
        json_pack("{s:s, s:s, s:s}", "job_id", id, "error_code",
                  http_status == 500 ? "internal" : err_name(status), "detail",
                  ours ? "Something went wrong on the server; its log says what."
                       : e->message));
}

/* One that is refused is told, and the others go on; but for a database that is away they
 * would all wait in turn. */
static int requeue_one(void *arg, const char *id, struct err *e)
{
    struct requeue *q = arg;
    struct job j;
    int status = jobs_retry(q->jobs, id, &j, e);
    if (!status) {
        job_release(&j);
        q->done++;
        return 0;
    }
    if (api_status(status) >= 500)
        return status;
    refuse(q, id, status, e);
    return 0;
}

/* The ids of the body, or NULL when it says "failed": true. ERR_INVALID. */
static int read_requeue(const json_t *o, const json_t **ids, struct err *e)
{
    static const char *const names[] = {"ids", "failed", NULL};
    const json_t *failed = json_object_get(o, "failed");
    int status = json_fields_only(o, names, e);
    *ids = json_object_get(o, "ids");
    if (status)
        return status;
    if (failed && !json_is_boolean(failed))
        return err_set(e, ERR_INVALID, "\"failed\" must be true or false");
    if (!*ids == !json_is_true(failed))
        return err_set(e, ERR_INVALID,
                       "say which jobs: \"ids\", a list, or \"failed\": true for all "
                       "that failed");
    if (*ids && (!json_array_size(*ids) || json_array_size(*ids) > IDS_MAX))
        return err_set(e, ERR_INVALID, "\"ids\" must be a list of 1 to %d ids", IDS_MAX);
    for (size_t i = 0; i < json_array_size(*ids); i++)
        if (!id_valid(json_string_value(json_array_get(*ids, i))))
            return err_set(e, ERR_INVALID, "\"ids\" holds something that is no id");
    return 0;
}

static int requeue_all(struct requeue *q, const json_t *ids, struct err *e)
{
    int status = 0;
    if (!ids)
        return queue_each_dead(jobs_store(q->jobs), INT64_MAX, requeue_one, q, e);
    for (size_t i = 0; !status && i < json_array_size(ids); i++)
        status = requeue_one(q, json_string_value(json_array_get(ids, i)), e);
    return status;
}

void api_queue_requeue(struct http_request *r)
{
    struct api *api = r->app;
    const struct key_actor actor = {api_owner(r), r->client};
    const json_t *ids, *o = http_json_body(r);
    struct requeue q = {.jobs = api->jobs};
    struct err e;
    if (!o)
        return;
    if (read_requeue(o, &ids, &e)) {
        api_error(&r->response, &e);
        return;
    }
    q.refusals = json_array();
    int status = requeue_all(&q, ids, &e);
    if (q.done)
        audit_note(jobs_store(api->jobs), "jobs_requeued", &actor, "%lld job(s)%s",
                   (long long)q.done, ids ? "" : ": all that failed");
    if (status) {
        json_decref(q.refusals);
        api_error(&r->response, &e);
        return;
    }
    http_respond_json(&r->response, 200,
                      json_pack("{s:I, s:I, s:o}", "requeued", (json_int_t)q.done,
                                "refused", (json_int_t)q.refused, "refusals",
                                q.refusals));
}

/* ---- purge-dead ------------------------------------------------------------------ */

void api_queue_purge_dead(struct http_request *r)
{
    static const char *const names[] = {"older_than_days", NULL};
    struct api *api = r->app;
    const struct key_actor actor = {api_owner(r), r->client};
    const json_t *o = http_json_body(r);
    int64_t days = 0, count = 0;
    struct err e;
    if (!o)
        return;
    int status = json_fields_only(o, names, &e);
    if (!status)
        status = json_field_integer(o, "older_than_days", &days, &e);
    if (!status && (days < 0 || days > DAYS_MAX))
        status =
            err_set(&e, ERR_INVALID,
                    "\"older_than_days\" must be a whole number from 0 to %d", DAYS_MAX);
    int64_t now_ms = days ? clock_sure_ms() : clock_now_ms();
    if (!status)
        status = jobs_purge_dead(api->jobs, now_ms - days * DAY_MS + 1, &count, &e);
    if (count)
        audit_note(jobs_store(api->jobs), "dead_purged", &actor,
                   "%lld failed job(s), %lld days old or more", (long long)count,
                   (long long)days);
    if (status)
        api_error(&r->response, &e);
    else
        http_respond_json(&r->response, 200,
                          json_pack("{s:I}", "purged", (json_int_t)count));
}
