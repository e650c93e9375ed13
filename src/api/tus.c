#include "api/tus.h"

#include "api/errors.h"
#include "base/log.h"

#include <strings.h>

#define BODY_TYPE "application/offset+octet-stream"

/* One request with a body. */
struct tus {
    struct api *api;         /* borrowed */
    struct store_upload row; /* owned */
    struct resumable *open;  /* owned; NULL: nothing has been written */
    struct tus_checksum sum;
    int64_t length; /* said with this request; -1: not said */
};

/* ---- answers ---------------------------------------------------------------------- */

static void max_size_header(struct http_request *r)
{
    const struct api *api = r->app;
    char text[24];
    (void)snprintf(text, sizeof text, "%lld",
                   (long long)(api->config->max_file_size_mb * 1048576));
    http_response_header(&r->response, "Tus-Max-Size", text);
}

static int refuse(struct http_request *r, const struct err *e)
{
    if (e->code == ERR_TOO_LARGE)
        max_size_header(r);
    if (e->code == ERR_STATE)
        api_error_as(&r->response, 423, "locked", e);
    else if (e->code == ERR_EXISTS)
        api_error_as(&r->response, 409, "offset_conflict", e);
    else if (e->code == ERR_CORRUPT)
        api_error_as(&r->response, 410, "gone", e);
    else
        api_error(&r->response, e);
    return e->code;
}

/* The upload of the path, and whoever has written it until now does so no more. */
static int take_upload(struct http_request *r, struct store_upload *out, struct err *e)
{
    struct api *api = r->app;
    const char *id = http_request_capture(r, "id");
    int status = resumable_get(api->jobs, api_viewer(r), id, out, e);
    if (status || !resumable_take_over(api->jobs, id))
        return status;
    store_upload_release(out);
    return resumable_get(api->jobs, api_viewer(r), id, out, e);
}

static int refuse_as(struct http_request *r, int status, const char *code,
                     const char *sentence)
{
    http_respond_error(&r->response, status, code, "%s", sentence);
    return ERR_INVALID;
}

static bool has_body_type(const struct http_request *r)
{
    const char *type = http_request_header(r, "Content-Type");
    size_t length = strlen(BODY_TYPE);
    return type && !strncasecmp(type, BODY_TYPE, length) &&
           (!type[length] || type[length] == ';' || type[length] == ' ');
}

static int64_t max_bytes(struct http_request *r)
{
    const struct api *api = r->app;
    return api->config->max_file_size_mb * 1048576;
}

static struct tus *begin_state(struct http_request *r)
{
    struct tus *t = calloc(1, sizeof *t);
    if (!t) {
        http_respond_error(&r->response, 503, "out_of_memory",
                           "The server is short of memory; try again later.");
        return NULL;
    }
    t->api = r->app;
    t->length = -1;
    r->state = t;
    return t;
}

/* ---- a body ------------------------------------------------------------------------ */

/* Broken off or refused: what came is not to be sent again, unless it cannot be checked.
 * At once, and not when the answer has been sent, or who hears it would find the upload
 * locked. */
static void let_go(struct tus *t)
{
    struct err e;
    if (!t->open)
        return;
    if (t->sum.kind == TUS_NONE && resumable_commit(t->open, &e) && e.code != ERR_STATE)
        log_event(LOG_WARNING, t->row.id, "an upload: %s", e.message);
    t->row.received = resumable_offset(t->open);
    resumable_close(t->open);
    t->open = NULL;
}

static int open_upload(struct http_request *r)
{
    struct tus *t = r->state;
    struct err e;
    int status = resumable_open(t->api->jobs, t->row.id, t->row.received,
                                t->sum.kind != TUS_NONE, &t->open, &e);
    if (!status && t->length >= 0)
        status = resumable_set_length(t->open, t->length, &e);
    if (!status)
        return 0;
    resumable_close(t->open);
    t->open = NULL;
    tus_state_headers(r, &t->row);
    return refuse(r, &e);
}

/* What may not be sent in this way; negative when it was refused. */
static int begin_data(struct http_request *r)
{
    struct tus *t = r->state;
    if (!has_body_type(r))
        return refuse_as(r, 415, "unsupported",
                         "The bytes of an upload are sent as " BODY_TYPE);
    if (tus_is_complete(&t->row))
        return refuse_as(r, 413, "too_large", "The upload is complete already");
    return open_upload(r);
}

static int data(struct http_request *r, const void *bytes, size_t length)
{
    struct tus *t = r->state;
    struct err e;
    int status = t->open ? 0 : begin_data(r);
    if (status)
        return status;
    tus_checksum_add(&t->sum, bytes, length);
    status = resumable_write(t->open, bytes, length, &e);
    if (!status)
        return 0;
    let_go(t);
    if (status == ERR_NOT_MEDIA || status == ERR_UNSUPPORTED)
        (void)resumable_remove(t->api->jobs, t->row.id, NULL);
    else
        tus_state_headers(r, &t->row);
    return refuse(r, &e);
}

static void done(struct http_request *r)
{
    struct tus *t = r->state;
    if (!t)
        return;
    let_go(t);
    store_upload_release(&t->row);
    free(t);
    r->state = NULL;
}

/* All of the body is here: let it count. */
static int commit(struct http_request *r)
{
    struct tus *t = r->state;
    struct err e;
    if (!t->open)
        return 0;
    int status = 0;
    if (!tus_checksum_fits(&t->sum)) {
        http_respond_error(&r->response, 460, "checksum_mismatch",
                           "The bytes do not have the checksum that Upload-Checksum "
                           "says: send them again");
        status = ERR_INVALID;
    } else if ((status = resumable_commit(t->open, &e))) {
        atomic_store(&t->api->left_over, true); /* it may count all the same */
        (void)refuse(r, &e);
    }
    resumable_close(t->open);
    t->open = NULL;
    return status;
}

/* Answer with where the upload stands now. */
static void answer(struct http_request *r, int http_status)
{
    struct tus *t = r->state;
    struct store_upload now;
    struct err e;
    if (resumable_get(t->api->jobs, NULL, t->row.id, &now, &e)) {
        atomic_store(&t->api->left_over, true);
        (void)refuse(r, &e);
        return;
    }
    int status = tus_is_due(&now) ? tus_finish(t->api, &now, &e) : 0;
    tus_state_headers(r, &now);
    if (status == ERR_NOT_MEDIA || status == ERR_UNSUPPORTED)
        (void)resumable_remove(t->api->jobs, now.id, NULL);
    if (status == ERR_NOT_FOUND) /* its model went meanwhile */
        (void)api_refuse_request(r, &e);
    else if (status)
        (void)refuse(r, &e);
    else
        r->response.status = http_status;
    char location[64];
    if (now.done && http_status == 204) {
        (void)snprintf(location, sizeof location, "/jobs/%s", now.id);
        http_response_header(&r->response, "Location", location);
    }
    store_upload_release(&now);
}

/* ---- POST ---------------------------------------------------------------------------
 */

static int read_length(struct http_request *r, int64_t *length)
{
    int64_t deferred = 0;
    int said = tus_number(r, "Upload-Length", length);
    int later = said < 0 ? 0 : tus_number(r, "Upload-Defer-Length", &deferred);
    if (said < 0 || later < 0)
        return ERR_INVALID;
    if (said == later || (later && deferred != 1))
        return refuse_as(r, 400, "invalid",
                         "Send either Upload-Length or Upload-Defer-Length: 1");
    if (said && *length == 0)
        return refuse_as(r, 400, "empty_file", "The file is empty: choose a recording");
    if (!said)
        *length = -1;
    return 0;
}

/* An upload that is joined from others has all its bytes already. */
static int join_parts(struct http_request *r, const char *concat)
{
    struct tus *t = r->state;
    char ids[RESUMABLE_PARTS_MAX][ID_SIZE];
    struct err e;
    if (http_request_header(r, "Upload-Length"))
        return refuse_as(r, 400, "invalid",
                         "An upload that is joined has the length of its parts: send no "
                         "Upload-Length");
    int status = tus_read_params(r, &t->row.params);
    if (status)
        return status;
    int count = tus_parts(concat, ids, RESUMABLE_PARTS_MAX, &e);
    if (count < 0)
        return refuse(r, &e);
    if (!resumable_join(t->api->jobs, api_viewer(r), &t->row, ids, (size_t)count, &e)) {
        t->row.received = t->row.length;
        return 0;
    }
    if (e.code != ERR_STATE)
        return refuse(r, &e);
    api_error_as(&r->response, 409, "not_complete", &e);
    return e.code;
}

static int create_empty(struct http_request *r)
{
    struct tus *t = r->state;
    struct err e;
    int status = read_length(r, &t->row.length);
    if (!status)
        status = tus_read_params(r, &t->row.params);
    if (!status &&
        tus_checksum_begin(&t->sum, http_request_header(r, "Upload-Checksum"), &e))
        return refuse(r, &e);
    if (!status && resumable_create(t->api->jobs, &t->row, &e))
        return refuse(r, &e);
    return status;
}

static int begin_create(struct http_request *r)
{
    struct tus *t = begin_state(r);
    tus_standard_headers(r);
    if (!t || !tus_check_version(r, true))
        return ERR_INVALID;
    const char *metadata = http_request_header(r, "Upload-Metadata");
    const char *concat = http_request_header(r, "Upload-Concat");
    bool final = concat && !strncmp(concat, "final;", strlen("final;"));
    if (concat && !final && strcmp(concat, "partial") != 0)
        return refuse_as(r, 400, "invalid",
                         "Upload-Concat must be \"partial\", or begin with \"final;\"");
    t->row.caller = strdup(api_owner(r));
    t->row.metadata = strdup(metadata ? metadata : "");
    t->row.concat = strdup(concat ? concat : "");
    if (!t->row.caller || !t->row.metadata || !t->row.concat)
        return refuse_as(r, 503, "out_of_memory", "The server is short of memory");
    return final ? join_parts(r, concat) : create_empty(r);
}

void tus_create(struct http_request *r)
{
    struct tus *t = r->state;
    char location[64];
    (void)snprintf(location, sizeof location, "/uploads/%s", t->row.id);
    http_response_header(&r->response, "Location", location);
    if (!commit(r))
        answer(r, 201);
}

const struct http_body_handler tus_create_body = {
    .max_bytes = max_bytes, .begin = begin_create, .data = data, .done = done};

/* ---- PATCH --------------------------------------------------------------------------
 */

static int begin_patch(struct http_request *r)
{
    struct err e;
    int64_t offset = -1;
    struct tus *t = begin_state(r);
    tus_standard_headers(r);
    if (!t || !tus_check_version(r, true))
        return ERR_INVALID;
    if (!has_body_type(r))
        return refuse_as(r, 415, "unsupported",
                         "The bytes of an upload are sent as " BODY_TYPE);
    if (tus_number(r, "Upload-Offset", &offset) < 0 ||
        tus_number(r, "Upload-Length", &t->length) < 0)
        return ERR_INVALID;
    if (take_upload(r, &t->row, &e))
        return refuse(r, &e);
    if (!strncmp(t->row.concat, "final;", strlen("final;")))
        return refuse_as(r, 403, "denied", "An upload that was joined takes no bytes");
    if (offset != t->row.received) {
        tus_state_headers(r, &t->row);
        return refuse_as(r, offset < 0 ? 400 : 409,
                         offset < 0 ? "invalid" : "offset_conflict",
                         "Upload-Offset must say where the upload stands: ask with HEAD");
    }
    if (tus_checksum_begin(&t->sum, http_request_header(r, "Upload-Checksum"), &e))
        return refuse(r, &e);
    if (tus_is_complete(&t->row))
        return 0;
    if (t->row.length >= 0 && r->content_length > t->row.length - offset)
        return refuse_as(r, 413, "too_large",
                         "The request has more bytes than the upload lacks");
    return open_upload(r);
}

void tus_patch(struct http_request *r)
{
    if (!commit(r))
        answer(r, 204);
}

const struct http_body_handler tus_patch_body = {
    .max_bytes = max_bytes, .begin = begin_patch, .data = data, .done = done};

/* ---- the rest ------------------------------------------------------------------------
 */

void tus_options(struct http_request *r)
{
    tus_standard_headers(r);
    max_size_header(r);
    http_response_header(&r->response, "Tus-Version", "1.0.0");
    http_response_header(&r->response, "Tus-Extension",
                         "creation,creation-with-upload,creation-defer-length,"
                         "concatenation,termination,expiration,checksum");
    http_response_header(&r->response, "Tus-Checksum-Algorithm", "sha1,sha256");
    r->response.status = 204;
}

void tus_get(struct http_request *r)
{
    struct api *api = r->app;
    struct store_upload u;
    struct err e;
    tus_standard_headers(r);
    if (!tus_check_version(r, false))
        return;
    /* HEAD asks where to go on: nothing may come behind that. GET only looks. */
    int status = r->is_head ? take_upload(r, &u, &e)
                            : resumable_get(api->jobs, api_viewer(r),
                                            http_request_capture(r, "id"), &u, &e);
    if (status) {
        (void)refuse(r, &e);
        return;
    }
    if (tus_is_due(&u) && tus_finish(api, &u, &e))
        log_event(LOG_INFO, u.id, "its upload is no job yet: %s", e.message);
    tus_state_headers(r, &u);
    tus_metadata_header(r, u.metadata);
    json_t *length = u.length >= 0 ? json_integer(u.length) : json_null();
    json_t *job = u.done ? json_string(u.id) : json_null();
    char location[64];
    if (u.done) {
        (void)snprintf(location, sizeof location, "/jobs/%s", u.id);
        http_response_header(&r->response, "Location", location);
    }
    http_respond_json(&r->response, 200,
                      json_pack("{s:s, s:I, s:o, s:o}", "id", u.id, "offset",
                                (json_int_t)u.received, "length", length, "job_id", job));
    store_upload_release(&u);
}

void tus_delete(struct http_request *r)
{
    struct api *api = r->app;
    struct store_upload u;
    struct err e;
    tus_standard_headers(r);
    if (!tus_check_version(r, true))
        return;
    int status = take_upload(r, &u, &e);
    if (!status) {
        status = resumable_remove(api->jobs, u.id, &e);
        store_upload_release(&u);
    }
    if (status)
        (void)refuse(r, &e);
    else
        r->response.status = 204;
}
