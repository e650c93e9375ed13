/* A restore that nobody sees: the newest copy's database is built in a scratch place and
 * looked at, and every recording is read and compared. Nothing listens, nothing that runs
 * is touched, and nothing stays. */
#include "backup/build.h"

#include "base/fs.h"

#include <inttypes.h>

static int write_some(void *arg, const void *bytes, size_t length, struct err *e)
{
    return rebuild_write(arg, bytes, length, e);
}

static int compare(const struct manifest *m, const struct snapshot_counts *n,
                   struct err *e)
{
    if (n->jobs == m->counts.jobs && n->transcripts == m->counts.transcripts &&
        n->keys == m->counts.keys)
        return 0;
    return err_set(e, ERR_CORRUPT,
                   "the copied database holds %" PRId64 " jobs, %" PRId64
                   " transcripts and %" PRId64 " keys, where it held %" PRId64
                   ", %" PRId64 " and %" PRId64,
                   n->jobs, n->transcripts, n->keys, m->counts.jobs,
                   m->counts.transcripts, m->counts.keys);
}

int backup_build(struct vault *v, const struct config *c, const struct manifest *m,
                 const char *scratch, struct rebuild **out, struct err *e)
{
    struct snapshot_counts n;
    int status = scratch ? fs_mkdirs(scratch, e) : 0;
    *out = NULL;
    if (!status)
        status = rebuild_open(out, c->database_url, m->kind, m->schema, scratch, e);
    if (!status)
        status = object_read(v, manifest_find(m, ROLE_DATABASE), write_some, *out, e);
    if (!status)
        status = rebuild_check(*out, &n, e);
    if (!status)
        status = compare(m, &n, e);
    if (status) {
        rebuild_close(*out);
        *out = NULL;
    }
    return status;
}

int backup_read_recordings(struct vault *v, const struct manifest *m, struct err *e)
{
    int status = 0;
    for (size_t i = 0; !status && i < m->n_files; i++)
        if (m->files[i].role != ROLE_DATABASE)
            status = object_read(v, &m->files[i], NULL, NULL, e);
    return status;
}

static int drill(struct vault *v, const struct config *c, struct backup_result *out,
                 struct err *e)
{
    struct manifest m;
    struct rebuild *r = NULL;
    int status = made_read(v, out->name, &m, NULL, e);
    if (status)
        return status;
    status = backup_build(v, c, &m, backup_scratch(c), &r, e);
    rebuild_close(r);
    if (!status)
        status = backup_read_recordings(v, &m, e);
    out->counts = m.counts;
    out->missing = m.n_missing;
    out->bytes = manifest_bytes(&m);
    for (size_t i = 0; i < m.n_files; i++)
        out->recordings += m.files[i].role == ROLE_RECORDING;
    manifest_release(&m);
    return status;
}

int backup_drill(const struct config *c, const struct backup_watch *watch,
                 struct backup_result *out, struct err *e)
{
    struct vault v;
    *out = (struct backup_result){0};
    int status = made_find(&v, c, NULL, out->name, e);
    v.stopped = watch->stopped;
    v.arg = watch->arg;
    if (!status)
        status = drill(&v, c, out, e);
    vault_close(&v);
    if (c->backup_dir && status != ERR_CANCELLED)
        backup_note(c, status ? BACKUP_DRILL_FAILED : BACKUP_DRILLED, 0);
    return status;
}
