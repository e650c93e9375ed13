#include "store/blob_files.h"

#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

/* The free space is asked for again after so many bytes. */
#define SPACE_CHECK_BYTES (8 << 20)
#define FLUSH_BYTES       (8 << 20)
#define BLOCK_BYTES       (256u << 10)
#define STALE_TRIES       3
#define BESIDE_BYTES      (32u << 10)

#define STORE(s)          ((struct files_store *)(s))
#define WRITER(w)         ((struct files_writer *)(w))

/* ---- the folder -------------------------------------------------------------------- */

static char *join(const char *folder, const char *name)
{
    struct buf b;
    buf_init(&b, PATH_MAX - 1);
    buf_printf(&b, "%s/%s", folder, name);
    char *path = buf_take(&b);
    buf_release(&b);
    return path;
}

static int make_folders(struct files_store *s, struct err *e)
{
    if (!s->uploads || !s->parts || !s->base.scratch)
        return err_set(e, ERR_INVALID, "the path of the storage folder is too long");
    int status = fs_mkdirs(s->uploads, e);
    if (!status)
        status = fs_mkdirs(s->parts, e);
    return status ? status : fs_mkdirs(s->base.scratch, e);
}

int blob_store_open(struct blob_store **out, const char *folder, uint64_t reserve_bytes,
                    struct err *e)
{
    *out = NULL;
    if (sodium_init() < 0)
        return err_set(e, ERR_IO, "the library libsodium cannot be started");
    struct files_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->base.ops = &blob_files_ops;
    s->reserve_bytes = reserve_bytes;
    s->uploads = join(folder, "uploads");
    s->parts = join(folder, "parts");
    s->base.scratch = join(folder, "scratch");
    s->beside = beside_new(beside_threads());
    int status = s->beside ? make_folders(s, e) : err_set(e, ERR_NOMEM, "out of memory");
    if (status) {
        blob_store_close((struct blob_store *)s);
        return status;
    }
    *out = (struct blob_store *)s;
    return 0;
}

static void files_close(struct blob_store *base)
{
    struct files_store *s = STORE(base);
    free(s->uploads);
    free(s->parts);
    beside_free(s->beside);
    free(s);
}

static const char *name(const struct blob_store *s)
{
    return ((const struct files_store *)s)->uploads;
}

int files_path(const struct files_store *s, const char *id, const char *suffix,
               char path[PATH_MAX], struct err *e)
{
    int n = snprintf(path, PATH_MAX, "%s/%s%s", s->uploads, id, suffix);
    if (n < 0 || n >= PATH_MAX)
        return err_set(e, ERR_INVALID, "the path of the storage folder is too long");
    return 0;
}

int files_piece_path(const struct files_store *s, const char *id,
                     const struct blob_piece *piece, char path[PATH_MAX], struct err *e)
{
    if (!piece->token[0])
        return files_path(s, id, ".part", path, e);
    int n = snprintf(path, PATH_MAX, "%s/%s.%s", s->parts, id, piece->token);
    if (n < 0 || n >= PATH_MAX)
        return err_set(e, ERR_INVALID, "the path of the storage folder is too long");
    return 0;
}

int files_check_space(const struct files_store *s, struct err *e)
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

/* What cannot be overwritten stays, so that somebody hears of it; the next round of the
 * retention tries again. */
int files_unlink(const struct files_store *s, const char *path, struct err *e)
{
    int status = s->base.wipe ? fs_wipe(path, e) : 0;
    if (!status && unlink(path) && errno != ENOENT)
        status = err_errno(e, "cannot remove the recording %s", path);
    return files_blame_us(status, e);
}

int files_blame_us(int status, struct err *e)
{
    if (status != ERR_DENIED)
        return status;
    if (e)
        e->code = ERR_IO;
    return ERR_IO;
}

/* ---- writing ----------------------------------------------------------------------- */

static struct blob_writer *writer_new(void)
{
    struct files_writer *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->fd = -1;
    return (struct blob_writer *)w;
}

static void release(struct blob_writer *base)
{
    if (WRITER(base)->fd >= 0)
        close(WRITER(base)->fd);
}

static int begin(struct blob_writer *base, struct err *e)
{
    struct files_writer *w = WRITER(base);
    struct files_store *s = STORE(base->store);
    char path[PATH_MAX];
    int status = files_path(s, base->id, ".part", path, e);
    if (!status)
        status = files_check_space(s, e);
    if (status)
        return status;
    w->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    return w->fd < 0 ? err_errno(e, "cannot store the recording as %s", path) : 0;
}

/* Let the disk begin while the rest still comes; else all of its work is left for the
 * fsync at the end, when nothing else goes on. It promises nothing, so it may fail. */
static void begin_flush(struct files_writer *w, int64_t bytes)
{
    if (bytes - w->flushed_at < FLUSH_BYTES)
        return;
    (void)sync_file_range(w->fd, w->flushed_at - w->start, bytes - w->flushed_at,
                          SYNC_FILE_RANGE_WRITE);
    w->flushed_at = bytes;
}

struct hashing {
    struct sha256_ctx *hash;
    const void *bytes;
    size_t length;
};

static void hash_beside(void *arg)
{
    struct hashing *h = arg;
    sha256_update(h->hash, h->length, h->bytes);
}

static int write_and_flush(struct files_writer *w, const void *bytes, size_t length,
                           struct err *e)
{
    int status = fs_write_all(w->fd, bytes, length, e);
    if (!status)
        begin_flush(w, w->base.bytes + (int64_t)length);
    return status;
}

/* Both at once, where that is worth the waking of a thread. What could not be written is
 * not in the hash: what came before may still be made durable. */
static int write_and_hash(struct files_writer *w, const void *bytes, size_t length,
                          struct err *e)
{
    struct beside *beside = STORE(w->base.store)->beside;
    struct beside_work work;
    struct sha256_ctx *hash = &w->base.state.hash, before = *hash;
    struct hashing hashing = {hash, bytes, length};
    if (length < BESIDE_BYTES) {
        int status = write_and_flush(w, bytes, length, e);
        if (!status)
            hash_beside(&hashing);
        return status;
    }
    beside_begin(beside, &work, hash_beside, &hashing);
    int status = write_and_flush(w, bytes, length, e);
    beside_end(beside, &work);
    if (status)
        *hash = before;
    return status;
}

static int write_bytes(struct blob_writer *base, const void *bytes, size_t length,
                       struct err *e)
{
    struct files_writer *w = WRITER(base);
    const struct files_store *s = STORE(base->store);
    int status = 0;
    if (base->bytes - w->checked_at >= SPACE_CHECK_BYTES) {
        status = files_check_space(s, e);
        w->checked_at = base->bytes;
    }
    if (!status && base->kept)
        status = files_need_piece(w, e);
    if (status)
        return status;
    status = write_and_hash(w, bytes, length, e);
    if (status == ERR_FULL)
        return err_set(e, ERR_FULL, "the disk of the storage folder %s is full",
                       s->uploads);
    if (status) {
        err_prefix(e, "the recording cannot be stored");
        return status;
    }
    struct blob_state *state = &base->state;
    if (base->kept)
        state->pieces[state->n_pieces - 1].bytes += (int64_t)length;
    return 0;
}

static void abort_writer(struct blob_writer *base)
{
    char path[PATH_MAX];
    const struct files_store *s = STORE(base->store);
    if (base->kept)
        (void)files_discard(base->store, base->id, &base->state, NULL);
    else if (!files_path(s, base->id, ".part", path, NULL))
        (void)files_unlink(s, path, NULL);
}

/* ---- reading ----------------------------------------------------------------------- */

/* An NFS client remembers for a while that a name is not there; to read the folder makes
 * it ask. */
static void look_anew(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path || (size_t)(slash - path) >= sizeof folder)
        return;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    DIR *dir = opendir(folder);
    while (dir && readdir(dir))
        ;
    if (dir)
        closedir(dir);
}

int files_open(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    for (int i = 0;
         fd < 0 && (errno == ESTALE || (errno == ENOENT && !i)) && i < STALE_TRIES; i++) {
        look_anew(path);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    return fd < 0 ? err_errno(e, "cannot open the recording %s", path) : fd;
}

int files_pour(int fd, int64_t first, int64_t length, blob_data_fn data, void *arg,
               struct err *e)
{
    char *block = malloc(BLOCK_BYTES);
    int status = block ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    while (!status && length) {
        size_t want =
            length < 0 || length > (int64_t)BLOCK_BYTES ? BLOCK_BYTES : (size_t)length;
        ssize_t n = pread(fd, block, want, first);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = err_errno(e, "cannot read a recording in the storage");
        else if (!n && length < 0)
            break;
        else if (!n)
            status = err_set(e, ERR_CORRUPT,
                             "a recording has lost bytes in the storage: begin it anew");
        else
            status = data(arg, block, (size_t)n, e);
        first += n;
        length -= length < 0 ? 0 : n;
    }
    free(block);
    return status;
}

static int open_blob(struct blob_store *s, const char *id, struct err *e)
{
    char path[PATH_MAX];
    int status = files_path(STORE(s), id, "", path, e);
    return status ? status : files_open(path, e);
}

static int read_blob(struct blob_store *s, const char *id, int64_t first, int64_t length,
                     blob_data_fn data, void *arg, struct err *e)
{
    int fd = open_blob(s, id, e);
    if (fd < 0)
        return fd;
    int status = files_pour(fd, first, length, data, arg, e);
    close(fd);
    return status;
}

static int size(struct blob_store *s, const char *id, int64_t *bytes, struct err *e)
{
    char path[PATH_MAX];
    struct stat st;
    int status = files_path(STORE(s), id, "", path, e);
    if (!status && lstat(path, &st))
        status = err_errno(e, "cannot open the recording %s", path);
    if (!status)
        *bytes = st.st_size;
    return status;
}

/* ---- going, and whether all is well ------------------------------------------------ */

static int remove_blob(struct blob_store *base, const char *id, struct err *e)
{
    static const char *const suffixes[] = {"", ".part"};
    char path[PATH_MAX];
    int status = 0;
    for (size_t i = 0; !status && i < 2; i++) {
        status = files_path(STORE(base), id, suffixes[i], path, e);
        if (!status)
            status = files_unlink(STORE(base), path, e);
    }
    return status;
}

static int writable(struct blob_store *base, struct err *e)
{
    const struct files_store *s = STORE(base);
    return access(s->uploads, W_OK)
               ? files_blame_us(
                     err_errno(e, "the storage folder %s cannot be written", s->uploads),
                     e)
               : 0;
}

static int ready(struct blob_store *base, struct err *e)
{
    static const char block[4096];
    const struct files_store *s = STORE(base);
    char path[PATH_MAX];
    int status = files_check_space(s, e);
    if (status)
        return status;
    int n = snprintf(path, sizeof path, "%s/.probe.%d", base->scratch, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_INVALID, "the path of the storage folder is too long");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_errno(e, "the storage folder %s cannot be written", base->scratch);
    /* A file system that is full may still take a name. */
    if (write(fd, block, sizeof block) != (ssize_t)sizeof block) {
        errno = ENOSPC;
        status = err_errno(e, "the storage folder %s cannot be written", base->scratch);
    } else if (access(s->uploads, W_OK)) {
        status = err_errno(e, "the storage folder %s cannot be written", s->uploads);
    }
    close(fd);
    unlink(path);
    return status;
}

const struct blob_ops blob_files_ops = {
    .close = files_close,
    .name = name,
    .begin = begin,
    .resume = files_resume,
    .write = write_bytes,
    .sync = files_sync,
    .sync_is_due = files_sync_is_due,
    .finish = files_finish,
    .abort = abort_writer,
    .release = release,
    .writer_new = writer_new,
    .discard = files_discard,
    .read_part = files_read_part,
    .size = size,
    .read = read_blob,
    .open = open_blob,
    .writable = writable,
    .remove = remove_blob,
    .sweep = files_sweep,
    .ready = ready,
    .try = ready,
};
