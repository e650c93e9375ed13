#include "store/blob.h"

#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <sodium.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The free space is asked for again after so many bytes. */
#define SPACE_CHECK_BYTES (8 << 20)
#define FLUSH_BYTES       (8 << 20)
#define HASH_BLOCK_BYTES  (256u << 10)

struct blob_store {
    char *uploads; /* owned */
    char *scratch; /* owned */
    uint64_t reserve_bytes;
};

struct blob_writer {
    struct blob_store *store; /* borrowed */
    char id[ID_SIZE];
    int fd;
    int64_t bytes;
    int64_t checked_at; /* bytes when the free space was last asked for */
    int64_t flushed_at; /* bytes that the disk was told to begin with */
    bool kept;          /* a part of several sittings: its hash is taken at the end */
    struct sha256_ctx hash;
};

static char *join(const char *folder, const char *name)
{
    struct buf b;
    buf_init(&b, PATH_MAX - 1);
    buf_printf(&b, "%s/%s", folder, name);
    char *path = buf_take(&b);
    buf_release(&b);
    return path;
}

int blob_store_open(struct blob_store **out, const char *folder, uint64_t reserve_bytes,
                    struct err *e)
{
    *out = NULL;
    if (sodium_init() < 0)
        return err_set(e, ERR_IO, "the library libsodium cannot be started");
    struct blob_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->reserve_bytes = reserve_bytes;
    s->uploads = join(folder, "uploads");
    s->scratch = join(folder, "scratch");
    int status = 0;
    if (!s->uploads || !s->scratch)
        status = err_set(e, ERR_INVALID, "the path of the storage folder is too long");
    if (!status)
        status = fs_mkdirs(s->uploads, e);
    if (!status)
        status = fs_mkdirs(s->scratch, e);
    if (status) {
        blob_store_close(s);
        return status;
    }
    *out = s;
    return 0;
}

void blob_store_close(struct blob_store *s)
{
    if (!s)
        return;
    free(s->uploads);
    free(s->scratch);
    free(s);
}

const char *blob_store_scratch(const struct blob_store *s)
{
    return s->scratch;
}

/* The only place where an id becomes a path. */
static int path_of(const struct blob_store *s, const char *id, const char *suffix,
                   char path[PATH_MAX], struct err *e)
{
    if (!id_valid(id))
        return err_set(e, ERR_INVALID, "that is not the id of a recording");
    int n = snprintf(path, PATH_MAX, "%s/%s%s", s->uploads, id, suffix);
    if (n < 0 || n >= PATH_MAX)
        return err_set(e, ERR_INVALID, "the path of the storage folder is too long");
    return 0;
}

static int check_space(const struct blob_store *s, struct err *e)
{
    uint64_t free_bytes;
    int status = fs_free_bytes(s->uploads, &free_bytes, e);
    if (!status && free_bytes < s->reserve_bytes)
        return err_set(
            e, ERR_FULL,
            "the disk of the storage folder %s is full: %llu MB are free, %llu "
            "MB are kept in reserve",
            s->uploads, (unsigned long long)(free_bytes >> 20),
            (unsigned long long)(s->reserve_bytes >> 20));
    return status;
}

int blob_begin(struct blob_store *s, const char *id, struct blob_writer **out,
               struct err *e)
{
    *out = NULL;
    char path[PATH_MAX];
    int status = path_of(s, id, ".part", path, e);
    if (!status)
        status = check_space(s, e);
    if (status)
        return status;
    struct blob_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    w->store = s;
    memcpy(w->id, id, ID_SIZE);
    sha256_init(&w->hash);
    w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (w->fd < 0) {
        status = err_errno(e, "cannot store the recording as %s", path);
        free(w);
        return status;
    }
    /* Tells a sweep that somebody is writing; the kernel drops it when we die. */
    (void)flock(w->fd, LOCK_EX | LOCK_NB);
    *out = w;
    return 0;
}

/* Let the disk begin while the rest still comes; else all of its work is left for the
 * fsync at the end, when nothing else goes on. It promises nothing, so it may fail. */
static void begin_flush(struct blob_writer *w)
{
    if (w->bytes - w->flushed_at < FLUSH_BYTES)
        return;
    (void)sync_file_range(w->fd, w->flushed_at, w->bytes - w->flushed_at,
                          SYNC_FILE_RANGE_WRITE);
    w->flushed_at = w->bytes;
}

int blob_write(struct blob_writer *w, const void *bytes, size_t length, struct err *e)
{
    if (w->bytes - w->checked_at >= SPACE_CHECK_BYTES) {
        int status = check_space(w->store, e);
        if (status)
            return status;
        w->checked_at = w->bytes;
    }
    int status = fs_write_all(w->fd, bytes, length, e);
    if (status) {
        if (status == ERR_FULL)
            err_set(e, ERR_FULL, "the disk of the storage folder %s is full",
                    w->store->uploads);
        else
            err_prefix(e, "the recording cannot be stored");
        return status;
    }
    if (!w->kept)
        sha256_update(&w->hash, length, bytes);
    w->bytes += (int64_t)length;
    begin_flush(w);
    return 0;
}

/* A child that is just being forked has the descriptor, too, until it execs: closing ours
 * would leave the part locked for that long. */
static int let_go(int fd)
{
    (void)flock(fd, LOCK_UN);
    return close(fd);
}

static void remove_part(struct blob_writer *w)
{
    char path[PATH_MAX];
    if (!path_of(w->store, w->id, ".part", path, NULL))
        unlink(path);
}

/* It may have its last name already, when only the folder could not be synced. */
static void remove_either(struct blob_writer *w)
{
    char path[PATH_MAX];
    remove_part(w);
    if (!path_of(w->store, w->id, "", path, NULL))
        unlink(path);
}

/* Hash what a descriptor holds, from its beginning. */
static int hash_file(int fd, struct sha256_ctx *hash, int64_t *bytes, struct err *e)
{
    size_t size = HASH_BLOCK_BYTES;
    unsigned char *block = malloc(size);
    if (!block)
        return err_set(e, ERR_NOMEM, "out of memory");
    sha256_init(hash);
    *bytes = 0;
    ssize_t n;
    while ((n = pread(fd, block, size, *bytes)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0)
            continue;
        sha256_update(hash, (size_t)n, block);
        *bytes += n;
    }
    int status = n < 0 ? err_errno(e, "cannot read a recording in the storage") : 0;
    free(block);
    return status;
}

static void set_info(struct blob_info *out, struct sha256_ctx *hash, int64_t bytes)
{
    unsigned char digest[SHA256_DIGEST_SIZE];
    sha256_digest(hash, sizeof digest, digest);
    sodium_bin2hex(out->sha256, sizeof out->sha256, digest, sizeof digest);
    out->bytes = bytes;
}

int blob_finish(struct blob_writer *w, struct blob_info *out, struct err *e)
{
    char from[PATH_MAX], to[PATH_MAX];
    int status = path_of(w->store, w->id, ".part", from, e);
    if (!status)
        status = path_of(w->store, w->id, "", to, e);
    if (!status && w->kept)
        status = hash_file(w->fd, &w->hash, &w->bytes, e);
    if (!status && fsync(w->fd))
        status = err_errno(e, "cannot sync %s", from);
    if (!status)
        status = fs_rename_durable(from, to, e);
    (void)let_go(w->fd); /* only now: nobody may take the part from under us */
    w->fd = -1;
    if (!status)
        set_info(out, &w->hash, w->bytes);
    else if (!w->kept)
        remove_either(w);
    free(w);
    return status;
}

void blob_abort(struct blob_writer *w)
{
    if (!w)
        return;
    remove_part(w);
    (void)let_go(w->fd);
    free(w);
}

/* What the system refuses us is not the caller's fault, and must not look like it. */
static int blame_us(int status, struct err *e)
{
    if (status != ERR_DENIED)
        return status;
    if (e)
        e->code = ERR_IO;
    return ERR_IO;
}

/* ---- parts of several sittings ---- */

/* Ours alone, until we let go or die. */
static int claim_part(struct blob_writer *w, struct err *e)
{
    struct stat st;
    if (flock(w->fd, LOCK_EX | LOCK_NB))
        return errno == EWOULDBLOCK
                   ? err_set(e, ERR_STATE, "another request writes this upload just now")
                   : err_errno(e, "cannot lock an upload");
    if (fstat(w->fd, &st))
        return err_errno(e, "cannot look at an upload");
    w->bytes = w->checked_at = w->flushed_at = st.st_size;
    return 0;
}

int blob_resume(struct blob_store *s, const char *id, bool create,
                struct blob_writer **out, struct err *e)
{
    *out = NULL;
    char path[PATH_MAX];
    int status = path_of(s, id, ".part", path, e);
    if (!status)
        status = check_space(s, e);
    if (status)
        return status;
    struct blob_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    w->store = s;
    w->kept = true;
    memcpy(w->id, id, ID_SIZE);
    int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | (create ? O_CREAT : 0);
    w->fd = open(path, flags, 0640);
    status =
        w->fd < 0 ? blame_us(err_errno(e, "cannot open an upload"), e) : claim_part(w, e);
    if (!status && create)
        status = fs_sync_folder_of(path, e); /* the name must last, too */
    if (status) {
        blob_pause(w);
        return status;
    }
    *out = w;
    return 0;
}

int blob_sync(struct blob_writer *w, struct err *e)
{
    return fsync(w->fd) ? err_errno(e, "cannot sync an upload") : 0;
}

int64_t blob_bytes(const struct blob_writer *w)
{
    return w->bytes;
}

int blob_head(struct blob_writer *w, void *out, size_t size, struct err *e)
{
    ssize_t n = pread(w->fd, out, size, 0);
    return n < 0 ? err_errno(e, "cannot read an upload") : (int)n;
}

int blob_cut(struct blob_writer *w, int64_t bytes, struct err *e)
{
    if (bytes > w->bytes)
        return err_set(e, ERR_CORRUPT,
                       "the upload has lost bytes in the storage: begin it anew");
    if (ftruncate(w->fd, bytes) || lseek(w->fd, bytes, SEEK_SET) < 0)
        return err_errno(e, "cannot cut an upload");
    w->bytes = w->checked_at = w->flushed_at = bytes;
    return 0;
}

void blob_pause(struct blob_writer *w)
{
    if (!w)
        return;
    if (w->fd >= 0)
        (void)let_go(w->fd);
    free(w);
}

int blob_look(struct blob_store *s, const char *id, struct blob_info *out, struct err *e)
{
    struct sha256_ctx hash;
    int64_t bytes;
    int fd = blob_open(s, id, e);
    if (fd < 0)
        return fd;
    int status = hash_file(fd, &hash, &bytes, e);
    if (!status)
        set_info(out, &hash, bytes);
    close(fd);
    return status;
}

static int open_file(struct blob_store *s, const char *id, const char *suffix,
                     struct err *e)
{
    char path[PATH_MAX];
    int status = path_of(s, id, suffix, path, e);
    if (status)
        return status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_errno(e, "cannot open the recording %s", path);
    return fd;
}

int blob_open(struct blob_store *s, const char *id, struct err *e)
{
    return open_file(s, id, "", e);
}

int blob_open_part(struct blob_store *s, const char *id, struct err *e)
{
    return open_file(s, id, ".part", e);
}

int blob_store_writable(struct blob_store *s, struct err *e)
{
    return access(s->uploads, W_OK)
               ? blame_us(
                     err_errno(e, "the storage folder %s cannot be written", s->uploads),
                     e)
               : 0;
}

int blob_remove(struct blob_store *s, const char *id, struct err *e)
{
    char path[PATH_MAX];
    int status = path_of(s, id, "", path, e);
    if (status)
        return status;
    if (unlink(path) && errno != ENOENT)
        return blame_us(err_errno(e, "cannot remove the recording %s", path), e);
    status = path_of(s, id, ".part", path, e);
    if (!status && unlink(path) && errno != ENOENT)
        return blame_us(err_errno(e, "cannot remove the recording %s", path), e);
    return status;
}

/* Whether the writer of a part is still there. */
static bool part_is_written(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    bool held = flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

/* 1: removed, 0: left, negative: `wanted` could not answer. */
static int sweep_one(struct blob_store *s, const char *name, blob_wanted_fn wanted,
                     void *arg)
{
    char id[ID_SIZE], path[PATH_MAX];
    if (strlen(name) < ID_SIZE - 1)
        return 0;
    memcpy(id, name, ID_SIZE - 1);
    id[ID_SIZE - 1] = '\0';
    const char *suffix = name + ID_SIZE - 1;
    if ((*suffix && strcmp(suffix, ".part") != 0) || path_of(s, id, suffix, path, NULL))
        return 0; /* not ours */
    if (*suffix && part_is_written(path))
        return 0;
    int answer = wanted(arg, id);
    if (answer)
        return answer < 0 ? answer : 0;
    return unlink(path) ? 0 : 1;
}

/* What is there loses its name as soon as it has been made, unless its maker is killed
 * just then. Whose name goes a little early is not harmed. */
static void sweep_scratch(struct blob_store *s)
{
    DIR *dir = opendir(s->scratch);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        (void)unlinkat(dirfd(dir), entry->d_name, 0); /* not "." nor ".." */
    if (dir)
        closedir(dir);
}

int blob_sweep(struct blob_store *s, blob_wanted_fn wanted, void *arg, struct err *e)
{
    DIR *dir = opendir(s->uploads);
    if (!dir)
        return err_errno(e, "cannot read the folder %s", s->uploads);
    int removed = 0;
    struct dirent *entry;
    while (removed >= 0 && (entry = readdir(dir))) {
        int n = sweep_one(s, entry->d_name, wanted, arg);
        removed = n < 0 ? n : removed + n;
    }
    closedir(dir);
    sweep_scratch(s);
    if (removed < 0)
        return err_set(e, removed, "the storage folder could not be swept");
    return removed;
}

int blob_store_ready(struct blob_store *s, struct err *e)
{
    static const char block[4096];
    char path[PATH_MAX];
    int status = check_space(s, e);
    if (status)
        return status;
    int n = snprintf(path, sizeof path, "%s/.probe.%d", s->scratch, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_INVALID, "the path of the storage folder is too long");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_errno(e, "the storage folder %s cannot be written", s->scratch);
    /* A file system that is full may still take a name. */
    if (write(fd, block, sizeof block) != (ssize_t)sizeof block) {
        errno = ENOSPC;
        status = err_errno(e, "the storage folder %s cannot be written", s->scratch);
    } else if (access(s->uploads, W_OK)) {
        status = err_errno(e, "the storage folder %s cannot be written", s->uploads);
    }
    close(fd);
    unlink(path);
    return status;
}
