/* Preloaded into a process under test: writes down every change that it makes below one
 * folder, in the order in which they happen, so that tests/lib/power.mjs can say what a
 * disk may hold when the power goes between any two of them.
 *
 * WT_RECORD_FOLDER names the folder, WT_RECORD_LOG the file. A record is a line, and for
 * what was written the bytes behind it:
 *   make INO PATH, open INO PATH (cut to nothing), write INO AT LENGTH, size INO LENGTH,
 *   sync INO, syncdir PATH, rename PATH PATH (with a NUL between), link PATH PATH,
 *   unlink PATH, mkdir PATH, rmdir PATH, send
 * Changes happen one at a time: what is synced is then everything that was written. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t folder_length;
static int log_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("WT_RECORD_FOLDER"), *path = getenv("WT_RECORD_LOG");
    if (!name || !path)
        return;
    folder_length = (size_t)snprintf(folder, sizeof folder, "%s/", name);
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

#define REAL(type, name)                                                                 \
    static type next;                                                                    \
    if (!next)                                                                           \
    next = (type)dlsym(RTLD_NEXT, name)

/* One call, so that records of several processes do not mix. A record that cannot be
 * written would make all that follows wrong. */
static void note(const char *line, size_t length, const void *bytes, size_t n)
{
    struct iovec parts[] = {{(void *)(uintptr_t)line, length},
                            {(void *)(uintptr_t)bytes, n}};
    if (syscall(SYS_writev, log_fd, parts, n ? 2 : 1) != (long)(length + n))
        abort();
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[3 * PATH_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    note(line, (size_t)n, NULL, 0);
}

/* The path below the folder, or NULL when it is elsewhere or of no interest: a shared
 * memory file of SQLite is made anew after a crash, and scratch files have no names. */
static const char *below(const char *path, char whole[2 * PATH_MAX])
{
    if (log_fd < 0)
        return NULL;
    if (*path != '/') {
        char here[PATH_MAX];
        if (syscall(SYS_getcwd, here, sizeof here) < 0)
            return NULL;
        snprintf(whole, 2 * PATH_MAX, "%s/%s", here, path);
    } else {
        snprintf(whole, 2 * PATH_MAX, "%s", path);
    }
    if (strncmp(whole, folder, folder_length) != 0)
        return NULL;
    const char *name = whole + folder_length;
    size_t length = strlen(name);
    if (strstr(name, "/scratch/") || (length > 4 && !strcmp(name + length - 4, "-shm")))
        return NULL;
    return name;
}

static const char *below_fd(int fd, char whole[2 * PATH_MAX])
{
    char link[64], path[PATH_MAX];
    if (log_fd < 0)
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 2);
    if (n <= 0)
        return NULL;
    path[n] = '\0';
    return *path == '/' ? below(path, whole) : NULL;
}

static unsigned long ino_of(int fd, off_t *size)
{
    struct stat st;
    if (fstat(fd, &st))
        return 0;
    *size = st.st_size;
    return st.st_ino;
}

#define LOCKED(type, result, call, then)                                                 \
    do {                                                                                 \
        pthread_mutex_lock(&lock);                                                       \
        type result = call;                                                              \
        int saved = errno;                                                               \
        then;                                                                            \
        pthread_mutex_unlock(&lock);                                                     \
        errno = saved;                                                                   \
        return result;                                                                   \
    } while (0)

/* ---- files ---- */

typedef int (*open_fn)(const char *, int, ...);

static int opened(open_fn next, const char *path, int flags, mode_t mode)
{
    char whole[2 * PATH_MAX];
    const char *name = flags & (O_CREAT | O_TRUNC) ? below(path, whole) : NULL;
    if (!name)
        return next(path, flags, mode);
    pthread_mutex_lock(&lock);
    bool made = access(path, F_OK) != 0;
    int fd = next(path, flags, mode), saved = errno;
    off_t size;
    if (fd >= 0 && (made || (flags & O_TRUNC)))
        say("%s %lu %s\n", made ? "make" : "open", ino_of(fd, &size), name);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

#define OPEN(name)                                                                       \
    int name(const char *path, int flags, ...)                                           \
    {                                                                                    \
        va_list args;                                                                    \
        va_start(args, flags);                                                           \
        mode_t mode = va_arg(args, mode_t);                                              \
        va_end(args);                                                                    \
        REAL(open_fn, #name);                                                            \
        return opened(next, path, flags, mode);                                          \
    }
OPEN(open)
OPEN(open64)

static void note_write(int fd, off_t at, const void *bytes, ssize_t n)
{
    char line[128];
    off_t size;
    if (n <= 0)
        return;
    int length = snprintf(line, sizeof line, "write %lu %lld %zd\n", ino_of(fd, &size),
                          (long long)at, n);
    note(line, (size_t)length, bytes, (size_t)n);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    typedef ssize_t (*fn)(int, const void *, size_t);
    char whole[2 * PATH_MAX];
    REAL(fn, "write");
    if (!below_fd(fd, whole))
        return next(fd, bytes, length);
    pthread_mutex_lock(&lock);
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (fcntl(fd, F_GETFL) & O_APPEND)
        (void)ino_of(fd, &at);
    ssize_t n = next(fd, bytes, length);
    int saved = errno;
    note_write(fd, at, bytes, n);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return n;
}

#define PWRITE(name)                                                                     \
    ssize_t name(int fd, const void *bytes, size_t length, off_t at)                     \
    {                                                                                    \
        typedef ssize_t (*fn)(int, const void *, size_t, off_t);                         \
        char whole[2 * PATH_MAX];                                                        \
        REAL(fn, #name);                                                                 \
        if (!below_fd(fd, whole))                                                        \
            return next(fd, bytes, length, at);                                          \
        LOCKED(ssize_t, n, next(fd, bytes, length, at), note_write(fd, at, bytes, n));   \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

static void note_size(int fd, int failed)
{
    off_t size;
    unsigned long ino = ino_of(fd, &size);
    if (!failed)
        say("size %lu %lld\n", ino, (long long)size);
}

#define FTRUNCATE(name)                                                                  \
    int name(int fd, off_t length)                                                       \
    {                                                                                    \
        typedef int (*fn)(int, off_t);                                                   \
        char whole[2 * PATH_MAX];                                                        \
        REAL(fn, #name);                                                                 \
        if (!below_fd(fd, whole))                                                        \
            return next(fd, length);                                                     \
        LOCKED(int, failed, next(fd, length), note_size(fd, failed));                    \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

#define FALLOCATE(name)                                                                  \
    int name(int fd, off_t at, off_t length)                                             \
    {                                                                                    \
        typedef int (*fn)(int, off_t, off_t);                                            \
        char whole[2 * PATH_MAX];                                                        \
        REAL(fn, #name);                                                                 \
        if (!below_fd(fd, whole))                                                        \
            return next(fd, at, length);                                                 \
        LOCKED(int, failed, next(fd, at, length), note_size(fd, failed));                \
    }
FALLOCATE(posix_fallocate)
FALLOCATE(posix_fallocate64)

static void note_sync(int fd, int failed)
{
    char whole[2 * PATH_MAX];
    struct stat st;
    if (failed || fstat(fd, &st))
        return;
    const char *name = below_fd(fd, whole);
    if (!name)
        return;
    if (S_ISDIR(st.st_mode))
        say("syncdir %s\n", name);
    else
        say("sync %lu\n", (unsigned long)st.st_ino);
}

static void note_sync_top(int fd, int failed)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (failed || n <= 0 || (size_t)n + 1 != folder_length)
        return;
    if (!strncmp(path, folder, (size_t)n))
        say("syncdir .\n");
}

#define SYNC(name)                                                                       \
    int name(int fd)                                                                     \
    {                                                                                    \
        typedef int (*fn)(int);                                                          \
        REAL(fn, #name);                                                                 \
        if (log_fd < 0)                                                                  \
            return next(fd);                                                             \
        LOCKED(int, failed, next(fd), note_sync(fd, failed); note_sync_top(fd, failed)); \
    }
SYNC(fsync)
SYNC(fdatasync)

/* ---- names ---- */

static void note_two(const char *what, const char *from, const char *to, int failed)
{
    char whole[2 * PATH_MAX], whole2[2 * PATH_MAX];
    const char *a = below(from, whole), *b = below(to, whole2);
    if (!failed && (a || b)) {
        char line[5 * PATH_MAX];
        int n = snprintf(line, sizeof line, "%s %s%c%s\n", what, a ? a : "?", '\0',
                         b ? b : "?");
        note(line, (size_t)n, NULL, 0);
    }
}

#define TWO(name)                                                                        \
    int name(const char *from, const char *to)                                           \
    {                                                                                    \
        typedef int (*fn)(const char *, const char *);                                   \
        REAL(fn, #name);                                                                 \
        if (log_fd < 0)                                                                  \
            return next(from, to);                                                       \
        LOCKED(int, failed, next(from, to), note_two(#name, from, to, failed));          \
    }
TWO(rename)
TWO(link)

static void note_one(const char *what, const char *path, int failed)
{
    char whole[2 * PATH_MAX];
    const char *name = below(path, whole);
    if (!failed && name)
        say("%s %s\n", what, name);
}

#define ONE(name)                                                                        \
    int name(const char *path)                                                           \
    {                                                                                    \
        typedef int (*fn)(const char *);                                                 \
        REAL(fn, #name);                                                                 \
        if (log_fd < 0)                                                                  \
            return next(path);                                                           \
        LOCKED(int, failed, next(path), note_one(#name, path, failed));                  \
    }
ONE(unlink)
ONE(rmdir)

int mkdir(const char *path, mode_t mode)
{
    typedef int (*fn)(const char *, mode_t);
    REAL(fn, "mkdir");
    if (log_fd < 0)
        return next(path, mode);
    LOCKED(int, failed, next(path, mode), note_one("mkdir", path, failed));
}

/* ---- what others were told ---- */

static void note_send(int fd)
{
    int domain = 0;
    socklen_t length = sizeof domain;
    if (log_fd >= 0 && !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) &&
        (domain == AF_INET || domain == AF_INET6)) {
        pthread_mutex_lock(&lock);
        say("send\n");
        pthread_mutex_unlock(&lock);
    }
}

/* Of files nothing here is written so: who begins to must be recorded, too. */
ssize_t writev(int fd, const struct iovec *parts, int n)
{
    typedef ssize_t (*fn)(int, const struct iovec *, int);
    char whole[2 * PATH_MAX];
    REAL(fn, "writev");
    if (below_fd(fd, whole))
        say("unknown writev\n");
    else
        note_send(fd);
    return next(fd, parts, n);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
    typedef ssize_t (*fn)(int, const void *, size_t, int);
    REAL(fn, "send");
    note_send(fd);
    return next(fd, bytes, length, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    typedef ssize_t (*fn)(int, const struct msghdr *, int);
    REAL(fn, "sendmsg");
    note_send(fd);
    return next(fd, message, flags);
}
