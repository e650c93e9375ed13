/* Preloaded into a process under test: makes the disk of some folders full, or ends the
 * process, exactly when a test says so. tests/lib/shim.mjs drives it.
 *
 * WT_SHIM_FOLDERS names folders, with colons between; WT_SHIM_CONTROL a file with one
 * `struct control`, which the test writes while the process reads it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FOLDERS 8
#define NOTES   4096

struct control {
    /* Of 255 calls that would take space in a folder, so many find none. */
    uint8_t full[FOLDERS];
    /* The same for calls that ask for what was written to be durable. */
    uint8_t unsynced[FOLDERS];
    /* The process of this id dies before its call of this number, or (fail_at) finds no
     * space with it: of those in a folder that change something, and of those that send.
     * 0: none. */
    _Atomic uint32_t victim, kill_at, fail_at, calls;
    _Atomic uint32_t noted; /* bytes of: */
    char notes[NOTES];      /* the names of these calls */
    /* Of the reads of `reader` in the folders, those from this one on fail, so many. */
    _Atomic uint32_t reader, read_at, read_fails, reads;
    /* The sender's message of this number (sendmsg) finds its peer gone. */
    _Atomic uint32_t sender, send_at, sends;
};

static struct control *control;
static char folders[FOLDERS][PATH_MAX];
static int n_folders;
static _Atomic uint32_t draws;

__attribute__((constructor)) static void begin(void)
{
    const char *list = getenv("WT_SHIM_FOLDERS"), *path = getenv("WT_SHIM_CONTROL");
    int fd = list && path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at =
        mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    for (; *list && n_folders < FOLDERS; n_folders++) {
        size_t length = strcspn(list, ":");
        snprintf(folders[n_folders], PATH_MAX, "%.*s", (int)length, list);
        list += length + (list[length] == ':');
    }
    if (at != MAP_FAILED)
        control = at;
}

/* The real function of that name. */
static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

#define REAL(type, name)                                                                 \
    static type next;                                                                    \
    if (!next)                                                                           \
    next = (type)real(name)

static int folder_of(const char *path)
{
    char whole[PATH_MAX] = "";
    if (*path != '/' && getcwd(whole, sizeof whole / 2)) {
        size_t length = strlen(whole);
        snprintf(whole + length, sizeof whole - length, "/%s", path);
        path = whole;
    }
    int best = -1;
    for (int i = 0; i < n_folders; i++) {
        size_t length = strlen(folders[i]);
        if (!strncmp(path, folders[i], length) &&
            (best < 0 || length > strlen(folders[best])))
            best = i;
    }
    return best;
}

static int folder_of_fd(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0 ? folder_of(path) : -1;
}

static bool drawn(uint8_t of_255)
{
    if (of_255 == 0 || of_255 == 255)
        return of_255;
    uint32_t x = (atomic_fetch_add(&draws, 1) + 1) * 2654435761u;
    x ^= x >> 15;
    x *= 2246822519u;
    return (x >> 24) < of_255;
}

/* Count a call, and die before it if it is its turn; or whether it is to fail. */
static bool counted(const char *call, const char *path)
{
    if (!control || atomic_load(&control->victim) != (uint32_t)getpid())
        return false;
    uint32_t number = atomic_fetch_add(&control->calls, 1) + 1;
    char note[160];
    const char *name = strrchr(path, '/');
    int n = snprintf(note, sizeof note, "%s %.100s\n", call, name ? name + 1 : path);
    uint32_t at = atomic_fetch_add(&control->noted, (uint32_t)n);
    if (at + (uint32_t)n <= NOTES)
        memcpy(control->notes + at, note, (size_t)n);
    if (number == atomic_load(&control->kill_at)) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    return number == atomic_load(&control->fail_at);
}

enum verdict { GRANTED, REFUSED, CUT };

/* What becomes of a call that takes space at a path. A disk that fills up takes a part of
 * what is written first. */
static enum verdict judge(const char *call, const char *path)
{
    int i = control ? folder_of(path) : -1;
    if (i < 0)
        return GRANTED;
    bool named = counted(call, path);
    if (!named && !drawn(control->full[i]))
        return GRANTED;
    errno = ENOSPC;
    return !named && atomic_fetch_add(&draws, 1) % 3 == 0 ? CUT : REFUSED;
}

static bool refused_at(const char *call, const char *path)
{
    return judge(call, path) != GRANTED;
}

static bool refused(const char *call, int fd)
{
    char path[PATH_MAX];
    int i = control ? folder_of_fd(fd, path) : -1;
    return i >= 0 && refused_at(call, path);
}

static bool unsynced(const char *call, int fd)
{
    char path[PATH_MAX];
    int i = control ? folder_of_fd(fd, path) : -1;
    if (i < 0)
        return false;
    if (!counted(call, path) && !drawn(control->unsynced[i]))
        return false;
    errno = ENOSPC;
    return true;
}

/* ---- files ---- */

static bool makes_a_file(const char *path, int flags)
{
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return true;
    return (flags & O_CREAT) && access(path, F_OK);
}

#define OPEN(name)                                                                       \
    int name(const char *path, int flags, ...)                                           \
    {                                                                                    \
        typedef int (*fn)(const char *, int, ...);                                       \
        va_list args;                                                                    \
        va_start(args, flags);                                                           \
        mode_t mode = va_arg(args, mode_t);                                              \
        va_end(args);                                                                    \
        REAL(fn, #name);                                                                 \
        if (control && makes_a_file(path, flags) && refused_at("open", path))            \
            return -1;                                                                   \
        return next(path, flags, mode);                                                  \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *bytes, size_t length)
{
    typedef ssize_t (*fn)(int, const void *, size_t);
    char path[PATH_MAX];
    REAL(fn, "write");
    int i = control ? folder_of_fd(fd, path) : -1;
    enum verdict v = i >= 0 ? judge("write", path) : GRANTED;
    if (v == REFUSED)
        return -1;
    return next(fd, bytes, v == CUT && length > 1 ? length / 2 : length);
}

#define PWRITE(name)                                                                     \
    ssize_t name(int fd, const void *bytes, size_t length, off_t at)                     \
    {                                                                                    \
        typedef ssize_t (*fn)(int, const void *, size_t, off_t);                         \
        REAL(fn, #name);                                                                 \
        return refused("pwrite", fd) ? -1 : next(fd, bytes, length, at);                 \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

/* A read that the disk refuses for once. */
static bool unread(int fd)
{
    char path[PATH_MAX];
    if (!control || atomic_load(&control->reader) != (uint32_t)getpid() ||
        folder_of_fd(fd, path) < 0)
        return false;
    uint32_t number = atomic_fetch_add(&control->reads, 1) + 1;
    uint32_t at = atomic_load(&control->read_at);
    if (number < at || number - at >= atomic_load(&control->read_fails))
        return false;
    errno = EIO;
    return true;
}

#define PREAD(name)                                                                      \
    ssize_t name(int fd, void *to, size_t length, off_t at)                              \
    {                                                                                    \
        typedef ssize_t (*fn)(int, void *, size_t, off_t);                               \
        REAL(fn, #name);                                                                 \
        return unread(fd) ? -1 : next(fd, to, length, at);                               \
    }
PREAD(pread)
PREAD(pread64)

#define FTRUNCATE(name)                                                                  \
    int name(int fd, off_t length)                                                       \
    {                                                                                    \
        typedef int (*fn)(int, off_t);                                                   \
        REAL(fn, #name);                                                                 \
        return refused("ftruncate", fd) ? -1 : next(fd, length);                         \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

#define FALLOCATE(name)                                                                  \
    int name(int fd, off_t at, off_t length)                                             \
    {                                                                                    \
        typedef int (*fn)(int, off_t, off_t);                                            \
        REAL(fn, #name);                                                                 \
        return refused("fallocate", fd) ? ENOSPC : next(fd, at, length);                 \
    }
FALLOCATE(posix_fallocate)
FALLOCATE(posix_fallocate64)

#define SYNC(name)                                                                       \
    int name(int fd)                                                                     \
    {                                                                                    \
        typedef int (*fn)(int);                                                          \
        REAL(fn, #name);                                                                 \
        return unsynced(#name, fd) ? -1 : next(fd);                                      \
    }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to)
{
    typedef int (*fn)(const char *, const char *);
    REAL(fn, "rename");
    return refused_at("rename", to) ? -1 : next(from, to);
}

/* Never takes space, but is a moment to die at. */
int unlink(const char *path)
{
    typedef int (*fn)(const char *);
    REAL(fn, "unlink");
    if (control && folder_of(path) >= 0)
        (void)counted("unlink", path);
    return next(path);
}

/* ---- what is said to others ---- */

ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
    typedef ssize_t (*fn)(int, const void *, size_t, int);
    REAL(fn, "send");
    (void)counted("send", "");
    return next(fd, bytes, length, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    typedef ssize_t (*fn)(int, const struct msghdr *, int);
    REAL(fn, "sendmsg");
    (void)counted("sendmsg", "");
    if (control && atomic_load(&control->sender) == (uint32_t)getpid() &&
        atomic_fetch_add(&control->sends, 1) + 1 == atomic_load(&control->send_at)) {
        errno = ECONNRESET;
        return -1;
    }
    return next(fd, message, flags);
}
