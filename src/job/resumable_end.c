/* Resumable uploads: how they end. */
#include "base/clock.h"
#include "base/log.h"
#include "job/resumable.h"
#include "job/service.h"

#define PRUNE_BATCH 100

/* ---- becoming whole ---------------------------------------------------------------- */

struct claimed {
    struct jobs *jobs;
    struct store_upload row; /* owned */
};

static int keep_number(void *arg, int next, struct err *e)
{
    const struct claimed *c = arg;
    int status = store_upload_note(c->jobs->store, c->row.id, c->row.epoch, next, e);
    return resumable_blame_store(status, e);
}

/* The part becomes the blob, unless that has happened. */
static int settle(struct jobs *s, const struct store_upload *u, struct blob_info *info,
                  struct err *e)
{
    struct blob_writer *blob = NULL;
    struct claimed c = {.jobs = s};
    int status = blob_look(s->blobs, u->id, info, NULL);
    if (status != ERR_NOT_FOUND)
        return status ? err_set(e, status, "an upload cannot be read in the storage") : 0;
    status = resumable_blame_store(store_upload_claim(s->store, u->id, &c.row, e), e);
    if (status == ERR_NOT_FOUND) /* another was faster, or it is deleted */
        return blob_look(s->blobs, u->id, info, e);
    if (status)
        return status;
    status = resumable_sit(s, &c.row, &c, keep_number, &blob, e);
    if (!status)
        status = blob_finish(blob, info, e);
    if (status)
        (void)store_upload_let_go(s->store, u->id, c.row.epoch, NULL);
    store_upload_release(&c.row);
    return status == ERR_NOT_FOUND ? blob_look(s->blobs, u->id, info, e) : status;
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

static int append_bytes(void *arg, const void *bytes, size_t length, struct err *e)
{
    return resumable_write(arg, bytes, length, e);
}

/* A part is made whole first: only then can it be read wherever it is stored. */
static int append_part(struct resumable *r, struct jobs *s, const char *id, struct err *e)
{
    struct store_upload part;
    struct blob_info info;
    int status = resumable_blame_store(store_upload_get(s->store, id, &part, e), e);
    if (status)
        return status;
    status = settle(s, &part, &info, e);
    store_upload_release(&part);
    return status ? status : blob_read(s->blobs, id, 0, info.bytes, append_bytes, r, e);
}

static int append_all(struct jobs *s, const char *id, char (*ids)[ID_SIZE], size_t count,
                      struct err *e)
{
    struct resumable *r;
    int status = resumable_open(s, id, 0, true, &r, e);
    if (status)
        return status;
    for (size_t i = 0; !status && i < count; i++)
        status = append_part(r, s, ids[i], e);
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
    status = resumable_blame_store(jobs_record(s, &rec, request, out, e), e);
    if (status == ERR_EXISTS)
        status = resumable_blame_store(jobs_get(s, u->id, out, e), e);
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
    struct store_upload u;
    struct job job;
    int status = store_upload_get(s->store, id, &u, e);
    if (status)
        return status;
    /* The row first: whoever writes is refused from then on, and what that one may leave
     * is swept. */
    status = store_upload_remove(s->store, id, e);
    if (!status && !u.done)
        status = blob_discard(s->blobs, id, u.state, e);
    store_upload_release(&u);
    if (status)
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
