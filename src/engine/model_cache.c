#include "engine/model_cache.h"

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/model_image.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC 0x31454843414b4350ULL
/* So many times the image must fit on the disk, or it is better left to others. */
#define ROOM 4

/* Behind the image. */
struct trailer {
    uint64_t magic;
    uint32_t version; /* IMAGE_VERSION */
    uint32_t weights;
    uint64_t
        source; /* hash of what the model's files are called, their sizes and times */
    uint64_t image_bytes;
    uint64_t image_hash; /* XXH3 */
};

/* ---- what a model is -----------------------------------------------------------------
 */

struct file_state {
    int64_t bytes, seconds, nanoseconds;
};

static struct file_state state_of(const struct stat *st)
{
    return (struct file_state){(int64_t)st->st_size, (int64_t)st->st_mtim.tv_sec,
                               (int64_t)st->st_mtim.tv_nsec};
}

static int is_plain(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* All files of a folder, in the order of their names. */
static bool hash_folder(const char *path, uint64_t *hash)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, is_plain, alphasort);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = n >= 0 && fd >= 0;
    *hash = 0;
    for (int i = 0; i < n; i++) {
        struct stat st;
        good = good && fstatat(fd, entries[i]->d_name, &st, 0) == 0;
        if (good) {
            struct file_state state = state_of(&st);
            *hash = XXH3_64bits_withSeed(entries[i]->d_name, strlen(entries[i]->d_name),
                                         *hash);
            *hash = XXH3_64bits_withSeed(&state, sizeof state, *hash);
        }
        free(entries[i]);
    }
    free(entries);
    if (fd >= 0)
        close(fd);
    return good;
}

static bool hash_source(const char *path, bool *folder, uint64_t *hash)
{
    struct stat st;
    if (stat(path, &st))
        return false;
    *folder = S_ISDIR(st.st_mode);
    if (*folder)
        return hash_folder(path, hash);
    struct file_state state = state_of(&st);
    *hash = XXH3_64bits(&state, sizeof state);
    return S_ISREG(st.st_mode);
}

/* Where the image of a model lies, and what the model is now. */
struct place {
    char path[PATH_MAX];
    uint64_t source;
};

static bool find_place(const char *model, enum whisper_weights weights, struct place *out)
{
    const char *kind = weights == WHISPER_WEIGHTS_8_BITS ? "8" : "given";
    const char *slash = strrchr(model, '/'), *name = slash ? slash + 1 : model;
    bool folder;
    int n;
    if (!hash_source(model, &folder, &out->source))
        return false;
    if (folder)
        n = snprintf(out->path, sizeof out->path, "%s/.packed-%s", model, kind);
    else
        n = snprintf(out->path, sizeof out->path, "%.*s/.%s.packed-%s",
                     slash ? (int)(slash - model) : 1, slash ? model : ".", name, kind);
    return n > 0 && (size_t)n < sizeof out->path;
}

/* ---- reading --------------------------------------------------------------------------
 */

static bool read_all(int fd, void *out, size_t bytes, off_t at)
{
    char *to = out;
    while (bytes > 0) {
        ssize_t n = pread(fd, to, bytes, at);
        if (n <= 0)
            return false;
        to += n;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

/* Is there an image of this state of the model, by its trailer? */
static bool read_trailer(int fd, const struct place *p, enum whisper_weights weights,
                         struct trailer *t)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof *t)
        return false;
    off_t at = st.st_size - (off_t)sizeof *t;
    return read_all(fd, t, sizeof *t, at) && t->magic == MAGIC &&
           t->version == IMAGE_VERSION && t->weights == (uint32_t)weights &&
           t->source == p->source && t->image_bytes == (uint64_t)at;
}

/* The image into memory, where nobody can change it any more, and its hash there. */
static bool copy_in(int from, int to, const struct trailer *t)
{
    size_t bytes = (size_t)t->image_bytes;
    if (fallocate(to, 0, 0, (off_t)bytes))
        return false;
    void *image = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, to, 0);
    if (image == MAP_FAILED)
        return false;
    bool good =
        read_all(from, image, bytes, 0) && XXH3_64bits(image, bytes) == t->image_hash;
    munmap(image, bytes);
    return good && image_seal(to, NULL) == 0;
}

/* The image as it lies in the file. All pages are wanted at once, and in this order. */
static bool check(int fd, const struct trailer *t)
{
    size_t bytes = (size_t)t->image_bytes;
    void *image = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (image == MAP_FAILED)
        return false;
    (void)madvise(image, bytes, MADV_POPULATE_READ); /* a wish; since Linux 5.14 */
    bool good = XXH3_64bits(image, bytes) == t->image_hash;
    munmap(image, bytes);
    return good;
}

/* A copy, where others can write into the file. */
static int copy(int from, const struct trailer *t)
{
    int fd = image_memory(NULL);
    if (fd >= 0 && !copy_in(from, fd, t)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int model_cache_read(const char *path, enum whisper_weights weights, int *fd)
{
    struct place p;
    struct trailer t;
    struct stat st;
    if (!find_place(path, weights, &p))
        return ERR_NOT_FOUND;
    int from = open(p.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (from < 0)
        return ERR_NOT_FOUND;
    *fd = -1;
    bool good =
        fstat(from, &st) == 0 && read_trailer(from, &p, weights, &t) && t.image_bytes > 0;
    if (good && !image_file_is_ours(&st))
        *fd = copy(from, &t);
    else if (good && check(from, &t))
        *fd = from;
    if (*fd != from)
        close(from);
    return *fd >= 0 ? 0 : ERR_NOT_FOUND;
}

/* ---- writing --------------------------------------------------------------------------
 */

/* It has a name only when it is whole: who is killed before leaves nothing behind. */
static int write_image(const char *folder, const char *path, const void *image,
                       struct trailer *t)
{
    char open_file[32];
    int fd = open(folder, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0644);
    if (fd < 0)
        return ERR_IO;
    (void)snprintf(open_file, sizeof open_file, "/proc/self/fd/%d", fd);
    int status = fs_write_all(fd, image, (size_t)t->image_bytes, NULL);
    if (!status)
        status = fs_write_all(fd, t, sizeof *t, NULL);
    if (!status && linkat(AT_FDCWD, open_file, AT_FDCWD, path, AT_SYMLINK_FOLLOW))
        status = ERR_IO;
    close(fd);
    return status;
}

/* Not synced: after a crash the hash shows what is missing. */
static void keep(const struct place *p, const void *image, struct trailer *t)
{
    char folder[PATH_MAX], part[PATH_MAX];
    uint64_t room = 0;
    int length = (int)(strrchr(p->path, '/') - p->path);
    int n = snprintf(part, sizeof part, "%s.part", p->path);
    (void)snprintf(folder, sizeof folder, "%.*s", length, p->path);
    if (n <= 0 || (size_t)n >= sizeof part || fs_free_bytes(folder, &room, NULL) ||
        room / ROOM < t->image_bytes)
        return;
    (void)unlink(part);
    if (write_image(folder, part, image, t) || rename(part, p->path))
        (void)unlink(part);
    else
        log_debug("%s: packed weights kept, %zu MB", p->path,
                  (size_t)t->image_bytes / 1000000);
}

void model_cache_write(const char *path, enum whisper_weights weights, int image_fd)
{
    struct place p;
    struct stat st;
    if (!find_place(path, weights, &p) || fstat(image_fd, &st) || st.st_size <= 0)
        return;
    size_t bytes = (size_t)st.st_size;
    void *image = mmap(NULL, bytes, PROT_READ, MAP_SHARED, image_fd, 0);
    if (image == MAP_FAILED)
        return;
    struct trailer t = {
        .magic = MAGIC,
        .version = IMAGE_VERSION,
        .weights = (uint32_t)weights,
        .source = p.source,
        .image_bytes = bytes,
        .image_hash = XXH3_64bits(image, bytes),
    };
    keep(&p, image, &t);
    munmap(image, bytes);
}
