/* Copies in a folder: written under a name that says that it is a part, synced, renamed.
 */
#include "backup/depot_ops.h"

#include "base/fs.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES (256u << 10)
#define PART        ".part"
#define DEPOT(d)    ((struct folder_depot *)(d))
#define WRITER(w)   ((struct folder_writer *)(w))

struct folder_depot {
    struct depot base;
    int lock_fd; /* owned; -1: it is only read */
};

struct folder_writer {
    struct depot_writer base;
    int fd;
    char path[PATH_MAX], part[PATH_MAX];
};

static const char *const kinds[] = {"copies", "objects"};

static int path_of(char out[PATH_MAX], const struct depot *d, const char *name,
                   const char *suffix, struct err *e)
{
    int n = snprintf(out, PATH_MAX, "%s/%s%s", d->name, name, suffix);
    return n < 0 || n >= PATH_MAX
               ? err_set(e, ERR_INVALID, "the path of the folder of copies is too long")
               : 0;
}

static int say_full(const struct depot *d, int status, struct err *e)
{
    uint64_t left = 0;
    if (status != ERR_FULL)
        return status;
    (void)fs_free_bytes(d->name, &left, NULL);
    return err_set(e, ERR_FULL,
                   "the disk of the folder of copies %s is full (%llu MB are left): free "
                   "some space, or keep copies for fewer days (BACKUP_RETENTION_DAYS)",
                   d->name, (unsigned long long)(left >> 20));
}

static void close_depot(struct depot *base)
{
    struct folder_depot *d = DEPOT(base);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    free(d->base.name);
    free(d);
}

/* ---- writing --------------------------------------------------------------------- */

static int begin(struct depot *d, const char *name, struct depot_writer **out,
                 struct err *e)
{
    struct folder_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    w->base.depot = d;
    int status = path_of(w->path, d, name, "", e);
    if (!status)
        status = path_of(w->part, d, name, PART, e);
    if (!status) {
        w->fd =
            open(w->part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
        status = w->fd < 0
                     ? err_errno(e, "cannot write to the folder of copies %s", d->name)
                     : 0;
        status = say_full(d, status, e);
    }
    if (status)
        free(w);
    else
        *out = &w->base;
    return status;
}

static int write_some(struct depot_writer *w, const void *bytes, size_t length,
                      struct err *e)
{
    return say_full(w->depot, fs_write_all(WRITER(w)->fd, bytes, length, e), e);
}

static void abort_writer(struct depot_writer *w)
{
    close(WRITER(w)->fd);
    unlink(WRITER(w)->part);
    free(w);
}

static int finish(struct depot_writer *base, struct err *e)
{
    struct folder_writer *w = WRITER(base);
    int status = fsync(w->fd) ? err_errno(e, "cannot sync %s", w->part) : 0;
    if (!status)
        status = fs_rename_durable(w->part, w->path, e);
    if (status) {
        status = say_full(base->depot, status, e);
        abort_writer(base);
        return status;
    }
    close(w->fd);
    free(w);
    return 0;
}

/* ---- reading --------------------------------------------------------------------- */

static int read_all(struct depot *d, const char *name, depot_data_fn data, void *arg,
                    struct err *e)
{
    char path[PATH_MAX];
    int status = path_of(path, d, name, "", e);
    if (status)
        return status;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open %s", path);
    char *block = malloc(BLOCK_BYTES);
    status = block ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    while (!status) {
        ssize_t n = read(fd, block, BLOCK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = err_errno(e, "cannot read %s", path);
        if (n <= 0)
            break;
        status = data(arg, block, (size_t)n, e);
    }
    free(block);
    close(fd);
    return status;
}

static int remove_one(struct depot *d, const char *name, struct err *e)
{
    char path[PATH_MAX];
    int status = path_of(path, d, name, "", e);
    if (!status && unlink(path) && errno != ENOENT)
        status = err_errno(e, "cannot remove %s", path);
    return status ? status : fs_sync_folder_of(path, e);
}

static bool is_part(const char *name)
{
    size_t length = strlen(name);
    return length > strlen(PART) && !strcmp(name + length - strlen(PART), PART);
}

static int each(struct depot *d, const char *kind, bool parts, depot_entry_fn fn,
                void *arg, struct err *e)
{
    char path[PATH_MAX];
    int status = path_of(path, d, kind, "", e);
    if (status)
        return status;
    DIR *dir = opendir(path);
    if (!dir) {
        /* The power went while the first copy was begun. */
        bool none = errno == ENOENT && !access(d->name, F_OK);
        return none ? 0 : err_errno(e, "cannot read the folder of copies %s", path);
    }
    const struct dirent *entry;
    struct stat st;
    while (!status && (entry = readdir(dir)))
        if (entry->d_name[0] != '.' && is_part(entry->d_name) == parts &&
            !fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
            S_ISREG(st.st_mode))
            status = fn(arg, entry->d_name, st.st_size, e);
    closedir(dir);
    return status;
}

static int list(struct depot *d, const char *kind, depot_entry_fn fn, void *arg,
                struct err *e)
{
    return each(d, kind, false, fn, arg, e);
}

struct tidying {
    struct depot *depot;
    const char *kind;
};

static int remove_part(void *arg, const char *name, int64_t bytes, struct err *e)
{
    const struct tidying *t = arg;
    char path[PATH_MAX];
    (void)bytes;
    int n = snprintf(path, sizeof path, "%s/%s", t->kind, name);
    return n < 0 || (size_t)n >= sizeof path ? 0 : remove_one(t->depot, path, e);
}

static int tidy(struct depot *d, struct err *e)
{
    int status = 0;
    for (size_t i = 0; !status && i < ARRAY_LENGTH(kinds); i++) {
        struct tidying t = {d, kinds[i]};
        status = each(d, kinds[i], true, remove_part, &t, e);
    }
    return status;
}

/* ---- the folder ------------------------------------------------------------------ */

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

static int take_lock(struct folder_depot *d, struct err *e)
{
    char path[PATH_MAX];
    int status = path_of(path, &d->base, ".lock", "", e);
    if (status)
        return status;
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (d->lock_fd < 0)
        return say_full(
            &d->base,
            err_errno(e, "cannot write to the folder of copies %s", d->base.name), e);
    if (!flock(d->lock_fd, LOCK_EX | LOCK_NB))
        return 0;
    return errno == EWOULDBLOCK
               ? err_set(e, ERR_STATE,
                         "another backup into %s is running: let it end first",
                         d->base.name)
               : err_errno(e, "cannot lock %s", path);
}

static int make_folders(struct folder_depot *d, struct err *e)
{
    char path[PATH_MAX];
    int status = 0;
    for (size_t i = 0; !status && i < ARRAY_LENGTH(kinds); i++) {
        status = path_of(path, &d->base, kinds[i], "", e);
        if (!status)
            status = fs_mkdirs(path, e);
    }
    return status ? say_full(&d->base, status, e) : take_lock(d, e);
}

int depot_open_folder(struct depot **out, const char *folder, bool writes, struct err *e)
{
    struct folder_depot *d = calloc(1, sizeof *d);
    *out = (struct depot *)d;
    if (!d)
        return err_set(e, ERR_NOMEM, "out of memory");
    d->base.ops = &ops;
    d->lock_fd = -1;
    d->base.name = strdup(folder);
    int status = d->base.name ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    if (!status && writes)
        status = make_folders(d, e);
    if (!status && access(folder, F_OK))
        status = err_errno(e, "there is no folder of copies %s", folder);
    if (status) {
        close_depot(*out);
        *out = NULL;
    }
    return status;
}
