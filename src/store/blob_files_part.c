/* Recordings that come in several sittings, in a folder.
 *
 * Each sitting that cannot know that the one before it has let go writes a file of its
 * own, under a name that nobody else has: what a late writer still writes lies behind the
 * bytes of its file that count, and is never read. At the end the files become one. A
 * file that nobody else can have open becomes the recording as it is. */
#include "store/blob_files.h"

#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMIT_BYTES (INT64_C(8) << 20)

#define STORE(s)     ((struct files_store *)(s))
#define WRITER(w)    ((struct files_writer *)(w))

static struct blob_piece *last_piece(struct blob_writer *w)
{
    return &w->state.pieces[w->state.n_pieces - 1];
}

/* Go on in the last file, which is ours alone; what does not count is cut off. */
static int reopen(struct files_writer *w, struct err *e)
{
    char path[PATH_MAX];
    struct stat st;
    const struct blob_piece *piece = last_piece(&w->base);
    int status = files_piece_path(STORE(w->base.store), w->base.id, piece, path, e);
    if (status)
        return status;
    w->fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (w->fd < 0 || fstat(w->fd, &st))
        return files_blame_us(err_errno(e, "cannot open an upload"), e);
    if (st.st_size < piece->bytes)
        return err_set(e, ERR_CORRUPT,
                       "the upload has lost bytes in the storage: begin it anew");
    if (ftruncate(w->fd, piece->bytes) || lseek(w->fd, piece->bytes, SEEK_SET) < 0)
        return err_errno(e, "cannot cut an upload");
    w->start = w->base.bytes - piece->bytes;
    w->named = true;
    return 0;
}

/* What counts must be there before more is taken. */
static int check_pieces(struct files_writer *w, struct err *e)
{
    const struct blob_state *state = &w->base.state;
    char path[PATH_MAX];
    int status = 0;
    for (size_t i = 0; !status && i < state->n_pieces; i++) {
        struct stat st;
        status = files_piece_path(STORE(w->base.store), w->base.id, &state->pieces[i],
                                  path, e);
        if (!status && lstat(path, &st))
            status = files_blame_us(err_errno(e, "cannot open an upload"), e);
        else if (!status && st.st_size < state->pieces[i].bytes)
            status = err_set(e, ERR_CORRUPT,
                             "the upload has lost bytes in the storage: begin it anew");
    }
    return status;
}

int files_resume(struct blob_writer *base, bool clean, struct err *e)
{
    struct files_writer *w = WRITER(base);
    struct files_store *s = STORE(base->store);
    int status = files_check_space(s, e);
    if (!status && access(s->parts, W_OK))
        status = files_blame_us(
            err_errno(e, "the storage folder %s cannot be written", s->parts), e);
    if (!status)
        status = check_pieces(w, e);
    if (!status && clean && base->state.n_pieces && last_piece(base)->token[0])
        status = reopen(w, e);
    w->checked_at = w->flushed_at = w->synced_at = base->bytes;
    return status;
}

int files_need_piece(struct files_writer *w, struct err *e)
{
    char path[PATH_MAX];
    if (w->fd >= 0)
        return 0;
    int status = blob_state_add_piece(&w->base.state, e);
    if (!status)
        status = files_piece_path(STORE(w->base.store), w->base.id, last_piece(&w->base),
                                  path, e);
    if (status)
        return status;
    w->start = w->base.bytes;
    w->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (w->fd >= 0)
        return 0;
    w->base.state.n_pieces--; /* or it would be missed at the next sitting */
    return files_blame_us(err_errno(e, "cannot store an upload"), e);
}

int files_sync(struct blob_writer *base, bool all, int64_t *bytes, struct err *e)
{
    struct files_writer *w = WRITER(base);
    char path[PATH_MAX];
    (void)all;
    *bytes = base->bytes;
    if (w->fd < 0)
        return 0;
    if (fsync(w->fd))
        return err_errno(e, "cannot sync an upload");
    int status = 0;
    if (!w->named)
        status =
            files_piece_path(STORE(base->store), base->id, last_piece(base), path, e);
    if (!status && !w->named)
        status = fs_sync_folder_of(path, e);
    if (!status) {
        w->named = true;
        w->synced_at = base->bytes;
    }
    return status;
}

bool files_sync_is_due(const struct blob_writer *base)
{
    return base->bytes - ((const struct files_writer *)base)->synced_at >= COMMIT_BYTES;
}

/* ---- the end ----------------------------------------------------------------------- */

static int add_bytes(void *arg, const void *bytes, size_t length, struct err *e)
{
    return fs_write_all(*(int *)arg, bytes, length, e);
}

static int pour_pieces(struct files_store *s, const char *id,
                       const struct blob_state *state, blob_data_fn data, void *arg,
                       struct err *e)
{
    char path[PATH_MAX];
    int status = 0;
    for (size_t i = 0; !status && i < state->n_pieces; i++) {
        status = files_piece_path(s, id, &state->pieces[i], path, e);
        int fd = status ? status : files_open(path, e);
        if (fd < 0)
            return fd;
        status = files_pour(fd, 0, state->pieces[i].bytes, data, arg, e);
        close(fd);
    }
    return status;
}

/* All files as one, of which `path` becomes the name. */
static int join_pieces(struct files_writer *w, char path[PATH_MAX], struct err *e)
{
    struct files_store *s = STORE(w->base.store);
    struct blob_piece whole = {.bytes = 0};
    blob_token(whole.token);
    int status = files_piece_path(s, w->base.id, &whole, path, e);
    if (status)
        return status;
    if (w->fd >= 0)
        close(w->fd);
    w->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (w->fd < 0)
        return files_blame_us(err_errno(e, "cannot store an upload"), e);
    status = pour_pieces(s, w->base.id, &w->base.state, add_bytes, &w->fd, e);
    if (status)
        (void)files_unlink(s, path, NULL);
    return status;
}

static int hash_bytes(void *arg, const void *bytes, size_t length, struct err *e)
{
    (void)e;
    sha256_update(arg, length, bytes);
    return 0;
}

/* The file that is to be the recording, in `path`; its descriptor is in the writer. */
static int gather(struct files_writer *w, char path[PATH_MAX], struct err *e)
{
    struct files_store *s = STORE(w->base.store);
    struct blob_state *state = &w->base.state;
    int status;
    if (!w->base.kept)
        return files_path(s, w->base.id, ".part", path, e);
    status = w->fd >= 0 && state->n_pieces == 1
                 ? files_piece_path(s, w->base.id, last_piece(&w->base), path, e)
                 : join_pieces(w, path, e);
    if (status || state->hashed)
        return status;
    sha256_init(&state->hash);
    return files_pour(w->fd, 0, -1, hash_bytes, &state->hash, e);
}

/* An error of close() is one of writing: a server may refuse only then. */
static int close_writer(struct files_writer *w, struct err *e)
{
    int fd = w->fd;
    w->fd = -1;
    return fd >= 0 && close(fd) ? err_errno(e, "cannot store a recording") : 0;
}

int files_finish(struct blob_writer *base, struct err *e)
{
    struct files_writer *w = WRITER(base);
    struct files_store *s = STORE(base->store);
    char from[PATH_MAX], to[PATH_MAX];
    int status = files_path(s, base->id, "", to, e);
    if (!status)
        status = gather(w, from, e);
    bool gathered = !status;
    if (!status && fsync(w->fd))
        status = err_errno(e, "cannot sync %s", from);
    if (!status)
        status = close_writer(w, e);
    if (!status)
        status = fs_rename_durable(from, to, e);
    if (status && gathered && !base->kept) {
        (void)files_unlink(s, from, NULL);
        (void)files_unlink(s, to, NULL); /* when only the folder could not be synced */
    }
    if (!status && base->kept) /* a crash leaves them to the sweep */
        (void)files_discard(base->store, base->id, &base->state, NULL);
    return status;
}

int files_read_part(struct blob_store *s, const char *id, const struct blob_state *state,
                    blob_data_fn data, void *arg, struct err *e)
{
    return pour_pieces(STORE(s), id, state, data, arg, e);
}

/* ---- going ------------------------------------------------------------------------- */

/* Also what a late writer has left: this folder holds only what is coming in. */
int files_discard(struct blob_store *base, const char *id, const struct blob_state *state,
                  struct err *e)
{
    struct files_store *s = STORE(base);
    char path[PATH_MAX];
    (void)state;
    int status = files_path(s, id, ".part", path, e);
    if (!status)
        status = files_unlink(s, path, e);
    DIR *dir = opendir(s->parts);
    if (!dir)
        return status ? status : err_errno(e, "cannot read the folder %s", s->parts);
    const struct dirent *entry;
    while (!status && (entry = readdir(dir))) {
        if (strncmp(entry->d_name, id, ID_SIZE - 1) != 0)
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", s->parts, entry->d_name);
        if (n > 0 && (size_t)n < sizeof path)
            status = files_unlink(s, path, e);
    }
    closedir(dir);
    return status;
}
