/* The way back.
 *
 * All or nothing by one step: recordings come first, under their names, where nothing
 * knows of them yet; then the database takes its place in one rename, or one commit; what
 * the former database knew and this one does not goes last. Killed before that step, what
 * was there is there, and recordings too many, which a service sweeps when it begins.
 * What was there before is put aside first, recordings by a second name (in a bucket by a
 * copy), so that nothing of it is lost whenever we are killed. */
#include "backup/build.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef char blob_id[ID_SIZE];

struct restore {
    const struct config *config; /* borrowed, as are the others */
    const struct restore_wish *wish;
    const struct backup_watch *watch;
    struct vault vault;
    struct manifest manifest;
    struct blob_store *blobs; /* owned */
    const char **ids; /* owned [n_ids]: those of the copy, sorted; borrowed texts */
    size_t n_ids;
    blob_id *there; /* owned [n_there]: recordings, sorted */
    size_t n_there, capacity;
    bool database_there;
    blob_id *made; /* owned [n_made]: those that we brought */
    size_t n_made, made_capacity;
    char aside[PATH_MAX]; /* what the storage is called where former recordings are */
};

/* ---- what is there --------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int note_there(void *arg, const char *id, bool is_part)
{
    struct restore *r = arg;
    if (is_part)
        return 1;
    if (mem_grow(&r->there, &r->capacity, r->n_there + 1, sizeof *r->there))
        return ERR_NOMEM;
    (void)snprintf(r->there[r->n_there++], sizeof *r->there, "%s", id);
    return 1; /* wanted: it stays */
}

const char *backup_storage_folder(const struct config *c)
{
    static const char file[] = "file://";
    if (!c->storage_url)
        return c->storage_dir;
    return strncmp(c->storage_url, file, strlen(file)) ? NULL
                                                       : c->storage_url + strlen(file);
}

/* A dry run makes no folder. */
static int look_at_storage(struct restore *r, struct err *e)
{
    const char *folder = backup_storage_folder(r->config);
    if (folder && r->wish->dry && access(folder, F_OK))
        return 0;
    int status = blob_store_open_as_set(&r->blobs, r->config, 0, e);
    if (!status) {
        int n = blob_sweep(r->blobs, 0, note_there, r, e);
        status = n < 0 ? n : 0;
    }
    if (!status && r->n_there)
        qsort(r->there, r->n_there, sizeof *r->there, by_id);
    return status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int sort_ids(struct restore *r, struct err *e)
{
    r->ids = mem_array(r->manifest.n_files, sizeof *r->ids);
    if (!r->ids)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < r->manifest.n_files; i++)
        r->ids[r->n_ids++] = r->manifest.files[i].id;
    qsort(r->ids, r->n_ids, sizeof *r->ids, by_text);
    return 0;
}

static bool is_in_copy(const struct restore *r, const char *id)
{
    return bsearch(&id, r->ids, r->n_ids, sizeof *r->ids, by_text) != NULL;
}

/* Nothing, or what a restore of this copy had brought when it was killed. */
static bool is_empty(const struct restore *r)
{
    if (r->database_there)
        return false;
    for (size_t i = 0; i < r->n_there; i++)
        if (!is_in_copy(r, r->there[i]))
            return false;
    return true;
}

/* A dry run tells what stands in the way, and goes on. */
static int object(struct restore *r, const struct err *why, struct err *e)
{
    if (!r->wish->dry)
        return err_set(e, why->code, "%s", why->message);
    if (r->watch->warn)
        r->watch->warn(why->message);
    return 0;
}

static int judge_place(struct restore *r, struct err *e)
{
    struct err why = {0};
    int status = rebuild_look(r->config->database_url, &r->database_there, &why);
    if (status == ERR_STATE)
        status = object(r, &why, e);
    else if (status)
        err_set(e, status, "%s", why.message);
    if (!status)
        status = look_at_storage(r, e);
    if (status || is_empty(r) || r->wish->force)
        return status;
    (void)err_set(&why, ERR_EXISTS,
                  "there is %s already, and %zu recording(s): empty the place, name "
                  "another one (DATABASE_URL, STORAGE_DIR), or say --force to put what "
                  "is there aside",
                  r->database_there ? "a database" : "no database", r->n_there);
    return object(r, &why, e);
}

/* ---- aside ----------------------------------------------------------------------- */

static int link_aside(struct restore *r, const char *folder, struct err *e)
{
    char from[PATH_MAX], to[PATH_MAX];
    int n = snprintf(to, sizeof to, "%s/uploads", r->aside);
    int status = n < 0 || (size_t)n >= sizeof to
                     ? err_set(e, ERR_INVALID, "the path of the storage is too long")
                     : fs_mkdirs(to, e);
    for (size_t i = 0; !status && i < r->n_there; i++) {
        int a = snprintf(from, sizeof from, "%s/uploads/%s", folder, r->there[i]);
        int b = snprintf(to, sizeof to, "%s/uploads/%s", r->aside, r->there[i]);
        if (a < 0 || b < 0 || (size_t)a >= sizeof from || (size_t)b >= sizeof to)
            status = err_set(e, ERR_INVALID, "the path of the storage is too long");
        else if (link(from, to))
            status = err_errno(e, "cannot put %s aside", from);
    }
    return status ? status : fs_sync_folder_of(to, e);
}

static int write_blob(void *arg, const void *bytes, size_t length, struct err *e)
{
    return blob_write(arg, bytes, length, e);
}

static int copy_aside(struct restore *r, struct err *e)
{
    struct config other = *r->config; /* borrows all of it */
    struct blob_store *aside = NULL;
    other.storage_url = r->aside;
    int status = blob_store_open_as_set(&aside, &other, 0, e);
    for (size_t i = 0; !status && i < r->n_there; i++) {
        struct blob_writer *w;
        struct blob_info info;
        status = blob_begin(aside, r->there[i], &w, e);
        if (status)
            break;
        status = blob_read(r->blobs, r->there[i], 0, -1, write_blob, w, e);
        if (status)
            blob_abort(w);
        else
            status = blob_finish(w, &info, e);
    }
    blob_store_close(aside);
    return status;
}

static int put_aside(struct restore *r, struct err *e)
{
    const char *folder = backup_storage_folder(r->config);
    if (!r->n_there || is_empty(r))
        return 0;
    int n = snprintf(r->aside, sizeof r->aside, "%s/before-%" PRId64,
                     folder ? folder : r->config->storage_url, clock_wall_ms());
    if (n < 0 || (size_t)n >= sizeof r->aside)
        return err_set(e, ERR_INVALID, "the path of the storage is too long");
    return folder ? link_aside(r, folder, e) : copy_aside(r, e);
}

/* Nothing was changed, so nothing is to be put aside. */
static void remove_aside(struct restore *r)
{
    static const char *const folders[] = {"uploads", "parts", "scratch", ""};
    const char *folder = backup_storage_folder(r->config);
    struct config other = *r->config; /* borrows all of it */
    struct blob_store *aside = NULL;
    char path[PATH_MAX];
    if (!r->aside[0])
        return;
    if (folder) {
        other.storage_url = NULL;
        other.storage_dir = r->aside;
    } else {
        other.storage_url = r->aside;
    }
    if (!blob_store_open_as_set(&aside, &other, 0, NULL))
        for (size_t i = 0; i < r->n_there; i++)
            (void)blob_remove(aside, r->there[i], NULL);
    blob_store_close(aside);
    for (size_t i = 0; folder && i < ARRAY_LENGTH(folders); i++) {
        int n = snprintf(path, sizeof path, "%s/%s", r->aside, folders[i]);
        if (n > 0 && (size_t)n < sizeof path)
            (void)rmdir(path);
    }
}

/* ---- recordings ------------------------------------------------------------------ */

static bool is_there(const struct restore *r, const struct manifest_file *f)
{
    struct blob_info info;
    if (!r->n_there || !bsearch(f->id, r->there, r->n_there, sizeof *r->there, by_id))
        return false;
    return !blob_look(r->blobs, f->id, &info, NULL) && info.bytes == f->bytes &&
           !strcmp(info.sha256, f->sha256);
}

static int bring(struct restore *r, const struct manifest_file *f, struct err *e)
{
    struct blob_writer *w;
    struct blob_info info;
    if (mem_grow(&r->made, &r->made_capacity, r->n_made + 1, sizeof *r->made))
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = blob_remove(r->blobs, f->id, e); /* also half of it */
    if (!status)
        status = blob_begin(r->blobs, f->id, &w, e);
    if (status)
        return status;
    (void)snprintf(r->made[r->n_made++], sizeof *r->made, "%s", f->id);
    status = object_read(&r->vault, f, write_blob, w, e);
    if (status)
        blob_abort(w);
    else
        status = blob_finish(w, &info, e);
    if (!status && strcmp(info.sha256, f->sha256) != 0)
        status =
            err_set(e, ERR_CORRUPT, "the recording %s was damaged on its way", f->id);
    return status;
}

static int bring_all(struct restore *r, struct err *e)
{
    int status = 0;
    for (size_t i = 0; !status && i < r->manifest.n_files; i++) {
        const struct manifest_file *f = &r->manifest.files[i];
        if (f->role == ROLE_RECORDING && !is_there(r, f))
            status = bring(r, f, e);
    }
    return status;
}

/* It has failed: what we brought goes, unless it was there before under that name. */
static void take_back(struct restore *r)
{
    for (size_t i = 0; i < r->n_made; i++)
        if (!r->n_there ||
            !bsearch(r->made[i], r->there, r->n_there, sizeof *r->there, by_id))
            (void)blob_remove(r->blobs, r->made[i], NULL);
}

/* Recordings that only the former database knew. */
static void clear_up(struct restore *r)
{
    struct err e = {0};
    int status = 0;
    for (size_t i = 0; !status && i < r->n_there; i++)
        if (!is_in_copy(r, r->there[i]))
            status = blob_remove(r->blobs, r->there[i], &e);
    if (status && r->watch->warn)
        r->watch->warn(e.message);
}

/* ---- all of it ------------------------------------------------------------------- */

static int rehearse(struct restore *r, struct err *e)
{
    struct rebuild *built = NULL;
    int status = backup_build(&r->vault, r->config, &r->manifest,
                              backup_scratch(r->config), &built, e);
    rebuild_close(built);
    return status ? status : backup_read_recordings(&r->vault, &r->manifest, e);
}

/* The database is built first: from then on no service can start in this place, and take
 * recordings of which it does not know for leftovers. */
static int perform(struct restore *r, struct buf *aside, struct err *e)
{
    struct rebuild *built = NULL;
    int status = backup_build(&r->vault, r->config, &r->manifest, NULL, &built, e);
    if (!status)
        status = put_aside(r, e);
    if (!status)
        status = bring_all(r, e);
    if (!status)
        status = rebuild_commit(built, aside, e);
    if (status && status != ERR_UNSURE) {
        take_back(r);
        remove_aside(r);
    } else if (!status) {
        clear_up(r);
    }
    rebuild_close(built);
    if (!status && r->aside[0])
        buf_printf(aside, "%s%s", aside->length ? " and " : "", r->aside);
    return status;
}

static int run(struct restore *r, struct backup_restored *out, struct err *e)
{
    int status = made_find(&r->vault, r->config, r->wish->from, out->name, e);
    r->vault.stopped = r->watch->stopped;
    r->vault.arg = r->watch->arg;
    if (!status)
        status = made_read(&r->vault, out->name, &r->manifest, NULL, e);
    if (!status)
        status = sort_ids(r, e);
    if (!status)
        status = judge_place(r, e);
    if (!status)
        status = r->wish->dry ? rehearse(r, e) : perform(r, &out->aside, e);
    return status;
}

int backup_restore(const struct config *c, const struct restore_wish *wish,
                   const struct backup_watch *watch, struct backup_restored *out,
                   struct err *e)
{
    struct restore r = {.config = c, .wish = wish, .watch = watch};
    *out = (struct backup_restored){0};
    buf_init(&out->aside, 2 * PATH_MAX);
    int status = run(&r, out, e);
    out->counts = r.manifest.counts;
    out->missing = r.manifest.n_missing;
    for (size_t i = 0; i < r.manifest.n_files; i++)
        out->recordings += r.manifest.files[i].role == ROLE_RECORDING;
    blob_store_close(r.blobs);
    vault_close(&r.vault);
    manifest_release(&r.manifest);
    free(r.ids);
    free(r.there);
    free(r.made);
    return status;
}
