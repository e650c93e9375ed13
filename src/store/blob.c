#include "store/blob.h"

#include "store/blob_ops.h"

#include <sodium.h>
#include <unistd.h>

/* The only place where an id that comes from elsewhere is let through. */
static int check_id(const char *id, struct err *e)
{
    return id_valid(id) ? 0
                        : err_set(e, ERR_INVALID, "that is not the id of a recording");
}

int blob_name_parse(const char *name, char id[ID_SIZE], const char **rest)
{
    if (strlen(name) < ID_SIZE - 1)
        return 0;
    memcpy(id, name, ID_SIZE - 1);
    id[ID_SIZE - 1] = '\0';
    *rest = name + ID_SIZE - 1;
    return id_valid(id);
}

void blob_store_close(struct blob_store *s)
{
    if (!s)
        return;
    free(s->scratch);
    s->ops->close(s);
}

void blob_store_stop(struct blob_store *s)
{
    if (s && s->ops->stop)
        s->ops->stop(s);
}

void blob_store_wipe(struct blob_store *s)
{
    s->wipe = !s->remote;
}

const char *blob_store_scratch(const struct blob_store *s)
{
    return s->scratch;
}

const char *blob_store_name(const struct blob_store *s)
{
    return s->ops->name(s);
}

bool blob_store_is_remote(const struct blob_store *s)
{
    return s->remote;
}

/* ---- writing ----------------------------------------------------------------------- */

static struct blob_writer *writer_new(struct blob_store *s, const char *id)
{
    struct blob_writer *w = s->ops->writer_new();
    if (!w)
        return NULL;
    w->store = s;
    memcpy(w->id, id, ID_SIZE);
    blob_state_init(&w->state);
    return w;
}

static void writer_free(struct blob_writer *w)
{
    w->store->ops->release(w);
    blob_state_release(&w->state);
    free(w);
}

int blob_begin(struct blob_store *s, const char *id, struct blob_writer **out,
               struct err *e)
{
    *out = NULL;
    int status = check_id(id, e);
    if (status)
        return status;
    struct blob_writer *w = writer_new(s, id);
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    status = s->ops->begin(w, e);
    if (status) {
        writer_free(w);
        return status;
    }
    *out = w;
    return 0;
}

/* For those who must see how a recording begins. */
static void look_at_head(struct blob_writer *w, const void *bytes, size_t length)
{
    if (w->bytes != (int64_t)w->head_length || w->head_length == sizeof w->head)
        return;
    size_t room = sizeof w->head - w->head_length, n = length < room ? length : room;
    memcpy(w->head + w->head_length, bytes, n);
    w->head_length += n;
}

int blob_write(struct blob_writer *w, const void *bytes, size_t length, struct err *e)
{
    int status = length ? w->store->ops->write(w, bytes, length, e) : 0;
    if (status)
        return status;
    look_at_head(w, bytes, length);
    w->bytes += (int64_t)length;
    return 0;
}

int blob_finish(struct blob_writer *w, struct blob_info *out, struct err *e)
{
    unsigned char digest[SHA256_DIGEST_SIZE];
    int status = w->store->ops->finish(w, e);
    if (!status) {
        sha256_digest(&w->state.hash, sizeof digest, digest);
        (void)sodium_bin2hex(out->sha256, sizeof out->sha256, digest, sizeof digest);
        out->bytes = w->bytes;
    }
    writer_free(w);
    return status;
}

void blob_abort(struct blob_writer *w)
{
    if (!w)
        return;
    w->store->ops->abort(w);
    writer_free(w);
}

/* ---- several sittings -------------------------------------------------------------- */

static int take_head(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct blob_writer *w = arg;
    size_t room = sizeof w->head - w->head_length, n = length < room ? length : room;
    (void)e;
    memcpy(w->head + w->head_length, bytes, n);
    w->head_length += n;
    return 0;
}

static int resume(struct blob_writer *w, const struct blob_sitting *sitting,
                  struct err *e)
{
    int status = blob_state_parse(&w->state, sitting->state, e);
    if (status)
        return status;
    if (sitting->received > 0 && (!sitting->state || !*sitting->state)) {
        status = blob_state_add_piece(&w->state, e);
        if (status)
            return status;
        w->state.pieces[0].token[0] = '\0';
        w->state.pieces[0].bytes = sitting->received;
        w->state.hashed = false;
    }
    if (w->state.next < sitting->next)
        w->state.next = sitting->next;
    w->kept = true;
    w->note = sitting->note;
    w->arg = sitting->arg;
    w->bytes = blob_state_bytes(&w->state);
    if (w->bytes > 0 && w->bytes < (int64_t)sizeof w->head)
        status = w->store->ops->read_part(w->store, w->id, &w->state, take_head, w, e);
    return status ? status : w->store->ops->resume(w, sitting->clean, e);
}

int blob_resume(struct blob_store *s, const struct blob_sitting *sitting,
                struct blob_writer **out, struct err *e)
{
    *out = NULL;
    int status = check_id(sitting->id, e);
    if (status)
        return status;
    struct blob_writer *w = writer_new(s, sitting->id);
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    status = resume(w, sitting, e);
    if (status) {
        writer_free(w);
        return status;
    }
    *out = w;
    return 0;
}

int blob_sync(struct blob_writer *w, bool all, struct buf *state, int64_t *bytes,
              struct err *e)
{
    int status = w->store->ops->sync(w, all, bytes, e);
    return status ? status : blob_state_print(&w->state, state, e);
}

bool blob_sync_is_due(const struct blob_writer *w)
{
    return w->store->ops->sync_is_due(w);
}

void blob_kept(struct blob_writer *w)
{
    if (w->store->ops->kept)
        w->store->ops->kept(w);
}

int64_t blob_bytes(const struct blob_writer *w)
{
    return w->bytes;
}

size_t blob_head(const struct blob_writer *w, void *out, size_t size)
{
    size_t n = w->head_length < size ? w->head_length : size;
    memcpy(out, w->head, n);
    return n;
}

void blob_pause(struct blob_writer *w)
{
    if (w)
        writer_free(w);
}

int blob_discard(struct blob_store *s, const char *id, const char *text, struct err *e)
{
    struct blob_state state;
    int status = check_id(id, e);
    if (status)
        return status;
    (void)blob_state_parse(&state, text, NULL); /* what it names is found without it */
    status = s->ops->discard(s, id, &state, e);
    blob_state_release(&state);
    return status;
}

/* ---- what is whole ----------------------------------------------------------------- */

static int hash_bytes(void *arg, const void *bytes, size_t length, struct err *e)
{
    (void)e;
    sha256_update(arg, length, bytes);
    return 0;
}

int blob_look(struct blob_store *s, const char *id, struct blob_info *out, struct err *e)
{
    struct sha256_ctx hash;
    unsigned char digest[SHA256_DIGEST_SIZE];
    int status = blob_size(s, id, &out->bytes, e);
    sha256_init(&hash);
    if (!status)
        status = blob_read(s, id, 0, out->bytes, hash_bytes, &hash, e);
    sha256_digest(&hash, sizeof digest, digest);
    (void)sodium_bin2hex(out->sha256, sizeof out->sha256, digest, sizeof digest);
    return status;
}

int blob_size(struct blob_store *s, const char *id, int64_t *bytes, struct err *e)
{
    int status = check_id(id, e);
    return status ? status : s->ops->size(s, id, bytes, e);
}

int blob_read(struct blob_store *s, const char *id, int64_t first, int64_t length,
              blob_data_fn data, void *arg, struct err *e)
{
    int status = check_id(id, e);
    return status ? status : s->ops->read(s, id, first, length, data, arg, e);
}

int blob_open(struct blob_store *s, const char *id, struct err *e)
{
    int status = check_id(id, e);
    return status ? status : s->ops->open(s, id, e);
}

int blob_store_writable(struct blob_store *s, struct err *e)
{
    return s->ops->writable(s, e);
}

int blob_remove(struct blob_store *s, const char *id, struct err *e)
{
    int status = check_id(id, e);
    return status ? status : s->ops->remove(s, id, e);
}

int blob_sweep(struct blob_store *s, int64_t age_ms, blob_wanted_fn wanted, void *arg,
               struct err *e)
{
    return s->ops->sweep(s, age_ms, wanted, arg, e);
}

int blob_store_ready(struct blob_store *s, struct err *e)
{
    return s->ops->ready(s, e);
}

int blob_store_try(struct blob_store *s, struct err *e)
{
    return s->ops->try(s, e);
}
