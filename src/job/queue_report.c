#include "job/queue_report.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "job/held.h"
#include "job/service.h"

#define BATCH 200
/* Before any job was completed: 128 kbit/s, as most compressed recordings have or less.
 */
#define BYTES_A_SECOND 16000.0

void queue_estimate(const struct store_queue_figures *f, int64_t at_once,
                    struct queue_estimate *out)
{
    double a_byte = f->recent_bytes > 0 && f->recent_audio_seconds > 0
                        ? f->recent_audio_seconds / (double)f->recent_bytes
                        : 1 / BYTES_A_SECOND;
    int64_t running = f->jobs[JOB_PROCESSING];
    *out = (struct queue_estimate){
        .waiting_seconds = f->waiting_seconds + (double)f->waiting_bytes * a_byte,
        .running_seconds = f->running_seconds + (double)f->running_bytes * a_byte,
        .at_once = running > at_once ? running : at_once,
        .wait_seconds = -1};
    if (f->recent_work_seconds > 0)
        out->speed = f->recent_audio_seconds / f->recent_work_seconds;
    if (!f->jobs[JOB_PENDING] && !running)
        out->wait_seconds = 0;
    else if (out->speed > 0 && out->at_once > 0)
        out->wait_seconds = (out->waiting_seconds + out->running_seconds) /
                            (out->speed * (double)out->at_once);
}

/* ---- as JSON --------------------------------------------------------------------- */

const char *queue_entry_state(const struct store_queue_entry *x, int64_t now_ms)
{
    if (x->status != JOB_PENDING)
        return x->status == JOB_PROCESSING ? "running" : job_status_name(x->status);
    return x->fetching ? "fetching" : x->run_after_ms > now_ms ? "delayed" : "waiting";
}

double queue_entry_waited(const struct store_queue_entry *x, int64_t now_ms)
{
    int64_t until = x->status == JOB_PENDING ? now_ms
                    : x->started_ms          ? x->started_ms
                                             : x->completed_ms;
    return until > x->created_ms ? (double)(until - x->created_ms) / 1000 : 0;
}

static json_t *time_or_null(int64_t wall_ms)
{
    char text[CLOCK_ISO_SIZE];
    return wall_ms ? json_string(clock_iso(wall_ms, text)) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *real_or_null(double value, bool known)
{
    return known ? json_real(value) : json_null();
}

const char *queue_entry_stranded(const struct store_queue_entry *x,
                                 const struct stranded *st, char out[STRANDED_SIZE])
{
    return x->status == JOB_PENDING ? stranded_reason(st, x->model, out) : NULL;
}

json_t *queue_entry_json(const struct store_queue_entry *x, const struct stranded *st,
                         int64_t now_ms)
{
    char reason[STRANDED_SIZE];
    bool delayed = x->status == JOB_PENDING && x->run_after_ms > now_ms;
    return json_pack(
        "{s:s, s:s, s:o, s:i, s:i, s:i, s:o, s:s, s:s, s:o, s:I, s:o, s:i, s:s, s:o, "
        "s:o, s:f, s:o, s:o, s:o, s:o, s:s?}",
        "job_id", x->id, "state", queue_entry_state(x, now_ms), "position",
        x->position ? json_integer(x->position) : json_null(), "priority",
        x->priority - JOB_PRIORITY_LOWEST, "attempts", x->attempt, "crashes", x->crashes,
        "worker", text_or_null(x->owner), "original_filename", x->filename, "model",
        x->model, "caller", text_or_null(x->caller), "file_bytes",
        (json_int_t)x->file_bytes, "audio_seconds",
        real_or_null(x->duration_seconds, x->duration_seconds > 0), "progress",
        x->progress, "message", x->message, "reason", text_or_null(x->error_code),
        "error", text_or_null(x->error_message), "waiting_seconds",
        queue_entry_waited(x, now_ms), "created_at", time_or_null(x->created_ms),
        "started_at", time_or_null(x->started_ms), "ended_at",
        time_or_null(x->completed_ms), "not_before",
        delayed ? time_or_null(x->run_after_ms) : json_null(), "waits_for",
        queue_entry_stranded(x, st, reason));
}

/* The models that jobs wait for and no worker has, with how many wait. */
static json_t *stranded_json(const struct store_queue_figures *f,
                             const struct stranded *st)
{
    char reason[STRANDED_SIZE];
    json_t *list = json_array();
    for (size_t i = 0; i < f->n_models; i++)
        if (stranded_reason(st, f->models[i].name, reason))
            (void)json_array_append_new(
                list, json_pack("{s:s, s:I, s:s}", "model", f->models[i].name, "jobs",
                                (json_int_t)f->models[i].jobs, "waits_for", reason));
    return list;
}

json_t *queue_figures_json(const struct store_queue_figures *f, const struct stranded *st,
                           int64_t at_once, int64_t now_ms)
{
    struct queue_estimate q;
    queue_estimate(f, at_once, &q);
    json_t *failures = json_object();
    for (size_t i = 0; i < f->n_failures; i++)
        (void)json_object_set_new(failures,
                                  *f->failures[i].code ? f->failures[i].code : "unknown",
                                  json_integer(f->failures[i].jobs));
    int64_t oldest = f->oldest_ms && now_ms > f->oldest_ms ? now_ms - f->oldest_ms : 0;
    return json_pack(
        "{s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:o, s:o, s:o, s:o}", "waiting",
        (json_int_t)f->jobs[JOB_PENDING], "running", (json_int_t)f->jobs[JOB_PROCESSING],
        "failed", (json_int_t)f->jobs[JOB_FAILED], "oldest_waiting_seconds",
        (double)oldest / 1000, "waiting_audio_seconds", q.waiting_seconds,
        "running_audio_seconds", q.running_seconds, "real_time_factor",
        real_or_null(q.speed, q.speed > 0), "transcriptions_at_once",
        q.at_once ? json_integer(q.at_once) : json_null(), "estimated_wait_seconds",
        real_or_null(q.wait_seconds, q.wait_seconds >= 0), "failures", failures,
        "stranded", stranded_json(f, st));
}

/* ---- lists ----------------------------------------------------------------------- */

bool queue_part_parse(const char *word, enum queue_part *out)
{
    static const char *const words[QUEUE_PART_COUNT] = {[QUEUE_WAITING] = "waiting",
                                                        [QUEUE_RUNNING] = "running",
                                                        [QUEUE_FAILED] = "failed"};
    for (size_t i = 0; i < QUEUE_PART_COUNT; i++)
        if (words[i] && !strcmp(words[i], word)) {
            *out = (enum queue_part)i;
            return true;
        }
    return false;
}

/* Move the entries of `more` behind those of `list`. */
static int append(struct store_queue_list *list, struct store_queue_list *more,
                  struct err *e)
{
    size_t capacity = list->count;
    if (mem_grow(&list->entries, &capacity, list->count + more->count,
                 sizeof *list->entries))
        return err_set(e, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < more->count; i++)
        list->entries[list->count++] = more->entries[i];
    more->count = 0;
    return 0;
}

static int list_alive(struct store *s, int64_t now_ms, int64_t limit,
                      struct store_queue_list *out, struct err *e)
{
    struct store_queue_list waiting;
    int status = store_queue_list(s, JOB_PROCESSING, now_ms, limit, out, e);
    if (status || (int64_t)out->count == limit)
        return status;
    status = store_queue_list(s, JOB_PENDING, now_ms, limit - (int64_t)out->count,
                              &waiting, e);
    if (!status && waiting.count)
        status = append(out, &waiting, e);
    store_queue_list_release(&waiting);
    if (status)
        store_queue_list_release(out);
    return status;
}

int queue_part_list(struct store *s, enum queue_part part, int64_t now_ms, int64_t limit,
                    struct store_queue_list *out, struct err *e)
{
    if (part == QUEUE_ALIVE)
        return list_alive(s, now_ms, limit, out, e);
    return store_queue_list(s,
                            part == QUEUE_WAITING   ? JOB_PENDING
                            : part == QUEUE_RUNNING ? JOB_PROCESSING
                                                    : JOB_FAILED,
                            now_ms, limit, out, e);
}

static json_t *entries_json(const struct store_queue_list *list,
                            const struct stranded *st, int64_t now_ms)
{
    json_t *jobs = json_array();
    for (size_t i = 0; i < list->count; i++)
        (void)json_array_append_new(jobs,
                                    queue_entry_json(&list->entries[i], st, now_ms));
    return jobs;
}

int queue_report(struct store *s, enum queue_part part, int64_t limit, int64_t at_once,
                 json_t **out, struct err *e)
{
    struct store_queue_figures figures;
    struct store_queue_list list = {0};
    struct stranded st = {0};
    int64_t now_ms = clock_now_ms();
    int status = store_queue_figures(s, now_ms, &figures, e);
    if (!status)
        status = stranded_look(s, &st, e);
    if (!status)
        status = queue_part_list(s, part, now_ms, limit, &list, e);
    if (!status) {
        *out = queue_figures_json(&figures, &st, at_once, now_ms);
        (void)json_object_set_new(*out, "jobs", entries_json(&list, &st, now_ms));
        store_queue_list_release(&list);
        status = *out ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    }
    stranded_release(&st);
    return status;
}

/* ---- dead letters ---------------------------------------------------------------- */

int queue_each_dead(struct store *s, int64_t before_ms, queue_dead_fn fn, void *arg,
                    struct err *e)
{
    char ids[BATCH][ID_SIZE], after[ID_SIZE] = "";
    size_t count = BATCH;
    int status = 0;
    while (!status && count == BATCH) {
        status = store_queue_dead(s, before_ms, after, ids, BATCH, &count, e);
        for (size_t i = 0; !status && i < count; i++) {
            status = fn(arg, ids[i], e);
            memcpy(after, ids[i], ID_SIZE);
        }
    }
    return status;
}

int queue_purge_dead(struct store *s, int64_t before_ms, queue_dead_fn forget, void *arg,
                     int64_t *count, struct err *e)
{
    char ids[BATCH][ID_SIZE];
    size_t some = BATCH;
    int status = 0;
    *count = 0;
    while (!status && some == BATCH) {
        status = store_queue_purge(s, before_ms, ids, BATCH, &some, e);
        for (size_t i = 0; !status && i < some; i++) {
            ++*count;
            status = forget ? forget(arg, ids[i], e) : 0;
        }
    }
    return status;
}

/* A recording without a row is swept at the latest when a service begins. */
static int remove_recording(void *arg, const char *id, struct err *e)
{
    struct jobs *s = arg;
    if (jobs_remove_recording(s, id, e))
        log_event(LOG_WARNING, id, "the recording of a removed job stays for now: %s",
                  e->message);
    return 0;
}

int jobs_purge_dead(struct jobs *s, int64_t before_ms, int64_t *count, struct err *e)
{
    *count = 0;
    int status = blob_store_writable(s->blobs, e);
    if (!status)
        status = queue_purge_dead(s->store, before_ms, remove_recording, s, count, e);
    if (*count)
        atomic_store(&s->tidy_wanted, true);
    return status;
}
