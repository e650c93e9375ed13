/* What crashes and late writers have left in a folder. Nothing is locked, so age tells:
 * by the clock of the file system, which is that of its server when it is shared. */
#include "store/blob_files.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct sweep {
    struct files_store *s; /* borrowed */
    const char *folder;    /* borrowed */
    bool parts;            /* all there are parts */
    int64_t before_ms;     /* what was written since is left alone; INT64_MAX: nothing */
    blob_wanted_fn wanted;
    void *arg;
};

static int64_t time_ms(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

/* What time it is there. */
static int now_there(const char *folder, int64_t *ms, struct err *e)
{
    char path[PATH_MAX], token[BLOB_TOKEN_SIZE];
    struct stat st;
    blob_token(token);
    int n = snprintf(path, sizeof path, "%s/.now.%s", folder, token);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_INVALID, "the path of the storage folder is too long");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_errno(e, "the storage folder %s cannot be written", folder);
    int status = fstat(fd, &st) ? err_errno(e, "cannot look at %s", path) : 0;
    close(fd);
    unlink(path);
    *ms = status ? 0 : time_ms(&st);
    return status;
}

/* 1: removed, 0: left, negative: `wanted` could not answer. */
static int sweep_one(const struct sweep *w, const char *name)
{
    char id[ID_SIZE], path[PATH_MAX];
    const char *rest;
    struct stat st;
    if (!blob_name_parse(name, id, &rest))
        return 0;
    bool part = w->parts || !strcmp(rest, ".part");
    if ((w->parts && *rest != '.') || (!w->parts && *rest && !part))
        return 0; /* not ours */
    int n = snprintf(path, sizeof path, "%s/%s", w->folder, name);
    if (n < 0 || (size_t)n >= sizeof path || lstat(path, &st) ||
        time_ms(&st) >= w->before_ms)
        return 0;
    int answer = w->wanted(w->arg, id, part);
    if (answer)
        return answer < 0 ? answer : 0;
    return files_unlink(w->s, path, NULL) ? 0 : 1;
}

static int sweep_folder(const struct sweep *w, int *removed, struct err *e)
{
    DIR *dir = opendir(w->folder);
    if (!dir)
        return err_errno(e, "cannot read the folder %s", w->folder);
    int n = 0;
    const struct dirent *entry;
    while (n >= 0 && (entry = readdir(dir))) {
        n = sweep_one(w, entry->d_name);
        *removed += n > 0;
    }
    closedir(dir);
    return n < 0 ? err_set(e, n, "the storage folder could not be swept") : 0;
}

/* What is there loses its name as soon as it has been made, unless its maker is killed
 * just then; whose name goes a little early is not harmed. The folder may be one that
 * others use, too: only names that are made here go. */
static void sweep_scratch(const char *folder)
{
    static const char *const ours[] = {".probe.", "samples-", "fetched-", "snapshot-"};
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        for (size_t i = 0; i < ARRAY_LENGTH(ours); i++)
            if (!strncmp(entry->d_name, ours[i], strlen(ours[i])))
                (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
}

int files_sweep(struct blob_store *base, int64_t age_ms, blob_wanted_fn wanted, void *arg,
                struct err *e)
{
    struct files_store *s = (struct files_store *)base;
    struct sweep w = {.s = s,
                      .folder = s->uploads,
                      .before_ms = INT64_MAX,
                      .wanted = wanted,
                      .arg = arg};
    int64_t now_ms = 0;
    int removed = 0;
    int status = age_ms ? now_there(s->uploads, &now_ms, e) : 0;
    if (age_ms)
        w.before_ms = now_ms - age_ms;
    if (!status)
        status = sweep_folder(&w, &removed, e);
    w.folder = s->parts;
    w.parts = true;
    if (!status)
        status = sweep_folder(&w, &removed, e);
    sweep_scratch(base->scratch);
    return status ? status : removed;
}
