/* Copies in a bucket. An object comes into being with its last byte, by itself. */
#include "backup/depot_ops.h"

#include "base/buf.h"
#include "base/mem.h"
#include "store/bucket.h"

#include <stdlib.h>
#include <string.h>

#define KEY_SIZE 1024
/* Parts grow, so that ten thousand of them are a terabyte. */
#define PART_BYTES ((size_t)8 << 20)
#define LARGE_PART ((size_t)192 << 20)
#define SMALL      4000
#define DEPOT(d)   ((struct s3_depot *)(d))
#define WRITER(w)  ((struct s3_writer *)(w))

struct s3_depot {
    struct depot base;
    struct s3 *s3;             /* owned */
    char prefix[KEY_SIZE / 2]; /* "" or with a slash at its end */
};

struct s3_writer {
    struct depot_writer base;
    char key[KEY_SIZE], upload_id[S3_UPLOAD_ID_SIZE]; /* "": not begun */
    struct buf pending;
    struct s3_part *parts; /* owned [n_parts] */
    size_t n_parts, capacity;
};

static int key_of(char out[KEY_SIZE], const struct depot *d, const char *name,
                  struct err *e)
{
    int n = snprintf(out, KEY_SIZE, "%s%s", DEPOT(d)->prefix, name);
    return n < 0 || n >= KEY_SIZE
               ? err_set(e, ERR_INVALID, "the prefix in BACKUP_DIR is too long")
               : 0;
}

static void close_depot(struct depot *base)
{
    s3_close(DEPOT(base)->s3);
    free(base->name);
    free(base);
}

/* ---- writing --------------------------------------------------------------------- */

static int begin(struct depot *d, const char *name, struct depot_writer **out,
                 struct err *e)
{
    struct s3_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    w->base.depot = d;
    buf_init(&w->pending, LARGE_PART);
    int status = key_of(w->key, d, name, e);
    if (status)
        free(w);
    else
        *out = &w->base;
    return status;
}

static int send_part(struct s3_writer *w, struct err *e)
{
    struct s3 *s3 = DEPOT(w->base.depot)->s3;
    int status = 0;
    if (!w->upload_id[0])
        status = s3_upload_begin(s3, w->key, w->upload_id, e);
    if (!status && w->n_parts >= S3_PARTS_MAX)
        status = err_set(e, ERR_TOO_LARGE, "a file is too large for the bucket");
    if (!status && mem_grow(&w->parts, &w->capacity, w->n_parts + 1, sizeof *w->parts))
        status = err_set(e, ERR_NOMEM, "out of memory");
    if (status)
        return status;
    struct s3_part *part = &w->parts[w->n_parts];
    *part = (struct s3_part){.number = (int)w->n_parts + 1};
    status = s3_upload_part(s3, w->key, w->upload_id, part, buf_cstr(&w->pending),
                            w->pending.length, e);
    w->n_parts += !status;
    buf_reset(&w->pending);
    return status;
}

static int write_some(struct depot_writer *base, const void *bytes, size_t length,
                      struct err *e)
{
    struct s3_writer *w = WRITER(base);
    const char *p = bytes;
    int status = 0;
    while (!status && length) {
        size_t size = w->n_parts < SMALL ? PART_BYTES : LARGE_PART;
        size_t room = size - w->pending.length, n = length < room ? length : room;
        buf_add(&w->pending, p, n);
        if (buf_failed(&w->pending))
            return err_set(e, ERR_NOMEM, "out of memory");
        p += n;
        length -= n;
        if (w->pending.length == size)
            status = send_part(w, e);
    }
    return status;
}

static void release(struct s3_writer *w)
{
    buf_release(&w->pending);
    free(w->parts);
    free(w);
}

static void abort_writer(struct depot_writer *base)
{
    struct s3_writer *w = WRITER(base);
    if (w->upload_id[0])
        (void)s3_upload_abort(DEPOT(base->depot)->s3, w->key, w->upload_id, NULL);
    release(w);
}

static int finish(struct depot_writer *base, struct err *e)
{
    struct s3_writer *w = WRITER(base);
    struct s3 *s3 = DEPOT(base->depot)->s3;
    int status;
    if (!w->upload_id[0]) {
        status = s3_put(s3, w->key, buf_cstr(&w->pending), w->pending.length, e);
    } else {
        status = w->pending.length ? send_part(w, e) : 0;
        if (!status)
            status = s3_upload_finish(s3, w->key, w->upload_id, w->parts, w->n_parts, e);
    }
    if (status)
        abort_writer(base);
    else
        release(w);
    return status;
}

/* ---- reading --------------------------------------------------------------------- */

static int read_all(struct depot *d, const char *name, depot_data_fn data, void *arg,
                    struct err *e)
{
    char key[KEY_SIZE];
    int status = key_of(key, d, name, e);
    return status ? status : s3_get(DEPOT(d)->s3, key, 0, -1, data, arg, e);
}

static int remove_one(struct depot *d, const char *name, struct err *e)
{
    char key[KEY_SIZE];
    int status = key_of(key, d, name, e);
    return status ? status : s3_delete(DEPOT(d)->s3, key, e);
}

struct listing {
    depot_entry_fn fn;
    void *arg;
    size_t skip; /* of every key */
};

static int tell(void *arg, const struct s3_entry *entry, struct err *e)
{
    const struct listing *l = arg;
    const char *name = entry->key + l->skip;
    if (strlen(entry->key) <= l->skip || strchr(name, '/'))
        return 0;
    return l->fn(l->arg, name, entry->bytes, e);
}

static int list(struct depot *d, const char *kind, depot_entry_fn fn, void *arg,
                struct err *e)
{
    char key[KEY_SIZE], folder[32];
    (void)snprintf(folder, sizeof folder, "%s/", kind);
    int status = key_of(key, d, folder, e);
    struct listing l = {fn, arg, strlen(key)};
    return status ? status : s3_list(DEPOT(d)->s3, key, tell, &l, e);
}

static int forget_upload(void *arg, const struct s3_entry *entry, struct err *e)
{
    return s3_upload_abort(arg, entry->key, entry->upload_id, e);
}

static int tidy(struct depot *d, struct err *e)
{
    char key[KEY_SIZE];
    int status = key_of(key, d, "objects/", e);
    if (!status)
        status = s3_list_uploads(DEPOT(d)->s3, key, forget_upload, DEPOT(d)->s3, e);
    return status == ERR_UNSUPPORTED ? 0 : status;
}

static const struct depot_ops ops = {
    .close = close_depot,
    .begin = begin,
    .write = write_some,
    .finish = finish,
    .abort = abort_writer,
    .read = read_all,
    .remove = remove_one,
    .list = list,
    .tidy = tidy,
};

int depot_open_s3(struct depot **out, const struct config *c, const char *url,
                  struct err *e)
{
    struct bucket b = {0};
    struct s3_depot *d = calloc(1, sizeof *d);
    if (!d || !(d->base.name = strdup(url))) {
        free(d);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    d->base.ops = &ops;
    int status = bucket_init(&b, c, url, "BACKUP_DIR", e);
    const char *prefix = b.prefix ? b.prefix + strspn(b.prefix, "/") : "";
    size_t length = strlen(prefix);
    bool bare = length && prefix[length - 1] != '/';
    int n = snprintf(d->prefix, sizeof d->prefix, "%s%s", prefix, bare ? "/" : "");
    if (!status && (n < 0 || (size_t)n >= sizeof d->prefix))
        status = err_set(e, ERR_INVALID, "the prefix in BACKUP_DIR is too long");
    if (!status)
        status = s3_open(&d->s3, &b.options, e);
    if (status)
        close_depot(&d->base);
    else
        *out = &d->base;
    return status;
}
