/* What restores with `force` have put aside on disks: "app.db.before-TIME" beside the
 * database, "before-TIME" in the folder of the storage. Nothing else ever removes it. */
#include "backup/build.h"

#include "base/fs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct aside {
    const struct config *config; /* borrowed */
    bool removes;
    backup_aside_fn fn;
    void *arg;
};

/* A recording may be in use under its other name still. */
static int remove_file(const struct aside *a, const FTSENT *entry, struct err *e)
{
    int status = a->config->secure_erase && entry->fts_statp->st_nlink == 1
                     ? fs_wipe(entry->fts_accpath, e)
                     : 0;
    if (!status && unlink(entry->fts_accpath))
        status = err_errno(e, "cannot remove %s", entry->fts_path);
    return status;
}

static int visit(const struct aside *a, const FTSENT *entry, bool removes, int64_t *bytes,
                 struct err *e)
{
    switch (entry->fts_info) {
    case FTS_D:
        return 0;
    case FTS_DP:
        if (removes && rmdir(entry->fts_accpath))
            return err_errno(e, "cannot remove %s", entry->fts_path);
        return 0;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        errno = entry->fts_errno;
        return err_errno(e, "cannot read %s", entry->fts_path);
    default:
        *bytes += entry->fts_statp->st_size;
        return removes ? remove_file(a, entry, e) : 0;
    }
}

/* Links are not followed. */
static int walk(const struct aside *a, char *path, bool removes, int64_t *bytes,
                struct err *e)
{
    char *paths[] = {path, NULL};
    FTSENT *entry;
    int status = 0;
    FTS *all = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    *bytes = 0;
    if (!all)
        return err_errno(e, "cannot read %s", path);
    while (!status && (errno = 0, entry = fts_read(all)))
        status = visit(a, entry, removes, bytes, e);
    if (!status && errno)
        status = err_errno(e, "cannot read %s", path);
    (void)fts_close(all);
    return status;
}

static int take(const struct aside *a, const char *folder, const char *name,
                int64_t put_ms, struct err *e)
{
    char path[PATH_MAX];
    int64_t bytes, again;
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_INVALID, "a path in %s is too long", folder);
    int status = walk(a, path, false, &bytes, e);
    if (!status)
        a->fn(a->arg, path, bytes, put_ms);
    return status || !a->removes ? status : walk(a, path, true, &again, e);
}

/* The time in "PREFIX1785555300123"; of a database also with what SQLite has beside it.
 */
static bool is_aside(const char *name, const char *prefix, bool database, int64_t *put_ms)
{
    size_t n = strlen(prefix);
    char *end;
    if (strncmp(name, prefix, n) != 0 || !isdigit((unsigned char)name[n]))
        return false;
    errno = 0;
    *put_ms = strtoll(name + n, &end, 10);
    return !errno &&
           (!*end || (database && (!strcmp(end, "-wal") || !strcmp(end, "-shm"))));
}

static int look_into(const struct aside *a, const char *folder, const char *prefix,
                     bool database, struct err *e)
{
    struct dirent *entry;
    int64_t put_ms;
    int status = 0;
    DIR *all = opendir(folder);
    if (!all)
        return errno == ENOENT ? 0 : err_errno(e, "cannot read %s", folder);
    while (!status && (entry = readdir(all)))
        if (is_aside(entry->d_name, prefix, database, &put_ms))
            status = take(a, folder, entry->d_name, put_ms, e);
    closedir(all);
    return status;
}

static int databases(const struct aside *a, struct err *e)
{
    static const char scheme[] = "sqlite:///";
    const char *url = a->config->database_url;
    char folder[PATH_MAX], prefix[NAME_MAX];
    if (strncmp(url, scheme, strlen(scheme)) != 0)
        return 0;
    const char *file = url + strlen(scheme), *slash = strrchr(file, '/');
    const char *base = slash ? slash + 1 : file;
    int n = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - file) : 1,
                     slash ? file : ".");
    int m = snprintf(prefix, sizeof prefix, "%s.before-", base);
    if (n < 0 || m < 0 || (size_t)n >= sizeof folder || (size_t)m >= sizeof prefix)
        return err_set(e, ERR_INVALID, "the path of the database is too long");
    return look_into(a, *folder ? folder : "/", prefix, true, e);
}

int backup_aside(const struct config *c, bool removes, backup_aside_fn fn, void *arg,
                 struct err *e)
{
    const struct aside a = {c, removes, fn, arg};
    const char *storage = backup_storage_folder(c);
    int status = databases(&a, e);
    return status || !storage ? status : look_into(&a, storage, "before-", false, e);
}
