/* POST /transcribe: files go to disk as they come, and whatever is known to be wrong with
 * the request is said at once, before the rest of it has been sent. Fields may stand
 * behind the files, so the whole is judged again at the end. */
#include "api/api.h"
#include "api/errors.h"
#include "api/extras.h"
#include "api/misspelt.h"
#include "api/options.h"
#include "api/present.h"
#include "api/refusals.h"

#include "base/json_text.h"
#include "base/log.h"
#include "base/mem.h"

#define MAX_FILES   100
#define KEY_MAX     255
#define KEY_OF_MANY (KEY_MAX + 16)

/* One file of the form. What is wrong with it is kept until the others have come. */
struct part {
    struct upload *upload; /* owned until it is submitted; NULL: refused */
    char *filename;        /* owned; NULL: that of the URL */
    bool by_url;           /* instead of a file: the recording is fetched */
    bool empty;            /* no byte of the file has come */
    struct err error;
};

struct submission {
    struct api *api; /* borrowed */
    struct api_options options;
    struct api_extras extras;
    struct part *parts; /* owned [n_parts] */
    size_t n_parts, parts_capacity;
    const char *key; /* of the request's header; borrowed; NULL: none is taken */
};

static int64_t max_file_bytes(struct http_request *r)
{
    const struct api *api = r->app;
    return api->config->max_file_size_mb * 1048576;
}

/* What is wrong with a request, as opposed to its file. */
int api_refuse_request(struct http_request *r, const struct err *e)
{
    if (e->code == ERR_NOT_FOUND)
        (void)api_refuse_model(r, 400, e);
    else if (e->code == ERR_DENIED)
        api_error_as(&r->response, 400, "forbidden_address", e);
    else if (e->code == ERR_UNSUPPORTED)
        api_error_as(&r->response, 422, "unsupported_option", e);
    else if (e->code == ERR_TOO_LARGE)
        api_error_as(&r->response, 422, "too_large", e);
    else
        api_error(&r->response, e);
    return e->code;
}

/* Fill a request, all but its file; *json is owned by the caller and must outlive it. */
static int make_request(const struct http_request *r, struct job_request *out,
                        char **json)
{
    struct submission *s = r->state;
    *json = s->options.rest ? json_text(s->options.rest, JSON_COMPACT | JSON_SORT_KEYS)
                            : NULL;
    if (s->options.rest && !*json)
        return ERR_NOMEM;
    *out = (struct job_request){.caller = api_owner(r),
                                .webhook = api_extras_webhook(&s->extras),
                                .model = s->options.model,
                                .language = s->options.language,
                                .task = s->options.task,
                                .options_json = *json,
                                .priority = s->options.priority,
                                .retain_days = s->options.retain_days};
    return 0;
}

/* Judge what has come so far. */
static int check(struct http_request *r)
{
    struct submission *s = r->state;
    struct job_request request;
    struct err e;
    char *json;
    if (make_request(r, &request, &json))
        return api_out_of_memory(r);
    int status = jobs_check(s->api->jobs, &request, &e);
    if (!status && s->extras.url)
        status = jobs_check_url(s->api->jobs, s->extras.url, &e);
    free(json);
    return status ? api_refuse_request(r, &e) : 0;
}

static bool key_valid(const char *key)
{
    size_t length = 0;
    for (; key[length]; length++)
        if (key[length] < 0x20 || key[length] > 0x7E || length >= KEY_MAX)
            return false;
    return length > 0;
}

/* The key is taken until the request is over. */
static int take_key(struct http_request *r)
{
    struct submission *s = r->state;
    struct err e;
    const char *key = http_request_header(r, "Idempotency-Key");
    if (!key)
        return 0;
    if (!key_valid(key)) {
        http_respond_error(&r->response, 400, "invalid",
                           "Idempotency-Key must be 1 to %d printable characters of "
                           "ASCII",
                           KEY_MAX);
        return ERR_INVALID;
    }
    int status = jobs_key_take(s->api->jobs, api_owner(r), key, &e);
    if (!status) {
        s->key = key;
        return 0;
    }
    http_response_header(&r->response, "Retry-After", "1");
    if (status == ERR_STATE)
        api_error_as(&r->response, 409, "request_in_progress", &e);
    else
        api_error(&r->response, &e);
    return status;
}

static int begin(struct http_request *r)
{
    struct submission *s = calloc(1, sizeof *s);
    if (!s)
        return api_out_of_memory(r);
    r->state = s;
    s->api = r->app;
    struct err e;
    if (api_misspelt_any(&r->query, &e) ||
        api_options_set_all(&s->options, &r->query, &e) ||
        api_extras_set_all(&s->extras, &r->query, &e))
        return api_refuse_request(r, &e);
    int status = check(r);
    if (!status)
        status = api_refuse_full(r);
    return status ? status : take_key(r);
}

/* Before the answer is sent: who has got it may come again at once. */
static void leave_key(struct http_request *r)
{
    struct submission *s = r->state;
    if (s->key)
        jobs_key_leave(s->api->jobs, api_owner(r), s->key);
    s->key = NULL;
}

/* What a callback answers to the form. */
static int outcome(struct http_request *r, int status)
{
    if (status)
        leave_key(r);
    return status;
}

static int field(struct http_request *r, const char *name, const char *value)
{
    struct submission *s = r->state;
    struct err e;
    if (api_misspelt(name, &e) || api_options_set(&s->options, name, value, &e) ||
        api_extras_set(&s->extras, name, value, &e))
        return outcome(r, api_refuse_request(r, &e));
    /* Behind the file there is nothing left to save; the end is near. */
    return outcome(r, s->n_parts ? 0 : check(r));
}

/* One bad file does not lose the others: it is heard to its end and forgotten. What
 * would befall the others as well ends the request. */
static int give_up(struct http_request *r, struct part *p, const struct err *e)
{
    static const int of_the_file[] = {ERR_INVALID, ERR_NOT_MEDIA, ERR_UNSUPPORTED};
    upload_abort(p->upload);
    p->upload = NULL;
    p->error = *e;
    for (size_t i = 0; i < ARRAY_LENGTH(of_the_file); i++)
        if (e->code == of_the_file[i])
            return 0;
    return outcome(r, api_refuse_file(r, e));
}

static struct part *last_part(const struct http_request *r)
{
    const struct submission *s = r->state;
    return &s->parts[s->n_parts - 1];
}

static int refuse_both(struct http_request *r)
{
    http_respond_error(&r->response, 400, "invalid",
                       "The form has both a file and a url: send one of them");
    return ERR_INVALID;
}

static struct part *add_part(struct submission *s)
{
    if (mem_grow(&s->parts, &s->parts_capacity, s->n_parts + 1, sizeof *s->parts))
        return NULL;
    struct part *p = &s->parts[s->n_parts++];
    *p = (struct part){.empty = true};
    return p;
}

static int file_begin(struct http_request *r, const char *filename)
{
    struct submission *s = r->state;
    struct err e;
    if (s->extras.url)
        return outcome(r, refuse_both(r));
    struct part *p = add_part(s);
    if (!p)
        return outcome(r, api_out_of_memory(r));
    p->filename = strdup(*filename ? filename : "recording");
    if (!p->filename)
        return outcome(r, api_out_of_memory(r));
    int status = upload_begin(s->api->jobs, &p->upload, &e);
    return status ? give_up(r, p, &e) : 0;
}

static int file_data(struct http_request *r, const void *bytes, size_t length)
{
    struct part *p = last_part(r);
    struct err e;
    p->empty = false;
    int status = p->upload ? upload_write(p->upload, bytes, length, &e) : 0;
    return status ? give_up(r, p, &e) : 0;
}

static int file_end(struct http_request *r)
{
    struct part *p = last_part(r);
    struct err e;
    if (!p->empty || !p->upload)
        return 0;
    (void)err_set(&e, ERR_INVALID, "The file is empty: choose a recording");
    return give_up(r, p, &e);
}

static void done(struct http_request *r)
{
    struct submission *s = r->state;
    if (!s)
        return;
    leave_key(r);
    for (size_t i = 0; i < s->n_parts; i++) {
        upload_abort(s->parts[i].upload);
        free(s->parts[i].filename);
    }
    free(s->parts);
    api_options_release(&s->options);
    api_extras_release(&s->extras);
    free(s);
    r->state = NULL;
}

const struct http_form_handler api_transcribe_form = {
    .file_field = "file",
    .max_files = MAX_FILES,
    .max_file_bytes = max_file_bytes,
    .begin = begin,
    .field = field,
    .file_begin = file_begin,
    .file_data = file_data,
    .file_end = file_end,
    .done = done,
};

/* ---- the form is here ---------------------------------------------------------------
 */

/* Make the job of a part; *out is filled on success. What fails is in p->error. */
static int submit(struct http_request *r, size_t index, const struct job_request *common,
                  struct job *out, bool *repeated)
{
    struct submission *s = r->state;
    struct part *p = &s->parts[index];
    struct job_request request = *common;
    char key[KEY_OF_MANY], scope[48];
    *repeated = false;
    if (!p->upload && !p->by_url)
        return p->error.code;
    request.original_filename = p->filename;
    request.repeated = repeated;
    if (s->key) {
        /* No key from outside has this character in it. */
        (void)snprintf(key, sizeof key, index ? "%s\x1F%zu" : "%s", s->key, index);
        (void)snprintf(scope, sizeof scope, "%zu of %zu", index, s->n_parts);
        request.key = key;
        request.key_scope = scope;
    }
    struct upload *upload = p->upload;
    p->upload = NULL; /* taken over in every case */
    int status =
        upload ? jobs_submit(s->api->jobs, upload, &request, out, &p->error)
               : jobs_submit_url(s->api->jobs, s->extras.url, &request, out, &p->error);
    if (status == ERR_STATE && s->key)
        (void)err_set(&p->error, ERR_STATE,
                      "This Idempotency-Key was used for another recording or with "
                      "other parameters: use a new one");
    return status;
}

static void refuse_part(struct http_request *r, const struct part *p)
{
    const struct submission *s = r->state;
    if (p->error.code == ERR_STATE && s->key)
        api_error_as(&r->response, 422, "key_reused", &p->error);
    else if (p->error.code == ERR_INVALID && p->empty && !p->by_url)
        api_error_as(&r->response, 400, "empty_file", &p->error);
    else
        (void)api_refuse_file(r, &p->error);
}

static void accept_one(struct http_request *r, const struct job_request *request)
{
    const struct submission *s = r->state;
    struct job job = {0};
    bool repeated;
    if (submit(r, 0, request, &job, &repeated)) {
        refuse_part(r, &s->parts[0]);
        return;
    }
    char location[64];
    (void)snprintf(location, sizeof location, "/jobs/%s", job.id);
    http_response_header(&r->response, "Location", location);
    if (repeated)
        http_response_header(&r->response, "Idempotency-Replayed", "true");
    http_respond_json(&r->response, repeated ? 200 : 202, present_accepted(&job));
    job_release(&job);
}

/* The answer that the part would have got alone, as an entry of the list. */
static json_t *present_refused(struct http_request *r, const struct part *p)
{
    refuse_part(r, p);
    struct http_response *answer = &r->response;
    json_t *o = json_loadb(answer->body.data, answer->body.length, 0, NULL);
    if (o && (json_object_set_new(o, "filename", json_string(p->filename)) ||
              json_object_set_new(o, "status_code", json_integer(answer->status)))) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

static void accept_many(struct http_request *r, const struct job_request *request)
{
    const struct submission *s = r->state;
    size_t made = 0, again = 0;
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_parts; i++) {
        struct job job = {0};
        bool repeated;
        int status = submit(r, i, request, &job, &repeated);
        if (status == ERR_STATE && i == 0 && s->key) {
            json_decref(list);
            refuse_part(r, &s->parts[0]);
            return;
        }
        json_t *entry =
            status ? present_refused(r, &s->parts[i]) : present_accepted(&job);
        (void)json_array_append_new(list, entry);
        made += !status && !repeated;
        again += !status && repeated;
        job_release(&job);
    }
    if (again && !made)
        http_response_header(&r->response, "Idempotency-Replayed", "true");
    http_respond_json(&r->response,
                      made    ? 202
                      : again ? 200
                              : 422,
                      json_pack("{s:o}", "jobs", list));
}

/* Whether there is something to transcribe. */
static bool has_recording(struct http_request *r)
{
    struct submission *s = r->state;
    if (s->extras.url && s->n_parts) {
        (void)refuse_both(r);
        return false;
    }
    if (s->extras.url) {
        struct part *p = add_part(s);
        if (p)
            p->by_url = true;
        else
            (void)api_out_of_memory(r);
        return p != NULL;
    }
    if (!s->n_parts)
        http_respond_error(
            &r->response, 400, "file_missing",
            "the form has no part named \"file\": send the recording there");
    return s->n_parts > 0;
}

static void submit_all(struct http_request *r)
{
    const struct submission *s = r->state;
    struct job_request request;
    char *json = NULL;
    if (!has_recording(r) || check(r))
        return;
    if (make_request(r, &request, &json))
        (void)api_out_of_memory(r);
    else if (s->n_parts == 1)
        accept_one(r, &request);
    else
        accept_many(r, &request);
    free(json);
}

void api_transcribe(struct http_request *r)
{
    submit_all(r);
    leave_key(r);
}
