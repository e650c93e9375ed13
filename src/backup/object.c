#include "backup/object.h"

#include <string.h>

int vault_open(struct vault *v, const struct config *c, const char *where, bool writes,
               struct err *e)
{
    *v = (struct vault){0};
    if (!where)
        where = c->backup_dir;
    if (!where)
        return err_set(e, ERR_INVALID,
                       "BACKUP_DIR is not set: name a folder, or s3://BUCKET/PREFIX");
    int status = seal_open(&v->seal, c->backup_key_file, e);
    if (!status)
        status = depot_open(&v->depot, c, where, writes, e);
    if (status)
        vault_close(v);
    return status;
}

void vault_close(struct vault *v)
{
    depot_close(v->depot);
    seal_close(v->seal);
    *v = (struct vault){0};
}

int vault_go_on(const struct vault *v, struct err *e)
{
    return v->stopped && v->stopped(v->arg) ? err_set(e, ERR_CANCELLED, "interrupted")
                                            : 0;
}

/* ---- writing --------------------------------------------------------------------- */

static int keep_some(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct object_writer *w = arg;
    w->stored += (int64_t)length;
    return depot_write(w->out, bytes, length, e);
}

int object_begin(struct object_writer *w, struct vault *v, const char *name,
                 struct err *e)
{
    *w = (struct object_writer){.vault = v};
    sha256_init(&w->hash);
    int status = depot_begin(v->depot, name, &w->out, e);
    if (!status)
        status = seal_writer_begin(&w->seal, v->seal, keep_some, w, e);
    if (status)
        object_release(w);
    return status;
}

int object_write(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct object_writer *w = arg;
    int status = vault_go_on(w->vault, e);
    sha256_update(&w->hash, length, bytes);
    w->bytes += (int64_t)length;
    return status ? status : seal_write(&w->seal, bytes, length, e);
}

static void finish_hash(struct sha256_ctx *hash, char out[65])
{
    unsigned char digest[SHA256_DIGEST_SIZE];
    sha256_digest(hash, sizeof digest, digest);
    sodium_bin2hex(out, 65, digest, sizeof digest);
}

int object_settle(struct object_writer *w, struct manifest_file *out, struct err *e)
{
    int status = seal_writer_end(&w->seal, e);
    finish_hash(&w->hash, out->sha256);
    out->bytes = w->bytes;
    out->stored = w->stored;
    return status;
}

int object_keep(struct object_writer *w, struct err *e)
{
    struct depot_writer *out = w->out;
    w->out = NULL;
    return depot_finish(out, e);
}

void object_release(struct object_writer *w)
{
    depot_abort(w->out);
    w->out = NULL;
    seal_writer_release(&w->seal);
}

/* ---- reading --------------------------------------------------------------------- */

struct reading {
    const struct vault *vault;
    const struct manifest_file *file;
    struct seal_reader seal;
    struct sha256_ctx hash;
    int64_t bytes;
    depot_data_fn data;
    void *arg;
};

static int take_some(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct reading *r = arg;
    sha256_update(&r->hash, length, bytes);
    r->bytes += (int64_t)length;
    if (r->bytes > r->file->bytes)
        return err_set(e, ERR_CORRUPT, "it is longer than it was");
    return r->data ? r->data(r->arg, bytes, length, e) : 0;
}

static int open_some(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct reading *r = arg;
    int status = vault_go_on(r->vault, e);
    return status ? status : seal_read(&r->seal, bytes, length, e);
}

int object_read(struct vault *v, const struct manifest_file *f, depot_data_fn data,
                void *arg, struct err *e)
{
    char name[80], hash[65];
    struct reading r = {.vault = v, .file = f, .data = data, .arg = arg};
    (void)snprintf(name, sizeof name, "objects/%s", f->object);
    sha256_init(&r.hash);
    int status = seal_reader_begin(&r.seal, v->seal, take_some, &r, e);
    if (!status)
        status = depot_read(v->depot, name, open_some, &r, e);
    if (!status)
        status = seal_reader_end(&r.seal, e);
    seal_reader_release(&r.seal);
    finish_hash(&r.hash, hash);
    if (!status && (r.bytes != f->bytes || strcmp(hash, f->sha256) != 0))
        status = err_set(e, ERR_CORRUPT, "its checksum is another one than it was");
    if (status)
        err_prefix(e, "%s %s (%s)", manifest_role_name(f->role), f->id, name);
    return status;
}
