#include "job/resumable.h"

#include "base/clock.h"
#include "base/log.h"
#include "job/service.h"

#include <errno.h>
#include <unistd.h>

/* Bytes after which what has come is made to count: a client that loses us in the middle
 * of a long request has not sent all of it in vain. */
#define COMMIT_BYTES (INT64_C(8) << 20)
#define PRUNE_BATCH  100
#define JOIN_BLOCK   (256u << 10)

struct resumable {
    struct jobs *jobs; /* borrowed */
    char id[ID_SIZE];
    struct resumable *next; /* under the list's lock, as is refs */
    int refs;
    pthread_mutex_t lock;      /* guards what follows */
    struct blob_writer *blob;  /* owned; NULL: a newer request has taken it over */
    int64_t length, committed; /* length -1: not known */
    bool whole, judged;
};

struct resumable_list {
    pthread_mutex_t lock; /* held for moments */
    struct resumable *first;
};

int resumable_list_new(struct resumable_list **out, struct err *e)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&(*out)->lock, NULL);
    return 0;
}

void resumable_list_free(struct resumable_list *l)
{
    if (l)
        pthread_mutex_destroy(&l->lock);
    free(l);
}

static void list_add(struct resumable *r)
{
    struct resumable_list *l = r->jobs->written;
    pthread_mutex_lock(&l->lock);
    r->next = l->first;
    l->first = r;
    pthread_mutex_unlock(&l->lock);
}

static void list_remove(struct resumable *r)
{
    struct resumable_list *l = r->jobs->written;
    pthread_mutex_lock(&l->lock);
    struct resumable **at = &l->first;
    while (*at && *at != r)
        at = &(*at)->next;
    if (*at)
        *at = r->next;
    pthread_mutex_unlock(&l->lock);
}

static void unref(struct resumable *r)
{
    struct resumable_list *l = r->jobs->written;
    pthread_mutex_lock(&l->lock);
    bool last = --r->refs == 0;
    pthread_mutex_unlock(&l->lock);
    if (!last)
        return;
    blob_pause(r->blob);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static int64_t max_bytes(const struct jobs *s)
{
    return s->config->max_file_size_mb * 1048576;
}

static int too_large(const struct jobs *s, struct err *e)
{
    return err_set(e, ERR_TOO_LARGE, "the file is larger than %lld MB, the limit here",
                   (long long)s->config->max_file_size_mb);
}

int resumable_create(struct jobs *s, struct store_upload *u, struct err *e)
{
    struct blob_writer *blob;
    if (u->length > max_bytes(s))
        return too_large(s, e);
    id_new(u->id);
    u->created_ms = clock_now_ms();
    u->expires_ms = u->created_ms + RESUMABLE_REST_MS;
    /* The row first: a part without one is swept. */
    int status = store_room(s->store, e);
    if (!status)
        status = store_upload_insert(s->store, u, e);
    if (status)
        return status;
    status = blob_resume(s->blobs, u->id, true, &blob, e);
    if (status)
        (void)store_upload_remove(s->store, u->id, NULL);
    else
        blob_pause(blob);
    return status;
}

int resumable_get(struct jobs *s, const char *caller, const char *id,
                  struct store_upload *out, struct err *e)
{
    if (!id_valid(id))
        return err_set(e, ERR_NOT_FOUND, "there is no upload of that name");
    int status = store_upload_get(s->store, id, out, e);
    if (status)
        return status;
    if ((!caller || !strcmp(caller, out->caller)) && out->expires_ms > clock_now_ms())
        return 0;
    store_upload_release(out);
    return err_set(e, ERR_NOT_FOUND, "there is no such upload, or it has expired");
}

/* The row as it is now that nobody else can change it. */
static int begin(struct resumable *r, int64_t offset, struct err *e)
{
    struct store_upload row;
    int status = store_upload_get(r->jobs->store, r->id, &row, e);
    if (status)
        return status;
    if (row.done || row.received == row.length || row.received != offset)
        status = err_set(e, ERR_EXISTS, "the upload has %lld bytes by now",
                         (long long)row.received);
    r->length = row.length;
    r->committed = row.received;
    r->judged = row.received >= JOBS_HEAD_BYTES || resumable_partial(&row);
    store_upload_release(&row);
    return status ? status : blob_cut(r->blob, offset, e);
}

int resumable_open(struct jobs *s, const char *id, int64_t offset, bool whole,
                   struct resumable **out, struct err *e)
{
    *out = NULL;
    struct resumable *r = calloc(1, sizeof *r);
    if (!r) {
        (void)err_set(e, ERR_NOMEM, "out of memory");
        return ERR_NOMEM;
    }
    r->jobs = s;
    r->refs = 1;
    r->whole = whole;
    pthread_mutex_init(&r->lock, NULL);
    memcpy(r->id, id, ID_SIZE);
    int status = blob_resume(s->blobs, id, false, &r->blob, e);
    if (!status)
        status = begin(r, offset, e);
    if (status) {
        resumable_close(r);
        return status;
    }
    list_add(r);
    *out = r;
    return 0;
}

static int set_length(struct resumable *r, int64_t length, struct err *e)
{
    if (r->length >= 0 && r->length != length)
        return err_set(e, ERR_INVALID, "the length of an upload does not change");
    if (length < r->committed)
        return err_set(e, ERR_INVALID, "the upload is longer than that already");
    if (length > max_bytes(r->jobs))
        return too_large(r->jobs, e);
    r->length = length;
    return 0;
}

int resumable_set_length(struct resumable *r, int64_t length, struct err *e)
{
    pthread_mutex_lock(&r->lock);
    int status = set_length(r, length, e);
    pthread_mutex_unlock(&r->lock);
    return status;
}

/* Turned away as soon as it shows, before the rest has come. */
static int judge(struct resumable *r, struct err *e)
{
    uint8_t head[JOBS_HEAD_BYTES];
    bool complete = r->length >= 0 && blob_bytes(r->blob) == r->length;
    if (r->judged || (blob_bytes(r->blob) < JOBS_HEAD_BYTES && !complete))
        return 0;
    int n = blob_head(r->blob, head, sizeof head, e);
    if (n < 0)
        return n;
    r->judged = true;
    return jobs_judge_head(r->jobs, head, (size_t)n, e);
}

static int taken_over(struct err *e)
{
    return err_set(e, ERR_STATE,
                   "a newer request goes on with this upload: ask with HEAD where it "
                   "stands");
}

static int commit(struct resumable *r, struct err *e)
{
    if (!r->blob)
        return taken_over(e);
    int64_t bytes = blob_bytes(r->blob);
    int status = blob_sync(r->blob, e);
    if (!status)
        status = store_upload_advance(r->jobs->store, r->id, r->length, bytes,
                                      clock_now_ms() + RESUMABLE_REST_MS, e);
    if (!status)
        r->committed = bytes;
    return status;
}

static int write_bytes(struct resumable *r, const void *bytes, size_t length,
                       struct err *e)
{
    if (!r->blob)
        return taken_over(e);
    int64_t most = r->length >= 0 ? r->length : max_bytes(r->jobs);
    if ((int64_t)length > most - blob_bytes(r->blob))
        return r->length >= 0
                   ? err_set(e, ERR_TOO_LARGE,
                             "the request has more bytes than the upload lacks")
                   : too_large(r->jobs, e);
    int status = blob_write(r->blob, bytes, length, e);
    if (!status)
        status = judge(r, e);
    if (!status && !r->whole && blob_bytes(r->blob) - r->committed >= COMMIT_BYTES)
        status = commit(r, e);
    return status;
}

int resumable_write(struct resumable *r, const void *bytes, size_t length, struct err *e)
{
    pthread_mutex_lock(&r->lock);
    int status = write_bytes(r, bytes, length, e);
    pthread_mutex_unlock(&r->lock);
    return status;
}

int resumable_commit(struct resumable *r, struct err *e)
{
    pthread_mutex_lock(&r->lock);
    int status = commit(r, e);
    pthread_mutex_unlock(&r->lock);
    return status;
}

int64_t resumable_offset(struct resumable *r)
{
    pthread_mutex_lock(&r->lock);
    int64_t offset = r->committed;
    pthread_mutex_unlock(&r->lock);
    return offset;
}

void resumable_close(struct resumable *r)
{
    if (!r)
        return;
    list_remove(r);
    pthread_mutex_lock(&r->lock);
    blob_pause(r->blob); /* at once, though somebody may hold r for a moment */
    r->blob = NULL;
    pthread_mutex_unlock(&r->lock);
    unref(r);
}

static struct resumable *find_written(struct resumable_list *l, const char *id)
{
    pthread_mutex_lock(&l->lock);
    struct resumable *r = l->first;
    while (r && strcmp(r->id, id) != 0)
        r = r->next;
    if (r)
        r->refs++;
    pthread_mutex_unlock(&l->lock);
    return r;
}

static bool take_from(struct resumable *r)
{
    struct err e = {0};
    pthread_mutex_lock(&r->lock);
    bool had = r->blob != NULL;
    if (had && !r->whole && commit(r, &e))
        log_event(LOG_WARNING, r->id, "an upload: %s", e.message);
    blob_pause(r->blob);
    r->blob = NULL;
    pthread_mutex_unlock(&r->lock);
    return had;
}

bool resumable_take_over(struct jobs *s, const char *id)
{
    bool any = false;
    struct resumable *r;
    while ((r = find_written(s->written, id))) {
        any |= take_from(r);
        list_remove(r);
        unref(r);
    }
    return any;
}

/* ---- joining parts ---------------------------------------------------------------- */

bool resumable_partial(const struct store_upload *u)
{
    return !strcmp(u->concat, "partial");
}

/* The length of all, once each is known to be a whole part of the caller's. */
static int check_parts(struct jobs *s, const char *caller, char (*ids)[ID_SIZE],
                       size_t count, int64_t *length, struct err *e)
{
    *length = 0;
    for (size_t i = 0; i < count; i++) {
        struct store_upload part;
        int status = resumable_get(s, caller, ids[i], &part, e);
        if (status)
            return status;
        if (!resumable_partial(&part))
            status = err_set(e, ERR_INVALID, "the upload %s is no partial one", ids[i]);
        else if (part.received != part.length)
            status = err_set(e, ERR_STATE, "the upload %s is not complete", ids[i]);
        *length += part.received; /* 100 times the limit at most */
        store_upload_release(&part);
        if (status)
            return status;
    }
    return 0;
}

static int append_part(struct resumable *r, const char *id, struct err *e)
{
    int fd = blob_open_part(r->jobs->blobs, id, e);
    if (fd < 0)
        return fd;
    char *block = malloc(JOIN_BLOCK);
    int status = block ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    ssize_t n = 0;
    while (!status &&
           ((n = read(fd, block, JOIN_BLOCK)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0)
            status = resumable_write(r, block, (size_t)n, e);
    if (!status && n < 0)
        status = err_errno(e, "cannot read an upload");
    free(block);
    close(fd);
    return status;
}

static int append_all(struct jobs *s, const char *id, char (*ids)[ID_SIZE], size_t count,
                      struct err *e)
{
    struct resumable *r;
    int status = resumable_open(s, id, 0, true, &r, e);
    if (status)
        return status;
    for (size_t i = 0; !status && i < count; i++)
        status = append_part(r, ids[i], e);
    if (!status)
        status = resumable_commit(r, e);
    resumable_close(r);
    return status;
}

int resumable_join(struct jobs *s, const char *caller, struct store_upload *u,
                   char (*ids)[ID_SIZE], size_t count, struct err *e)
{
    int status = check_parts(s, caller, ids, count, &u->length, e);
    if (!status && !u->length)
        status = err_set(e, ERR_INVALID, "the parts are empty");
    if (!status)
        status = resumable_create(s, u, e);
    if (status)
        return status;
    status = append_all(s, u->id, ids, count, e);
    if (status) {
        (void)resumable_remove(s, u->id, NULL);
        return status;
    }
    for (size_t i = 0; i < count; i++) /* the same one may be named twice */
        (void)resumable_remove(s, ids[i], NULL);
    return 0;
}

/* ---- becoming a job --------------------------------------------------------------- */

/* The part becomes the blob, unless that has happened. */
static int settle(struct jobs *s, const struct store_upload *u, struct blob_info *info,
                  struct err *e)
{
    struct blob_writer *blob;
    int status = blob_look(s->blobs, u->id, info, NULL);
    if (status != ERR_NOT_FOUND)
        return status ? err_set(e, status, "an upload cannot be read in the storage") : 0;
    status = blob_resume(s->blobs, u->id, false, &blob, e);
    if (status == ERR_NOT_FOUND) /* another was faster */
        return blob_look(s->blobs, u->id, info, e);
    if (status)
        return status;
    status = blob_cut(blob, u->received, e);
    if (status) {
        blob_pause(blob);
        return status;
    }
    status = blob_finish(blob, info, e);
    return status == ERR_NOT_FOUND ? blob_look(s->blobs, u->id, info, e) : status;
}

int resumable_finish(struct jobs *s, const struct store_upload *u,
                     const struct job_request *request, struct job *out, struct err *e)
{
    struct blob_info info;
    if (u->done)
        return jobs_get(s, u->id, out, e);
    int status = settle(s, u, &info, e);
    if (status)
        return status;
    struct jobs_recording rec = {.id = u->id, .blob = &info};
    status = jobs_record(s, &rec, request, out, e);
    if (status == ERR_EXISTS)
        status = jobs_get(s, u->id, out, e);
    if (!status && store_upload_finish(s->store, u->id, e))
        log_event(LOG_WARNING, u->id, "its upload stays open: %s", e->message);
    return status;
}

int resumable_unfinished(struct jobs *s, char (*ids)[ID_SIZE], size_t max, size_t *count,
                         struct err *e)
{
    return store_upload_find(s->store, STORE_UPLOADS_WHOLE, clock_now_ms(), ids, max,
                             count, e);
}

/* ---- going ------------------------------------------------------------------------ */

int resumable_remove(struct jobs *s, const char *id, struct err *e)
{
    struct blob_writer *blob = NULL;
    struct job job;
    int status = blob_resume(s->blobs, id, false, &blob, e);
    if (status == ERR_STATE)
        return status;
    /* Without a part it is a job, or nearly one; or the disk is too full to open it. */
    status = store_upload_remove(s->store, id, e);
    if (blob)
        blob_abort(blob);
    if (blob || status)
        return status;
    int found = store_get(s->store, id, &job, e);
    if (!found)
        job_release(&job);
    return found == ERR_NOT_FOUND ? blob_remove(s->blobs, id, e) : found;
}

/* How many of a batch went; fewer than it has when some cannot go now. */
static size_t prune_batch(struct jobs *s, bool *more)
{
    char ids[PRUNE_BATCH][ID_SIZE];
    size_t count = 0, gone = 0;
    struct err e = {0};
    if (store_upload_find(s->store, STORE_UPLOADS_EXPIRED, clock_sure_ms(), ids,
                          PRUNE_BATCH, &count, &e))
        log_warning("expired uploads stay for now: %s", e.message);
    for (size_t i = 0; i < count; i++)
        if (!resumable_remove(s, ids[i], &e))
            gone++;
        else if (e.code != ERR_NOT_FOUND)
            log_event(LOG_WARNING, ids[i], "an expired upload stays: %s", e.message);
    *more = gone == PRUNE_BATCH;
    return gone;
}

void resumable_prune(struct jobs *s)
{
    bool more = true;
    size_t gone = 0;
    while (more)
        gone += prune_batch(s, &more);
    if (gone)
        log_info("%zu upload(s) had expired", gone);
}

int resumable_wanted(struct jobs *s, const char *id)
{
    struct store_upload u;
    int status = store_upload_get(s->store, id, &u, NULL);
    if (status)
        return status == ERR_NOT_FOUND ? 0 : status;
    bool wanted = !u.done;
    store_upload_release(&u);
    return wanted;
}
