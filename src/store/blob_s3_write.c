/* Recordings that come into a bucket.
 *
 * What fits into one part is an object at once. What does not is an upload in parts: a
 * part is sent as soon as its buffer is full, so that an upload costs this memory and no
 * more, whatever its length. What several sittings bring ends between parts: the rest is
 * an object of its own until there is enough for another part. The number of a part is
 * kept in the database before it is used, so that a sitting which was overtaken cannot
 * replace a part that counts. */
#include "store/blob_s3.h"

#include "base/mem.h"

#define STORE(s)     ((struct s3_store *)(s))
#define WRITER(w)    ((struct s3_writer *)(w))

#define BUFFER_FIRST ((size_t)64 << 10)
/* 20 GB in parts of the smallest size; then parts that are large enough for a terabyte.
 */
#define SMALL_PARTS 4000
#define LARGE_PART  ((size_t)192 << 20)

static size_t part_size(const struct blob_state *s)
{
    return s->next <= SMALL_PARTS ? S3_PART_MIN : LARGE_PART;
}

static int64_t parts_bytes(const struct blob_writer *w)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < w->state.n_parts; i++)
        bytes += w->state.parts[i].bytes;
    return bytes;
}

struct blob_writer *s3_writer_new(void)
{
    return calloc(1, sizeof(struct s3_writer)); /* which begins with it */
}

void s3_writer_release(struct blob_writer *base)
{
    free(WRITER(base)->buffer);
}

int s3_writer_begin(struct blob_writer *base, struct err *e)
{
    (void)base, (void)e; /* nothing is sent before there is something to send */
    return 0;
}

/* ---- the buffer -------------------------------------------------------------------- */

static int reserve(struct s3_writer *w, size_t wanted, struct err *e)
{
    size_t capacity = w->capacity ? w->capacity : BUFFER_FIRST;
    while (capacity < wanted)
        capacity *= 2;
    size_t most = part_size(&w->base.state);
    if (capacity > most)
        capacity = most > wanted ? most : wanted;
    if (capacity <= w->capacity)
        return 0;
    unsigned char *longer = realloc(w->buffer, capacity);
    if (!longer)
        return err_set(e, ERR_NOMEM, "out of memory");
    w->buffer = longer;
    w->capacity = capacity;
    return 0;
}

/* What the buffer holds becomes a part. */
static int send_part(struct s3_writer *w, struct err *e)
{
    struct s3_store *s = STORE(w->base.store);
    struct blob_state *state = &w->base.state;
    char key[S3_KEY_SIZE], upload_id[S3_UPLOAD_ID_SIZE];
    int status = s3_blob_key(s, w->base.id, key, e);
    if (!status && !state->upload_id) {
        status = s3_upload_begin(s->s3, key, upload_id, e);
        state->upload_id = status ? NULL : strdup(upload_id);
        if (!status && !state->upload_id)
            status = err_set(e, ERR_NOMEM, "out of memory");
    }
    if (!status && (state->next > S3_PARTS_MAX ||
                    mem_grow(&state->parts, &state->parts_capacity, state->n_parts + 1,
                             sizeof *state->parts)))
        status = err_set(e, ERR_TOO_LARGE, "the upload has too many parts");
    struct s3_part part = {.number = state->next++};
    if (!status && w->base.note)
        status = w->base.note(w->base.arg, state->next, e);
    if (!status)
        status =
            s3_upload_part(s->s3, key, state->upload_id, &part, w->buffer, w->fill, e);
    if (status)
        return status;
    state->parts[state->n_parts++] = part;
    sha256_update(&state->hash, w->fill, w->buffer);
    w->fill = 0;
    w->rest_stored = false;
    return 0;
}

/* The piece that the state tells of is not needed by the next one. */
static void retire_rest(struct s3_writer *w)
{
    struct blob_state *state = &w->base.state;
    if (state->n_pieces && w->n_old < ARRAY_LENGTH(w->old))
        w->old[w->n_old++] = state->pieces[0]; /* one too many goes with the sweep */
    state->n_pieces = 0;
}

int s3_writer_write(struct blob_writer *base, const void *bytes, size_t length,
                    struct err *e)
{
    struct s3_writer *w = WRITER(base);
    const unsigned char *from = bytes;
    int status = 0;
    while (!status && length) {
        size_t size = part_size(&base->state);
        /* Only when more comes: the last part may be as large as the others. */
        if (w->fill >= size) {
            status = send_part(w, e);
            if (!status)
                retire_rest(w);
            continue;
        }
        size_t n = size - w->fill < length ? size - w->fill : length;
        status = reserve(w, w->fill + n, e);
        if (status)
            break;
        memcpy(w->buffer + w->fill, from, n);
        w->fill += n;
        w->rest_stored = false;
        from += n;
        length -= n;
    }
    return status;
}

/* ---- several sittings -------------------------------------------------------------- */

static int take_bytes(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct s3_writer *w = arg;
    int status = reserve(w, w->fill + length, e);
    if (status)
        return status;
    memcpy(w->buffer + w->fill, bytes, length);
    w->fill += length;
    return 0;
}

static int read_rest(struct s3_store *s, const char *id, const struct blob_state *state,
                     blob_data_fn data, void *arg, struct err *e)
{
    char key[S3_KEY_SIZE];
    int status = 0;
    for (size_t i = 0; !status && i < state->n_pieces; i++) {
        status = s3_piece_key(s, id, &state->pieces[i], key, e);
        if (!status)
            status = s3_get(s->s3, key, 0, state->pieces[i].bytes, data, arg, e);
    }
    return status;
}

int s3_writer_resume(struct blob_writer *base, bool clean, struct err *e)
{
    struct s3_writer *w = WRITER(base);
    struct blob_state *state = &base->state;
    (void)clean; /* numbers that are used once, and pieces with names of their own */
    if (!state->hashed || state->n_pieces > 1)
        return err_set(e, ERR_CORRUPT, "the upload was begun in a folder: begin it anew");
    int status = read_rest(STORE(base->store), base->id, state, take_bytes, w, e);
    if (!status && state->n_pieces && (int64_t)w->fill != state->pieces[0].bytes)
        status = err_set(e, ERR_CORRUPT,
                         "the upload has lost bytes in the storage: begin it anew");
    w->rest_stored = state->n_pieces > 0;
    w->synced_at = parts_bytes(base);
    return status;
}

static int store_rest(struct s3_writer *w, struct err *e)
{
    struct s3_store *s = STORE(w->base.store);
    struct blob_state *state = &w->base.state;
    char key[S3_KEY_SIZE];
    retire_rest(w);
    if (!w->fill)
        return 0;
    int status = blob_state_add_piece(state, e);
    if (!status)
        status = s3_piece_key(s, w->base.id, &state->pieces[0], key, e);
    if (!status)
        status = s3_put(s->s3, key, w->buffer, w->fill, e);
    if (status) {
        state->n_pieces = 0;
        return status;
    }
    state->pieces[0].bytes = (int64_t)w->fill;
    w->rest_stored = true;
    return 0;
}

int s3_writer_sync(struct blob_writer *base, bool all, int64_t *bytes, struct err *e)
{
    struct s3_writer *w = WRITER(base);
    int status = all && w->fill && !w->rest_stored ? store_rest(w, e) : 0;
    w->synced_at = parts_bytes(base);
    *bytes = blob_state_bytes(&base->state);
    return status;
}

bool s3_writer_sync_is_due(const struct blob_writer *base)
{
    return parts_bytes(base) > ((const struct s3_writer *)base)->synced_at;
}

void s3_writer_kept(struct blob_writer *base)
{
    struct s3_writer *w = WRITER(base);
    struct s3_store *s = STORE(base->store);
    char key[S3_KEY_SIZE];
    for (size_t i = 0; i < w->n_old; i++)
        if (!s3_piece_key(s, base->id, &w->old[i], key, NULL))
            (void)s3_delete(s->s3, key, NULL); /* what stays, the sweep takes */
    w->n_old = 0;
}

/* ---- the end ----------------------------------------------------------------------- */

static int finish_parts(struct s3_writer *w, const char *key, struct err *e)
{
    struct s3_store *s = STORE(w->base.store);
    const struct blob_state *state = &w->base.state;
    int64_t there = 0;
    int status = w->fill ? send_part(w, e) : 0;
    if (!status)
        status = s3_upload_finish(s->s3, key, state->upload_id, state->parts,
                                  state->n_parts, e);
    /* An answer that was lost, or somebody else was faster. */
    if (status == ERR_NOT_FOUND && !s3_size(s->s3, key, &there, NULL) &&
        there == w->base.bytes)
        status = 0;
    return status;
}

int s3_writer_finish(struct blob_writer *base, struct err *e)
{
    struct s3_writer *w = WRITER(base);
    struct s3_store *s = STORE(base->store);
    char key[S3_KEY_SIZE];
    int status = s3_blob_key(s, base->id, key, e);
    if (!status && base->state.upload_id) {
        status = finish_parts(w, key, e);
    } else if (!status) {
        status = s3_put(s->s3, key, w->buffer, w->fill, e);
        sha256_update(&base->state.hash, w->fill, w->fill ? w->buffer : (void *)"");
    }
    if (status && !base->kept)
        s3_writer_abort(base);
    if (!status && base->kept) {
        retire_rest(w);
        s3_writer_kept(base);
    }
    return status;
}

void s3_writer_abort(struct blob_writer *base)
{
    struct s3_store *s = STORE(base->store);
    char key[S3_KEY_SIZE];
    if (base->kept)
        (void)s3_discard(base->store, base->id, &base->state, NULL);
    else if (base->state.upload_id && !s3_blob_key(s, base->id, key, NULL))
        (void)s3_upload_abort(s->s3, key, base->state.upload_id, NULL);
}

/* Parts cannot be read before the upload is finished. */
int s3_read_part(struct blob_store *base, const char *id, const struct blob_state *state,
                 blob_data_fn data, void *arg, struct err *e)
{
    return state->n_parts ? 0 : read_rest(STORE(base), id, state, data, arg, e);
}

static int delete_entry(void *arg, const struct s3_entry *entry, struct err *e)
{
    struct s3_store *s = arg;
    return *entry->upload_id ? s3_upload_abort(s->s3, entry->key, entry->upload_id, e)
                             : s3_delete(s->s3, entry->key, e);
}

int s3_discard(struct blob_store *base, const char *id, const struct blob_state *state,
               struct err *e)
{
    struct s3_store *s = STORE(base);
    const struct blob_piece all = {.token = ""};
    char key[S3_KEY_SIZE];
    int status = s3_blob_key(s, id, key, e);
    if (!status && state->upload_id)
        status = s3_upload_abort(s->s3, key, state->upload_id, e);
    else if (!status) {
        status = s3_list_uploads(s->s3, key, delete_entry, s, e);
        status = status == ERR_UNSUPPORTED ? 0 : status;
    }
    if (!status)
        status = s3_piece_key(s, id, &all, key, e);
    return status ? status : s3_list(s->s3, key, delete_entry, s, e);
}
