#include "job/resumable.h"

#include "base/clock.h"
#include "base/log.h"
#include "job/service.h"

#define STATE_MAX (4u << 20)

struct resumable {
    struct jobs *jobs; /* borrowed */
    char id[ID_SIZE];
    struct resumable *next; /* under the list's lock, as is refs */
    int refs;
    pthread_mutex_t lock;      /* guards what follows */
    struct blob_writer *blob;  /* owned; NULL: a newer request has taken it over */
    int64_t epoch;             /* of our claim; 0: none */
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

int resumable_blame_store(int status, struct err *e)
{
    if (status != ERR_CORRUPT)
        return status;
    if (e)
        e->code = ERR_IO;
    return ERR_IO;
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
    int status = jobs_room(s, 0, e);
    if (!status)
        status = resumable_blame_store(store_upload_insert(s->store, u, e), e);
    if (status)
        return status;
    const struct blob_sitting nothing = {.id = u->id};
    status = blob_resume(s->blobs, &nothing, &blob, e); /* whether there is room */
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
    int status = resumable_blame_store(store_upload_get(s->store, id, out, e), e);
    if (status)
        return status;
    if ((!caller || !strcmp(caller, out->caller)) && out->expires_ms > clock_now_ms())
        return 0;
    store_upload_release(out);
    return err_set(e, ERR_NOT_FOUND, "there is no such upload, or it has expired");
}

static int keep_number(void *arg, int next, struct err *e)
{
    const struct resumable *r = arg;
    int status = store_upload_note(r->jobs->store, r->id, r->epoch, next, e);
    return resumable_blame_store(status, e);
}

int resumable_sit(struct jobs *s, const struct store_upload *row, void *arg,
                  int (*note)(void *arg, int next, struct err *e),
                  struct blob_writer **out, struct err *e)
{
    const struct blob_sitting sitting = {.id = row->id,
                                         .state = row->state,
                                         .received = row->received,
                                         .clean = row->clean,
                                         .next = row->next,
                                         .note = note,
                                         .arg = arg};
    int status = blob_resume(s->blobs, &sitting, out, e);
    if (!status && blob_bytes(*out) != row->received) {
        blob_pause(*out);
        *out = NULL;
        status = err_set(e, ERR_CORRUPT,
                         "the upload has lost bytes in the storage: begin it anew");
    }
    return status;
}

static int check_offset(const struct store_upload *row, int64_t offset, struct err *e)
{
    return row->done || row->received == row->length || row->received != offset
               ? err_set(e, ERR_EXISTS, "the upload has %lld bytes by now",
                         (long long)row->received)
               : 0;
}

/* Whoever writes it elsewhere is overtaken by the claim: not before it is known that we
 * are to write. */
static int claim(struct resumable *r, int64_t offset, struct store_upload *row,
                 struct err *e)
{
    struct store *store = r->jobs->store;
    int status = resumable_blame_store(store_upload_get(store, r->id, row, e), e);
    if (status)
        return status;
    status = check_offset(row, offset, e);
    store_upload_release(row);
    if (!status)
        status = resumable_blame_store(store_upload_claim(store, r->id, row, e), e);
    if (status)
        return status;
    r->epoch = row->epoch;
    status = check_offset(row, offset, e);
    if (status)
        store_upload_release(row);
    return status;
}

static int begin(struct resumable *r, int64_t offset, struct err *e)
{
    struct store_upload row;
    int status = claim(r, offset, &row, e);
    if (status)
        return status;
    r->length = row.length;
    r->committed = row.received;
    r->judged = row.received >= JOBS_HEAD_BYTES || resumable_partial(&row);
    status = resumable_sit(r->jobs, &row, r, keep_number, &r->blob, e);
    store_upload_release(&row);
    return status;
}

/* Nothing is written any more by whoever has the claim. */
static void let_go(struct resumable *r)
{
    struct err e;
    if (r->epoch && store_upload_let_go(r->jobs->store, r->id, r->epoch, &e))
        log_event(LOG_WARNING, r->id, "an upload: %s", e.message);
    r->epoch = 0;
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
    int status = begin(r, offset, e);
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
    size_t n = blob_head(r->blob, head, sizeof head);
    r->judged = true;
    return jobs_judge_head(r->jobs, head, n, e);
}

static int taken_over(struct err *e)
{
    return err_set(e, ERR_STATE,
                   "a newer request goes on with this upload: ask with HEAD where it "
                   "stands");
}

/* A row that is there, though not as ours, is another's by now. */
static int judge_refusal(struct resumable *r, int status, struct err *e)
{
    struct store_upload row;
    if (status != ERR_NOT_FOUND || store_upload_get(r->jobs->store, r->id, &row, NULL))
        return status;
    store_upload_release(&row);
    return taken_over(e);
}

/* All of it, or what counts for little more work. */
static int commit(struct resumable *r, bool all, struct err *e)
{
    struct buf state;
    struct store_upload u = {.epoch = r->epoch, .length = r->length};
    if (!r->blob)
        return taken_over(e);
    memcpy(u.id, r->id, ID_SIZE);
    buf_init(&state, STATE_MAX);
    int status = blob_sync(r->blob, all, &state, &u.received, e);
    u.state = state.data;
    u.expires_ms = clock_now_ms() + RESUMABLE_REST_MS;
    if (!status)
        status = resumable_blame_store(store_upload_advance(r->jobs->store, &u, e), e);
    if (!status) {
        r->committed = u.received;
        blob_kept(r->blob);
    }
    buf_release(&state);
    return judge_refusal(r, status, e);
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
    if (!status && !r->whole && blob_sync_is_due(r->blob))
        status = commit(r, false, e);
    return judge_refusal(r, status, e);
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
    int status = commit(r, true, e);
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
    let_go(r);
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
    if (had && !r->whole && commit(r, true, &e))
        log_event(LOG_WARNING, r->id, "an upload: %s", e.message);
    blob_pause(r->blob);
    r->blob = NULL;
    let_go(r);
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
