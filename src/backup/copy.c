/* Making a copy.
 *
 * The moment is that of one reading transaction. The recordings that it names never
 * change, so it is enough that they do not go before they are copied: they are held
 * (store/hold.h), first, then comes the moment. The manifest is written last: a copy that
 * was broken off has none, and is no copy. What it has brought already, the next one does
 * not bring again; what no copy needs, the next one removes.
 *
 * A recording that is gone or damaged in the storage though nothing let it go is noted in
 * the manifest, and the copy is made without it: else one bad file would be the end of
 * all copies. */
#include "backup/backup.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEEP_SECONDS 10

/* An object that is there. */
struct known {
    char name[65];
    int64_t bytes;
};

struct copy {
    const struct config *config;      /* borrowed */
    const struct backup_watch *watch; /* borrowed */
    struct vault vault;
    struct blob_store *blobs;  /* owned */
    struct snapshot *snapshot; /* owned */
    struct snapshot_info moment;
    struct manifest manifest;
    struct known *known; /* owned [n_known], by name */
    size_t n_known, capacity;
    int64_t copied_bytes;
    /* Holds the recordings while we read: */
    pthread_t keeper;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool keeping, closing;
    int lapsed; /* under lock: what holding on said when it failed */
    struct err why;
};

/* ---- holding --------------------------------------------------------------------- */

static void *keep(void *arg)
{
    struct copy *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->closing && !c->lapsed) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += KEEP_SECONDS;
        (void)pthread_cond_timedwait(&c->changed, &c->lock, &until);
        if (c->closing)
            break;
        pthread_mutex_unlock(&c->lock);
        struct err e = {0};
        int status = snapshot_hold(c->snapshot, false, &e);
        pthread_mutex_lock(&c->lock);
        c->lapsed = status;
        c->why = e;
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static int start_keeping(struct copy *c, struct err *e)
{
    int status = snapshot_hold(c->snapshot, true, e);
    if (status)
        return status;
    errno = pthread_create(&c->keeper, NULL, keep, c);
    c->keeping = !errno;
    return errno ? err_errno(e, "cannot start a thread") : 0;
}

static void stop_keeping(struct copy *c)
{
    if (!c->keeping)
        return;
    pthread_mutex_lock(&c->lock);
    c->closing = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->keeper, NULL);
    c->keeping = false;
}

/* Whether all has been held until now. */
static int still_held(struct copy *c, struct err *e)
{
    pthread_mutex_lock(&c->lock);
    int status = c->lapsed ? err_set(e, c->why.code, "%s", c->why.message) : 0;
    pthread_mutex_unlock(&c->lock);
    return status;
}

/* ---- what is there already ------------------------------------------------------- */

static int by_object(const void *a, const void *b)
{
    return strcmp(((const struct known *)a)->name, ((const struct known *)b)->name);
}

static int note_known(void *arg, const char *name, int64_t bytes, struct err *e)
{
    struct copy *c = arg;
    if (strlen(name) != 64)
        return 0;
    if (mem_grow(&c->known, &c->capacity, c->n_known + 1, sizeof *c->known))
        return err_set(e, ERR_NOMEM, "out of memory");
    struct known *k = &c->known[c->n_known++];
    (void)snprintf(k->name, sizeof k->name, "%s", name);
    k->bytes = bytes;
    return 0;
}

static const struct known *find_known(const struct copy *c, const char *name)
{
    struct known key;
    (void)snprintf(key.name, sizeof key.name, "%s", name);
    return c->n_known ? bsearch(&key, c->known, c->n_known, sizeof key, by_object) : NULL;
}

/* How many bytes an object has whose content has `bytes`. */
static int64_t stored_bytes(const struct copy *c, int64_t bytes)
{
    int64_t chunks = bytes ? (bytes + SEAL_CHUNK - 1) / SEAL_CHUNK : 1;
    return c->vault.seal
               ? bytes + (int64_t)SEAL_HEAD +
                     chunks * (int64_t)crypto_secretstream_xchacha20poly1305_ABYTES
               : bytes;
}

/* Names of encrypted objects depend on the salt: that of the newest copy that our key
 * opens is used again, so that what it has is not copied anew. */
static int take_salt(struct copy *c, struct err *e)
{
    unsigned char salt[SEAL_SALT];
    struct made_list l;
    int status = c->vault.seal ? made_list(&c->vault, &l, e) : 0;
    if (status || !c->vault.seal)
        return status;
    bool found = false;
    for (size_t i = l.count; !found && i > 0; i--) {
        struct manifest m;
        if (made_read(&c->vault, l.copies[i - 1].name, &m, salt, NULL))
            continue;
        manifest_release(&m);
        found = true;
    }
    made_list_release(&l);
    return found ? seal_salt(c->vault.seal, salt, e) : 0;
}

static int look_around(struct copy *c, struct err *e)
{
    int status = depot_tidy(c->vault.depot, e);
    if (!status)
        status = depot_list(c->vault.depot, "objects", note_known, c, e);
    if (!status && c->n_known)
        qsort(c->known, c->n_known, sizeof *c->known, by_object);
    return status ? status : take_salt(c, e);
}

/* ---- recordings ------------------------------------------------------------------ */

static int bring(struct copy *c, const struct snapshot_file *f, struct manifest_file *out,
                 struct err *e)
{
    char name[80];
    struct object_writer w;
    (void)snprintf(name, sizeof name, "objects/%s", out->object);
    int status = object_begin(&w, &c->vault, name, e);
    if (status)
        return status;
    status = blob_read(c->blobs, f->id, 0, -1, object_write, &w, e);
    if (!status)
        status = object_settle(&w, out, e);
    if (!status && (out->bytes != f->bytes || strcmp(out->sha256, f->sha256) != 0))
        status = err_set(e, ERR_CORRUPT,
                         "the recording %s is not what was uploaded any more", f->id);
    if (!status)
        status = object_keep(&w, e);
    object_release(&w);
    c->copied_bytes += status ? 0 : f->bytes;
    return status;
}

static int copy_recording(struct copy *c, const struct snapshot_file *f, struct err *e)
{
    struct err why = {0};
    struct manifest_file out = {.role = ROLE_RECORDING, .bytes = f->bytes};
    (void)snprintf(out.id, sizeof out.id, "%s", f->id);
    (void)snprintf(out.sha256, sizeof out.sha256, "%s", f->sha256);
    (void)snprintf(out.object, sizeof out.object, "%s", f->sha256);
    if (c->vault.seal)
        seal_name(c->vault.seal, f->sha256, out.object);
    out.stored = stored_bytes(c, f->bytes);
    const struct known *k = find_known(c, out.object);
    int status = k && k->bytes == out.stored ? 0 : bring(c, f, &out, &why);
    if (!status)
        return manifest_add(&c->manifest, &out, e);
    if (status != ERR_NOT_FOUND && status != ERR_CORRUPT)
        return err_set(e, status, "%s", why.message);
    /* It went because it was not held for long enough: then all of this is void. */
    status = still_held(c, e);
    if (status)
        return status;
    if (c->watch->warn)
        c->watch->warn(why.message);
    return manifest_miss(&c->manifest, f->id, e);
}

static int copy_recordings(struct copy *c, struct err *e)
{
    int status = 0;
    for (size_t i = 0; !status && i < c->moment.n_files; i++) {
        status = vault_go_on(&c->vault, e);
        if (!status)
            status = copy_recording(c, &c->moment.files[i], e);
    }
    return status;
}

/* ---- the other files ------------------------------------------------------------- */

/* Under a name of chance: its content is never the same twice. */
static int begin_other(struct copy *c, struct manifest_file *f, struct object_writer *w,
                       struct err *e)
{
    unsigned char chance[32];
    char name[80];
    randombytes_buf(chance, sizeof chance);
    sodium_bin2hex(f->object, sizeof f->object, chance, sizeof chance);
    (void)snprintf(name, sizeof name, "objects/%s", f->object);
    return object_begin(w, &c->vault, name, e);
}

static int end_other(struct copy *c, struct manifest_file *f, struct object_writer *w,
                     int status, struct err *e)
{
    if (!status)
        status = object_settle(w, f, e);
    if (!status)
        status = object_keep(w, e);
    object_release(w);
    c->copied_bytes += status ? 0 : f->bytes;
    return status ? status : manifest_add(&c->manifest, f, e);
}

static int copy_database(struct copy *c, struct err *e)
{
    struct manifest_file f = {.role = ROLE_DATABASE};
    struct object_writer w;
    int status = begin_other(c, &f, &w, e);
    if (status)
        return status;
    status =
        snapshot_pour(c->snapshot, blob_store_scratch(c->blobs), object_write, &w, e);
    return end_other(c, &f, &w, status, e);
}

static int copy_settings(struct copy *c, const char *path, struct err *e)
{
    struct manifest_file f = {.role = ROLE_SETTINGS};
    struct object_writer w;
    struct buf text;
    buf_init(&text, 1u << 20);
    int status = fs_read(path, &text, e);
    if (!status)
        status = begin_other(c, &f, &w, e);
    if (!status) {
        status = object_write(&w, buf_cstr(&text), text.length, e);
        status = end_other(c, &f, &w, status, e);
    }
    buf_release(&text);
    return status;
}

/* ---- all of it ------------------------------------------------------------------- */

static int take_moment(struct copy *c, struct err *e)
{
    int status = start_keeping(c, e);
    if (!status)
        status = snapshot_take(c->snapshot, &c->moment, e);
    c->manifest.schema = c->moment.schema;
    c->manifest.time_ms = c->moment.time_ms;
    c->manifest.counts = c->moment.counts;
    (void)snprintf(c->manifest.version, sizeof c->manifest.version, "%s", WT_VERSION);
    (void)snprintf(c->manifest.kind, sizeof c->manifest.kind, "%s",
                   c->moment.kind ? c->moment.kind : "");
    return status;
}

static int fill(struct copy *c, const char *settings, struct err *e)
{
    int status = look_around(c, e);
    if (!status)
        status = take_moment(c, e);
    if (!status)
        status = copy_recordings(c, e);
    if (!status)
        status = copy_database(c, e);
    if (!status && settings)
        status = copy_settings(c, settings, e);
    if (!status)
        status = still_held(c, e);
    return status;
}

static void tell(const struct copy *c, struct backup_result *out)
{
    out->counts = c->moment.counts;
    out->missing = c->manifest.n_missing;
    out->recordings = c->moment.n_files - c->manifest.n_missing;
    out->bytes = manifest_bytes(&c->manifest);
    out->copied_bytes = c->copied_bytes;
}

static int make(struct copy *c, const char *settings, struct backup_result *out,
                struct err *e)
{
    int status = vault_open(&c->vault, c->config, NULL, true, e);
    c->vault.stopped = c->watch->stopped;
    c->vault.arg = c->watch->arg;
    if (!status)
        status = snapshot_open(&c->snapshot, c->config->database_url, e);
    if (!status)
        status = blob_store_open_as_set(&c->blobs, c->config, 0, e);
    if (!status)
        status = fill(c, settings, e);
    stop_keeping(c);
    if (!status) {
        made_name(c->moment.time_ms, out->name);
        status = made_write(&c->vault, out->name, &c->manifest, e);
    }
    if (c->snapshot)
        snapshot_let_go(c->snapshot);
    if (!status) {
        tell(c, out);
        status = backup_retain(&c->vault, c->config->backup_retention_days, out->name,
                               &out->removed, c->watch, e);
    }
    return status;
}

int backup_make(const struct config *config, const char *settings,
                const struct backup_watch *watch, struct backup_result *out,
                struct err *e)
{
    struct copy c = {.config = config, .watch = watch};
    *out = (struct backup_result){0};
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.changed, NULL);
    int status = make(&c, settings, out, e);
    snapshot_info_release(&c.moment);
    snapshot_close(c.snapshot);
    blob_store_close(c.blobs);
    vault_close(&c.vault);
    manifest_release(&c.manifest);
    free(c.known);
    pthread_cond_destroy(&c.changed);
    pthread_mutex_destroy(&c.lock);
    if (config->backup_dir && status != ERR_STATE && status != ERR_CANCELLED)
        backup_note(config, status || out->missing ? BACKUP_FAILED : BACKUP_MADE,
                    out->bytes);
    return status;
}

const char *backup_scratch(const struct config *c)
{
    const char *tmp = getenv("TMPDIR");
    return c->scratch_dir ? c->scratch_dir : tmp && *tmp ? tmp : "/var/tmp";
}
