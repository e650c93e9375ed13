/* Which kind of database it is: see snapshot.h and rebuild.h. */
#include "store/snapshot_ops.h"

#include "base/mem.h"
#include "store/hold.h"
#include "store/migrations.h"
#include "store/pg_schema.h"

#define SQLITE_URL "sqlite:///"

static const char *file_of(const char *url)
{
    size_t n = strlen(SQLITE_URL);
    return strncmp(url, SQLITE_URL, n) ? NULL : url + n;
}

int snapshot_newest_schema(const char *kind)
{
    size_t count;
    if (!strcmp(kind, "sqlite")) {
        const struct migration *steps = migrations_all(&count);
        return steps[count - 1].version;
    }
    const struct pg_step *steps = pg_steps(&count);
    return steps[count - 1].version;
}

/* ---- out ------------------------------------------------------------------------- */

int snapshot_open(struct snapshot **out, const char *url, struct err *e)
{
    *out = NULL;
    return file_of(url) ? sqlite_snapshot_open(out, file_of(url), e)
                        : pg_snapshot_open(out, url, e);
}

void snapshot_close(struct snapshot *s)
{
    if (s)
        s->ops->close(s);
}

int snapshot_hold(struct snapshot *s, bool first, struct err *e)
{
    return s->ops->hold(s, first, e);
}

void snapshot_let_go(struct snapshot *s)
{
    (void)s->ops->set(s, STORE_HOLD, NULL, NULL); /* else it lapses */
}

int snapshot_take(struct snapshot *s, struct snapshot_info *out, struct err *e)
{
    *out = (struct snapshot_info){0};
    int status = s->ops->take(s, out, e);
    if (status)
        snapshot_info_release(out);
    return status;
}

int snapshot_pour(struct snapshot *s, const char *scratch, blob_data_fn data, void *arg,
                  struct err *e)
{
    return s->ops->pour(s, scratch, data, arg, e);
}

int snapshot_setting(struct snapshot *s, const char *name, struct buf *value,
                     struct err *e)
{
    return s->ops->setting(s, name, value, e);
}

int snapshot_set(struct snapshot *s, const char *name, const char *value, struct err *e)
{
    return s->ops->set(s, name, value, e);
}

void snapshot_info_release(struct snapshot_info *i)
{
    if (!i)
        return;
    free(i->files);
    *i = (struct snapshot_info){0};
}

int snapshot_add_file(struct snapshot_info *i, size_t *capacity, const char *id,
                      const char *sha256, int64_t bytes, struct err *e)
{
    if (!id_valid(id) || strlen(sha256) != 64)
        return err_set(e, ERR_CORRUPT,
                       "the database names a recording by what is no name (%.40s): see "
                       "`doctor`",
                       id);
    if (mem_grow(&i->files, capacity, i->n_files + 1, sizeof *i->files))
        return err_set(e, ERR_NOMEM, "out of memory");
    struct snapshot_file *f = &i->files[i->n_files++];
    f->bytes = bytes;
    (void)snprintf(f->id, sizeof f->id, "%s", id);
    (void)snprintf(f->sha256, sizeof f->sha256, "%s", sha256);
    return 0;
}

/* ---- and back -------------------------------------------------------------------- */

int rebuild_look(const char *url, bool *there, struct err *e)
{
    *there = false;
    return file_of(url) ? sqlite_rebuild_look(file_of(url), there, e)
                        : pg_rebuild_look(url, there, e);
}

int rebuild_open(struct rebuild **out, const char *url, const char *kind, int schema,
                 const char *scratch, struct err *e)
{
    *out = NULL;
    const char *here = file_of(url) ? "sqlite" : "postgresql";
    if (strcmp(kind, here) != 0)
        return err_set(e, ERR_INVALID,
                       "the copy is of a database of the kind %.20s, and DATABASE_URL "
                       "names one of the kind %s: set DATABASE_URL to one of its kind",
                       kind, here);
    if (schema > snapshot_newest_schema(kind))
        return err_set(e, ERR_UNSUPPORTED,
                       "the copy was made by a newer version of this program (schema "
                       "%d, this one knows up to %d): install that version, or take an "
                       "older copy",
                       schema, snapshot_newest_schema(kind));
    return file_of(url) ? sqlite_rebuild_open(out, file_of(url), scratch, e)
                        : pg_rebuild_open(out, url, schema, scratch != NULL, e);
}

int rebuild_write(struct rebuild *r, const void *bytes, size_t length, struct err *e)
{
    return r->ops->write(r, bytes, length, e);
}

int rebuild_check(struct rebuild *r, struct snapshot_counts *counts, struct err *e)
{
    *counts = (struct snapshot_counts){0};
    return r->ops->check(r, counts, e);
}

int rebuild_commit(struct rebuild *r, struct buf *aside, struct err *e)
{
    return r->ops->commit(r, aside, e);
}

void rebuild_close(struct rebuild *r)
{
    if (r)
        r->ops->close(r);
}
