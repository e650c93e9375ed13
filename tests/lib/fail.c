/* Preloaded into a process under test and its children: lets one allocation or one call
 * of the system fail, once, at the place in the program that a test names.
 * tests/lib/fail.mjs drives it.
 *
 * A place is the call and the chain of callers that it came by, so that each is tried
 * once, however often it runs. Calls that the C library makes inside itself are not seen.
 * WT_FAIL_CONTROL names a file with one `struct control`, which all share. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PLACES  16384
#define FRAMES  7
#define MODULES 160

struct place {
    _Atomic uint64_t hash; /* of role, call and callers; 0: free */
    uint32_t role, phases;
    _Atomic uint32_t count, tried;
    char call[24];
    struct {
        uint32_t module, offset;
    } frames[FRAMES];
};

struct control {
    _Atomic uint64_t wanted; /* the place that is to fail; 0: none */
    _Atomic uint32_t variant, fired, phase, locked;
    /* All places fail, each the first time that it is reached when none has failed for so
     * many milliseconds: 0 none. Of these kinds, a bit each: allocations, calls. */
    _Atomic uint32_t storm, kinds;
    _Atomic uint32_t last_ms, n_modules;
    char modules[MODULES][128];
    struct place places[PLACES];
};

struct range {
    uintptr_t low, high, base;
    uint32_t module;
};

static struct control *control;
static struct range ranges[MODULES];
static int n_ranges;
static uint32_t role;
static __thread bool inside __attribute__((tls_model("initial-exec")));

static uint32_t module_number(const char *name)
{
    if (strlen(name) >= 128)
        name += strlen(name) - 127;
    while (atomic_exchange(&control->locked, 1))
        sched_yield();
    uint32_t n = atomic_load(&control->n_modules), i = 0;
    while (i < n && strcmp(control->modules[i], name) != 0)
        i++;
    if (i == n && n < MODULES) {
        snprintf(control->modules[n], 128, "%s", name);
        atomic_store(&control->n_modules, n + 1);
    }
    atomic_store(&control->locked, 0);
    return i;
}

static int add_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    for (int i = 0; i < info->dlpi_phnum && n_ranges < MODULES; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type != PT_LOAD || !(h->p_flags & PF_X))
            continue;
        ranges[n_ranges++] = (struct range){
            info->dlpi_addr + h->p_vaddr, info->dlpi_addr + h->p_vaddr + h->p_memsz,
            info->dlpi_addr,
            module_number(*info->dlpi_name ? info->dlpi_name : "whisper-transcriber")};
    }
    return 0;
}

static void find_role(void)
{
    char line[256] = "";
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY);
    ssize_t n = fd < 0 ? 0 : syscall(SYS_read, fd, line, sizeof line - 1);
    (void)syscall(SYS_close, fd);
    const char *second = n > 0 ? line + strlen(line) + 1 : line;
    role = !strcmp(second, "serve")    ? 1
           : !strcmp(second, "worker") ? 2
           : !strcmp(second, "decode") ? 3
                                       : 4;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("WT_FAIL_CONTROL");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *frames[FRAMES];
    (void)backtrace(frames, FRAMES); /* loads what it needs */
    void *at = (void *)syscall(SYS_mmap, NULL, sizeof(struct control),
                               PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)syscall(SYS_close, fd);
    if (at == MAP_FAILED)
        return;
    find_role();
    control = at;
    inside = true;
    dl_iterate_phdr(add_module, NULL);
    inside = false;
}

static uint64_t mix(uint64_t h, uint64_t value)
{
    h ^= value + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdu;
    return h ^ (h >> 33);
}

/* Find the place in the table or add it, and say that it was reached in this phase. */
static struct place *visit(uint64_t hash, const char *call, void **frames, int n)
{
    for (size_t i = hash % PLACES, tries = 0; tries < PLACES;
         i = (i + 1) % PLACES, tries++) {
        struct place *p = &control->places[i];
        uint64_t there = 0;
        if (atomic_compare_exchange_strong(&p->hash, &there, hash)) {
            p->role = role;
            snprintf(p->call, sizeof p->call, "%s", call);
            for (int k = 0; k < n; k++)
                for (int m = 0; m < n_ranges; m++)
                    if ((uintptr_t)frames[k] >= ranges[m].low &&
                        (uintptr_t)frames[k] < ranges[m].high) {
                        p->frames[k].module = ranges[m].module + 1;
                        p->frames[k].offset =
                            (uint32_t)((uintptr_t)frames[k] - ranges[m].base);
                    }
            there = hash;
        }
        if (there == hash) {
            p->phases |= atomic_load(&control->phase);
            atomic_fetch_add(&p->count, 1);
            return p;
        }
    }
    return NULL;
}

static bool struck(struct place *p, bool allocates)
{
    uint32_t pause = atomic_load(&control->storm), none = 0;
    if (!p || !pause || !(atomic_load(&control->kinds) & (allocates ? 1 : 2)) ||
        atomic_load(&p->tried))
        return false;
    struct timespec now;
    (void)syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    uint32_t ms = (uint32_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
    uint32_t last = atomic_load(&control->last_ms);
    return ms - last >= pause &&
           atomic_compare_exchange_strong(&control->last_ms, &last, ms) &&
           atomic_compare_exchange_strong(&p->tried, &none,
                                          atomic_fetch_add(&control->fired, 1) + 1);
}

/* Whether this call is to fail. The first frames are ours. */
static __attribute__((noinline)) bool fails_of(const char *call, bool allocates)
{
    if (!control || inside || !atomic_load(&control->phase))
        return false;
    inside = true;
    int saved = errno;
    void *all[FRAMES + 2];
    int n = backtrace(all, FRAMES + 2) - 2;
    void **frames = all + 2;
    uint64_t hash = mix(role, (uint64_t)call[0] << 8 | strlen(call));
    for (const char *c = call; *c; c++)
        hash = mix(hash, (uint64_t)*c);
    for (int k = 0; k < n; k++) {
        uint64_t where = 1;
        for (int m = 0; m < n_ranges; m++)
            if ((uintptr_t)frames[k] >= ranges[m].low &&
                (uintptr_t)frames[k] < ranges[m].high)
                where = (uint64_t)(ranges[m].module + 2) << 40 |
                        ((uintptr_t)frames[k] - ranges[m].base);
        hash = mix(hash, where);
    }
    hash = hash >> 12 | 1; /* a number that JavaScript can hold */
    struct place *p = visit(hash, call, frames, n > 0 ? n : 0);
    uint32_t none = 0;
    bool hit = (atomic_load(&control->wanted) == hash &&
                atomic_compare_exchange_strong(&control->fired, &none, 1)) ||
               struck(p, allocates);
    errno = saved;
    inside = false;
    return hit;
}

#define fails(call) fails_of(call, false)

/* One of what the manual page says of this call, by the variant. */
static void blame(const int *codes, size_t n)
{
    errno = codes[atomic_load(&control->variant) % n];
}

#define CODES(...)                                                                       \
    static const int codes[] = {__VA_ARGS__};                                            \
    blame(codes, sizeof codes / sizeof *codes)
#define NEXT(name)                                                                       \
    static __typeof__(name) *next;                                                       \
    if (!next)                                                                           \
    next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define CALL(type, name, parameters, arguments, bad, ...)                                \
    type name parameters                                                                 \
    {                                                                                    \
        NEXT(name);                                                                      \
        if (fails(#name)) {                                                              \
            CODES(__VA_ARGS__);                                                          \
            return bad;                                                                  \
        }                                                                                \
        return next arguments;                                                           \
    }

/* ---- memory ---- */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

#define MEMORY(name, parameters, real)                                                   \
    void *name parameters                                                                \
    {                                                                                    \
        if (fails_of(#name, true)) {                                                     \
            errno = ENOMEM;                                                              \
            return NULL;                                                                 \
        }                                                                                \
        return real;                                                                     \
    }
MEMORY(malloc, (size_t n), __libc_malloc(n))
MEMORY(calloc, (size_t n, size_t each), __libc_calloc(n, each))
MEMORY(realloc, (void *at, size_t n), __libc_realloc(at, n))
MEMORY(aligned_alloc, (size_t to, size_t n), __libc_memalign(to, n))
MEMORY(memalign, (size_t to, size_t n), __libc_memalign(to, n))

int posix_memalign(void **out, size_t to, size_t n)
{
    if (fails_of("posix_memalign", true))
        return ENOMEM;
    *out = __libc_memalign(to, n);
    return *out ? 0 : ENOMEM;
}

/* ---- files ---- */

#define OPEN(name)                                                                       \
    int name(const char *path, int flags, ...)                                           \
    {                                                                                    \
        va_list args;                                                                    \
        va_start(args, flags);                                                           \
        mode_t mode = va_arg(args, mode_t);                                              \
        va_end(args);                                                                    \
        NEXT(name);                                                                      \
        if (fails(#name)) {                                                              \
            CODES(EMFILE, EIO, ENFILE, ENOMEM);                                          \
            return -1;                                                                   \
        }                                                                                \
        return next(path, flags, mode);                                                  \
    }
OPEN(open)
OPEN(open64)
static bool is_named(int fd, const char *start)
{
    char link[64], name[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlink, link, name, sizeof name);
    return n >= (ssize_t)strlen(start) && !memcmp(name, start, strlen(start));
}

static bool is_bell(int fd)
{
    return is_named(fd, "anon_inode:[eventfd]");
}

/* A bell that has rung can be heard: libuv ends the process if not. */
ssize_t read(int fd, void *to, size_t n)
{
    NEXT(read);
    if (!is_bell(fd) && fails("read")) {
        CODES(EIO, EINTR);
        return -1;
    }
    return next(fd, to, n);
}

ssize_t write(int fd, const void *of, size_t n)
{
    NEXT(write);
    /* One whose counter has room cannot fail to ring, nor a pipe in which a byte has. */
    bool rings = n == 8 ? is_bell(fd) : n == 1 && is_named(fd, "pipe:[");
    if (!rings && fails("write")) {
        CODES(EIO, ENOSPC, EINTR);
        return -1;
    }
    return next(fd, of, n);
}

CALL(ssize_t, pread64, (int fd, void *to, size_t n, off64_t at), (fd, to, n, at), -1, EIO)
CALL(ssize_t, pwrite64, (int fd, const void *of, size_t n, off64_t at), (fd, of, n, at),
     -1, EIO, ENOSPC)
CALL(ssize_t, writev, (int fd, const struct iovec *of, int n), (fd, of, n), -1, EIO)
CALL(ssize_t, sendfile64, (int to, int from, off64_t *at, size_t n), (to, from, at, n),
     -1, EIO, ENOMEM, EAGAIN)
CALL(int, fsync, (int fd), (fd), -1, EIO, ENOSPC)
CALL(int, fdatasync, (int fd), (fd), -1, EIO, ENOSPC)
CALL(int, ftruncate64, (int fd, off64_t n), (fd, n), -1, EIO)
CALL(int, fallocate64, (int fd, int how, off64_t at, off64_t n), (fd, how, at, n), -1,
     ENOSPC, EIO)
CALL(int, flock, (int fd, int how), (fd, how), -1, ENOLCK, EINTR)
CALL(int, rename, (const char *from, const char *to), (from, to), -1, EIO, ENOSPC)
CALL(int, link, (const char *from, const char *to), (from, to), -1, EIO)
CALL(int, unlink, (const char *path), (path), -1, EIO, EACCES)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, ENOSPC, EACCES)
CALL(int, stat64, (const char *path, struct stat64 *st), (path, st), -1, EIO, ENOMEM)
CALL(int, lstat64, (const char *path, struct stat64 *st), (path, st), -1, EIO)
CALL(int, fstat64, (int fd, struct stat64 *st), (fd, st), -1, EIO)
CALL(int, statvfs64, (const char *path, struct statvfs64 *st), (path, st), -1, EIO)
CALL(int, access, (const char *path, int how), (path, how), -1, EIO)
CALL(DIR *, opendir, (const char *path), (path), NULL, EMFILE, ENOMEM)
CALL(int, dup, (int fd), (fd), -1, EMFILE)
CALL(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, EMFILE,
     ENOMEM)

/* A lock can always be given back. */
static bool gives_back(int what, const void *arg)
{
    return (what == F_SETLK || what == F_SETLKW) &&
           ((const struct flock *)arg)->l_type == F_UNLCK;
}

#define FCNTL(name)                                                                      \
    int name(int fd, int what, ...)                                                      \
    {                                                                                    \
        va_list args;                                                                    \
        va_start(args, what);                                                            \
        void *arg = va_arg(args, void *);                                                \
        va_end(args);                                                                    \
        NEXT(name);                                                                      \
        if (!gives_back(what, arg) && fails(#name)) {                                    \
            CODES(ENOLCK, EMFILE, EIO);                                                  \
            return -1;                                                                   \
        }                                                                                \
        return next(fd, what, arg);                                                      \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

#define MMAP(name)                                                                       \
    void *name(void *at, size_t n, int how, int flags, int fd, off_t from)               \
    {                                                                                    \
        NEXT(name);                                                                      \
        if (fails(#name)) {                                                              \
            CODES(ENOMEM);                                                               \
            return MAP_FAILED;                                                           \
        }                                                                                \
        return next(at, n, how, flags, fd, from);                                        \
    }
MMAP(mmap)
MMAP(mmap64)

/* ---- others ---- */

CALL(int, socket, (int a, int b, int c), (a, b, c), -1, EMFILE, ENOBUFS)
CALL(int, socketpair, (int a, int b, int c, int out[2]), (a, b, c, out), -1, EMFILE)
CALL(int, bind, (int fd, const struct sockaddr *to, socklen_t n), (fd, to, n), -1,
     EADDRINUSE)
CALL(int, listen, (int fd, int n), (fd, n), -1, EADDRINUSE)
CALL(int, accept4, (int fd, struct sockaddr *from, socklen_t *n, int flags),
     (fd, from, n, flags), -1, EMFILE, ECONNABORTED, ENOMEM)
CALL(ssize_t, recv, (int fd, void *to, size_t n, int flags), (fd, to, n, flags), -1,
     ECONNRESET, EINTR)
CALL(ssize_t, recvmsg, (int fd, struct msghdr *to, int flags), (fd, to, flags), -1,
     ENOMEM, EINTR)
CALL(ssize_t, send, (int fd, const void *of, size_t n, int flags), (fd, of, n, flags), -1,
     ECONNRESET, EAGAIN)
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *of, int flags), (fd, of, flags), -1,
     ENOBUFS, EAGAIN, ECONNRESET)
CALL(int, epoll_create1, (int flags), (flags), -1, EMFILE, ENOMEM)

/* Only what adds takes memory. */
int epoll_ctl(int fd, int what, int of, struct epoll_event *e)
{
    NEXT(epoll_ctl);
    if (what == EPOLL_CTL_ADD && fails("epoll_ctl")) {
        CODES(ENOMEM, ENOSPC);
        return -1;
    }
    return next(fd, what, of, e);
}

CALL(int, epoll_wait, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms), -1,
     EINTR)
CALL(int, poll, (struct pollfd * of, nfds_t n, int ms), (of, n, ms), -1, EINTR, ENOMEM)
CALL(int, eventfd, (unsigned n, int flags), (n, flags), -1, EMFILE)
CALL(int, pipe2, (int out[2], int flags), (out, flags), -1, EMFILE)
/* getrandom gives the few bytes that anybody here asks for, or the kernel is broken. */

int pthread_create(pthread_t *out, const pthread_attr_t *how, void *(*run)(void *),
                   void *arg)
{
    NEXT(pthread_create);
    return fails("pthread_create") ? EAGAIN : next(out, how, run, arg);
}

int posix_spawn(pid_t *out, const char *path, const posix_spawn_file_actions_t *files,
                const posix_spawnattr_t *how, char *const argv[], char *const env[])
{
    NEXT(posix_spawn);
    return fails("posix_spawn") ? EAGAIN : next(out, path, files, how, argv, env);
}
