/* A recording comes in: its bytes, then what is wanted of it. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "format/text.h"
#include "job/detect.h"
#include "job/fetcher.h"
#include "job/jobs.h"
#include "job/model_names.h"
#include "job/models_door.h"
#include "job/options.h"
#include "job/room.h"
#include "job/service.h"
#include "job/supervisor.h"
#include "job/webhooks.h"
#include "media/formats.h"
#include "media/sniff.h"
#include "net/guard.h"
#include "store/share.h"
#include "store/sources.h"
#include "store/webhooks.h"

#include <sodium.h>

#define FILENAME_MAX_BYTES 512
#define KEY_SIZE           (2 * crypto_hash_sha256_BYTES + 1)

struct upload {
    struct jobs *jobs;        /* borrowed */
    char id[ID_SIZE];         /* becomes the job's */
    struct blob_writer *blob; /* owned */
    int64_t bytes;
    uint8_t head[JOBS_HEAD_BYTES]; /* the first bytes */
    size_t head_length;
    bool judged; /* by its head */
};

int upload_begin(struct jobs *s, struct upload **out, struct err *e)
{
    *out = NULL;
    struct upload *u = calloc(1, sizeof *u);
    if (!u)
        return err_set(e, ERR_NOMEM, "out of memory");
    u->jobs = s;
    id_new(u->id);
    int status = jobs_room(s, 0, e);
    if (!status)
        status = blob_begin(s->blobs, u->id, &u->blob, e);
    if (status) {
        free(u);
        return status;
    }
    *out = u;
    return 0;
}

/* The decoder judges a recording; here only what is plainly none is turned away, before
 * the rest of it has come. */
int jobs_judge_head(struct jobs *s, const uint8_t *head, size_t length, struct err *e)
{
    const char *what = sniff_name(head, length);
    if (what)
        return err_set(e, ERR_NOT_MEDIA,
                       "this is %s, not a recording: send audio or video", what);
    const char *allowed = s->config->allowed_formats;
    return formats_admit_head(head, length, allowed && *allowed ? allowed : NULL, e);
}

static int judge_head(struct upload *u, struct err *e)
{
    u->judged = true;
    return jobs_judge_head(u->jobs, u->head, u->head_length, e);
}

static int look_at_head(struct upload *u, const void *bytes, size_t length, struct err *e)
{
    size_t room = JOBS_HEAD_BYTES - u->head_length;
    size_t n = length < room ? length : room;
    memcpy(u->head + u->head_length, bytes, n);
    u->head_length += n;
    return u->head_length == JOBS_HEAD_BYTES ? judge_head(u, e) : 0;
}

int upload_write(struct upload *u, const void *bytes, size_t length, struct err *e)
{
    int64_t megabytes = u->jobs->config->max_file_size_mb;
    if ((int64_t)length > megabytes * 1048576 - u->bytes)
        return err_set(e, ERR_TOO_LARGE,
                       "the file is larger than %lld MB, the limit here",
                       (long long)megabytes);
    int status = u->judged ? 0 : look_at_head(u, bytes, length, e);
    if (!status)
        status = blob_write(u->blob, bytes, length, e);
    if (!status)
        u->bytes += (int64_t)length;
    return status;
}

void upload_abort(struct upload *u)
{
    if (!u)
        return;
    blob_abort(u->blob);
    free(u);
}

/* The caller's name for display: whole UTF-8, no control characters, not endless. */
static char *clean_filename(const char *name)
{
    struct buf b;
    buf_init(&b, FILENAME_MAX_BYTES);
    while (name && *name && b.length < FILENAME_MAX_BYTES - 4) {
        uint32_t c = text_next(&name);
        if (c >= 0x20 && c != 0x7F)
            text_put(&b, c);
    }
    if (!b.length)
        buf_str(&b, "recording");
    char *clean = buf_take(&b);
    buf_release(&b);
    return clean;
}

static int known_model(const struct config *c, const char *asked, char name[64],
                       struct err *e)
{
    char path[PATH_MAX];
    if (!asked || !*asked)
        return catalog_default(c, name, e);
    if (!catalog_name_valid(asked))
        return err_set(e, ERR_INVALID, "that is not the name of a model");
    (void)snprintf(name, 64, "%s", asked);
    int status = catalog_path(c, name, path, e);
    if (status == ERR_NOT_FOUND && !catalog_find(name))
        return err_set(
            e, ERR_INVALID,
            "there is no model \"%s\": use tiny, base, small, medium, large-v3 or "
            "large-v3-turbo",
            name);
    return status;
}

static int known_language(const struct config *c, const char *asked, const char *model,
                          const char **code, struct err *e)
{
    if (!asked || !*asked)
        asked = c->language && *c->language ? c->language : "auto";
    *code = "auto";
    if (!strcmp(asked, "auto"))
        return 0;
    int index = whisper_language_find(asked);
    if (index < 0)
        return err_set(
            e, ERR_INVALID,
            "the language \"%.40s\" is not known: use a code such as en or de, "
            "an English name, or auto",
            asked);
    *code = whisper_language_code(index);
    if (index != 0 && model_name_is_english(model))
        return err_set(e, ERR_INVALID,
                       "the model %s knows only English: choose one without .en for %s",
                       model, whisper_language_name(index));
    return 0;
}

static int known_task(const char *asked, const char *model, const char **task,
                      struct err *e)
{
    *task = asked && *asked ? asked : "transcribe";
    if (!strcmp(*task, "transcribe"))
        return 0;
    if (strcmp(*task, "translate") != 0)
        return err_set(e, ERR_INVALID,
                       "the task \"%.40s\" is not known: use transcribe or translate",
                       asked);
    if (model_name_is_english(model))
        return err_set(e, ERR_INVALID,
                       "the model %s cannot translate: choose one without .en", model);
    return 0;
}

static int check_options(const char *json, struct err *e)
{
    struct job_options options;
    int status = job_options_parse(&options, json, e);
    if (!status)
        job_options_release(&options);
    return status;
}

/* A hash of all that a request asks for: it is the same request only if all is. `source`
 * is the recording's hash or URL. */
static void request_hash(const struct job_request *r, const char *source, char out[65])
{
    static const struct job_webhook none;
    const struct job_webhook *hook = r->webhook ? r->webhook : &none;
    char numbers[48];
    unsigned char hash[32];
    crypto_generichash_state state;
    (void)snprintf(numbers, sizeof numbers, "%d %d %d", r->priority, r->retain_days,
                   hook->with_transcript);
    const char *const parts[] = {source,    r->model,     r->language,
                                 r->task,   numbers,      r->options_json,
                                 hook->url, hook->secret, r->key_scope};
    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        const char *text = parts[i] ? parts[i] : "";
        crypto_generichash_update(&state, (const unsigned char *)text, strlen(text) + 1);
    }
    crypto_generichash_final(&state, hash, sizeof hash);
    sodium_bin2hex(out, 65, hash, sizeof hash);
}

/* What makes two requests the same: caller, recording and parameters, as a digest. */
static void share_key(const struct job *j, const char *sha256, char out[KEY_SIZE])
{
    const char *const parts[] = {j->caller,         sha256,  j->model,
                                 j->language_asked, j->task, j->options};
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state h;
    crypto_hash_sha256_init(&h);
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        const char *part = parts[i] ? parts[i] : "";
        crypto_hash_sha256_update(&h, (const unsigned char *)part, strlen(part) + 1);
    }
    crypto_hash_sha256_final(&h, digest);
    (void)sodium_bin2hex(out, KEY_SIZE, digest, sizeof digest);
}

static int insert(struct jobs *s, const struct job_request *r, const struct job *j,
                  const struct jobs_recording *rec, char first[ID_SIZE], struct err *e)
{
    char request[65], key[KEY_SIZE];
    const char *sha256 = rec->blob ? rec->blob->sha256 : "";
    if (r->key) {
        request_hash(r, rec->blob ? sha256 : rec->url, request);
        struct store_once once = {.caller = r->caller ? r->caller : "",
                                  .key = r->key,
                                  .request = request,
                                  .now_ms = j->created_ms,
                                  .since_ms = clock_sure_ms() - JOB_KEY_HOURS * 3600000};
        return store_insert_once(s->store, j, sha256, &once, first, e);
    }
    if (!r->share || !rec->blob)
        return store_insert(s->store, j, sha256, e);
    share_key(j, sha256, key);
    int status = store_insert_shared(s->store, j, sha256, key,
                                     j->created_ms - JOBS_SHARED_MS, first, e);
    return status ? status : first[0] ? ERR_EXISTS : 0;
}

/* What belongs to a row comes before it, so that nobody finds the job without. */
static int attach(struct jobs *s, const struct jobs_recording *rec,
                  const struct job_webhook *hook, struct err *e)
{
    int status = 0;
    if (hook) {
        struct store_webhook row = {hook->url, hook->secret, hook->with_transcript};
        status = store_webhook_put(s->store, rec->id, &row, e);
    }
    if (!status && !rec->blob)
        status = store_source_put(s->store, rec->id, rec->url, e);
    return status;
}

/* The job did not come about: neither does what belongs to it. Should this fail, the next
 * start does it. */
static void detach(struct jobs *s, const char *id)
{
    (void)store_webhook_drop(s->store, id, NULL);
    (void)store_source_drop(s->store, id, NULL);
}

/* Commit the row and tell of it. `*again`: *out is a job that was made before. */
static int commit(struct jobs *s, const struct job *j, const struct jobs_recording *rec,
                  const struct job_request *r, struct job *out, bool *again,
                  struct err *e)
{
    char first[ID_SIZE] = "";
    int status = job_copy(out, j);
    if (status)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_lock(&s->order);
    status = attach(s, rec, r->webhook, e);
    if (!status)
        status = insert(s, r, j, rec, first, e);
    if (!status)
        jobs_post(s, out);
    else if (status != ERR_UNSURE && (r->webhook || !rec->blob))
        detach(s, rec->id);
    pthread_mutex_unlock(&s->order);
    if (status)
        job_release(out);
    *again = status == ERR_EXISTS && first[0];
    return *again ? store_get(s->store, first, out, e) : status;
}

/* A webhook may be anywhere on the internet, but nowhere near us. */
static int check_webhook(const struct jobs *s, const struct job_webhook *hook,
                         struct err *e)
{
    size_t length = hook->secret ? strlen(hook->secret) : 0;
    if (length && (length < WEBHOOK_SECRET_MIN || length > WEBHOOK_SECRET_MAX))
        return err_set(e, ERR_INVALID,
                       "webhook_secret must have from %d to %d characters",
                       WEBHOOK_SECRET_MIN, WEBHOOK_SECRET_MAX);
    int status = net_guard_url(s->webhook_guard, hook->url, e);
    return status ? err_prefix(e, "webhook_url") : 0;
}

/* What a request comes to once its defaults are filled in. */
struct wanted {
    char model[64];
    const char *language, *task; /* static, or borrowed from the request */
};

/* Whether the memory can hold the model. What else may be wrong with its file the worker
 * says. */
static int check_memory(struct jobs *s, const char *model, const char *options_json,
                        struct err *e)
{
    struct err why;
    int status = room_check(s->config, supervisor_threads(s->supervisor), model,
                            options_json, NULL, &why);
    return status == ERR_TOO_LARGE ? err_set(e, status, "%s", why.message) : 0;
}

static int judge(struct jobs *s, const struct job_request *r, struct wanted *out,
                 struct err *e)
{
    const struct config *c = s->config;
    if (!r->model || !*r->model)
        models_refresh_default(s); /* another service may have chosen a moment ago */
    int status = known_model(c, r->model, out->model, e);
    if (!status)
        status = known_language(c, r->language, out->model, &out->language, e);
    if (!status && r->detect && model_name_is_english(out->model))
        status = err_set(e, ERR_INVALID,
                         "the model %s knows only English and cannot tell languages "
                         "apart: choose one without .en",
                         out->model);
    if (!status)
        status = known_task(r->task, out->model, &out->task, e);
    if (r->detect)
        out->task = JOB_TASK_DETECT;
    if (!status && r->webhook)
        status = check_webhook(s, r->webhook, e);
    if (!status)
        status = check_options(r->options_json, e);
    return status ? status : check_memory(s, out->model, r->options_json, e);
}

int jobs_check(struct jobs *s, const struct job_request *request, struct err *e)
{
    struct wanted wanted;
    return judge(s, request, &wanted, e);
}

int jobs_record(struct jobs *s, const struct jobs_recording *rec,
                const struct job_request *r, struct job *out, struct err *e)
{
    struct wanted wanted;
    bool again = false;
    int status = judge(s, r, &wanted, e);
    if (status)
        return status;
    /* The strings are borrowed: this job is never released. */
    char *name = clean_filename(r->original_filename);
    struct job j = {
        .caller = (char *)(uintptr_t)r->caller,
        .original_filename = name,
        .filename = (char *)(uintptr_t)rec->id,
        .model = wanted.model,
        .language_asked = (char *)(uintptr_t)wanted.language,
        .task = (char *)(uintptr_t)wanted.task,
        .options = r->options_json && *r->options_json
                       ? (char *)(uintptr_t)r->options_json
                       : (char *)(uintptr_t) "{}",
        .message = (char *)(uintptr_t)(rec->blob ? "Waiting" : "Downloading"),
        .file_bytes = rec->blob ? rec->blob->bytes : 0,
        .created_ms = clock_now_ms(),
        .priority = r->priority,
        .retain_days = r->retain_days,
    };
    memcpy(j.id, rec->id, ID_SIZE);
    status = name ? commit(s, &j, rec, r, out, &again, e)
                  : err_set(e, ERR_NOMEM, "out of memory");
    free(name);
    if (r->repeated)
        *r->repeated = again;
    if (status)
        return status;
    if (again) {
        log_event(LOG_INFO, out->id, "asked for once more, it is %s",
                  job_status_name(out->status));
        return 0;
    }
    log_event(LOG_INFO, rec->id, "accepted: %lld bytes, model %s, language %s",
              (long long)out->file_bytes, out->model, out->language_asked);
    if (rec->blob) {
        queue_push(s->queue, rec->id);
        supervisor_wake(s->supervisor);
    } else {
        fetcher_wake(s->fetcher);
    }
    return 0;
}

static int submit(struct upload *u, const struct job_request *r, struct job *out,
                  struct err *e)
{
    struct jobs *s = u->jobs;
    struct wanted wanted;
    int status = judge(s, r, &wanted, e);
    if (!status && !u->bytes)
        status = err_set(e, ERR_INVALID, "the file is empty: send a recording");
    if (!status && !u->judged)
        status = judge_head(u, e);
    if (status)
        return status;
    struct blob_info blob;
    status = blob_finish(u->blob, &blob, e);
    u->blob = NULL;
    if (status)
        return status;
    struct jobs_recording rec = {.id = u->id, .blob = &blob};
    status = jobs_record(s, &rec, r, out, e);
    /* When nobody knows whether the row is there, the recording stays; without a row it
     * goes at the next start. */
    if (status ? status != ERR_UNSURE : strcmp(out->id, u->id) != 0)
        (void)blob_remove(s->blobs, u->id, NULL);
    return status;
}

int jobs_submit(struct jobs *s, struct upload *u, const struct job_request *request,
                struct job *out, struct err *e)
{
    (void)s; /* the upload knows it */
    int status = submit(u, request, out, e);
    upload_abort(u);
    return status;
}

int jobs_check_url(struct jobs *s, const char *url, struct err *e)
{
    if (!s->config->url_fetch)
        return err_set(e, ERR_UNSUPPORTED,
                       "this server does not fetch recordings by URL: send the file, or "
                       "ask its operator to set URL_FETCH=on");
    int status = net_guard_url(s->fetch_guard, url, e);
    return status ? err_prefix(e, "url") : 0;
}

int jobs_submit_url(struct jobs *s, const char *url, const struct job_request *request,
                    struct job *out, struct err *e)
{
    char id[ID_SIZE], name[FILENAME_MAX_BYTES];
    struct job_request named = *request;
    int status = jobs_check_url(s, url, e);
    if (!status)
        status = jobs_room(s, 0, e);
    if (status)
        return status;
    if (!named.original_filename || !*named.original_filename)
        named.original_filename = net_url_filename(url, name, sizeof name);
    struct jobs_recording rec = {.id = id_new(id), .url = url};
    return jobs_record(s, &rec, &named, out, e);
}
