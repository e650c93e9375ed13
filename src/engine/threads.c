/* The caller publishes a call and opens the gate; workers that see it come in, run and
 * leave; the caller closes the gate and waits for those inside. So a shared list of tasks
 * (pool_each) never waits for a worker that the system has not let run: the caller does
 * its share. Whoever waits spins for some microseconds first (a decoder step has hundreds
 * of short calls) and then sleeps on a futex (an idle service costs nothing). */
#include "engine/threads.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_THREADS 1024
#define SPINS       4000 /* about 20 to 40 µs */

struct worker {
    struct pool *pool; /* borrowed */
    pthread_t thread;
    int index;
};

struct pool {
    int size;
    int spins;              /* 0 when there are more threads than processors */
    struct worker *workers; /* owned [size - 1] */
    int started;

    pool_fn fn; /* of the call at work; changes only while nobody is inside */
    void *arg;
    _Atomic bool ending;

    /* Each on its own cache line: they are written by different threads. */
    _Alignas(64) _Atomic uint32_t generation; /* a futex: workers wait for a new call */
    /* Generation in the upper half, then GATE_OPEN, then how many workers are inside. */
    _Alignas(64) _Atomic uint64_t gate;
    _Alignas(64) _Atomic uint32_t finished; /* workers that have run the call */
    _Alignas(64) _Atomic uint32_t bell;     /* a futex: a worker has left */
    _Alignas(64) _Atomic uint32_t arrived;
    _Alignas(64) _Atomic uint32_t phase; /* a futex: the barrier's generation */
    _Alignas(64) _Atomic uint32_t sleepers;
};

#define GATE_OPEN   0x80000000u
#define GATE_INSIDE 0x7fffffffu

static void pause_processor(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* The waiter counts itself before the kernel compares the word, the waker changes the
 * word before it looks at the count (both sequentially consistent): one of them sees the
 * other, so the system call is saved when nobody sleeps, and no wake-up is lost. */
static void futex_wait(struct pool *p, _Atomic uint32_t *word, uint32_t while_equal)
{
    atomic_fetch_add(&p->sleepers, 1);
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_equal, NULL, NULL, 0);
    atomic_fetch_sub(&p->sleepers, 1);
}

static void futex_wake(struct pool *p, _Atomic uint32_t *word)
{
    if (atomic_load(&p->sleepers))
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Wait until *word differs from `value`; returns what it is then. */
static uint32_t wait_change(struct pool *p, _Atomic uint32_t *word, uint32_t value)
{
    uint32_t now;
    for (int i = 0; i < p->spins; i++) {
        now = atomic_load_explicit(word, memory_order_acquire);
        if (now != value)
            return now;
        pause_processor();
    }
    while ((now = atomic_load_explicit(word, memory_order_acquire)) == value)
        futex_wait(p, word, value);
    return now;
}

/* True when this worker is inside, for the call of that generation. */
static bool enter(struct pool *p, uint32_t generation)
{
    uint64_t gate = atomic_load_explicit(&p->gate, memory_order_acquire);
    while (gate >> 32 == generation && gate & GATE_OPEN)
        if (atomic_compare_exchange_weak_explicit(
                &p->gate, &gate, gate + 1, memory_order_acq_rel, memory_order_acquire))
            return true;
    return false;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    uint32_t seen = 0;
    for (;;) {
        seen = wait_change(p, &p->generation, seen);
        if (atomic_load_explicit(&p->ending, memory_order_acquire))
            return NULL;
        if (!enter(p, seen))
            continue;
        p->fn(p->arg, w->index, p->size);
        atomic_fetch_add_explicit(&p->finished, 1, memory_order_acq_rel);
        atomic_fetch_sub_explicit(&p->gate, 1, memory_order_acq_rel);
        atomic_fetch_add(&p->bell, 1);
        futex_wake(p, &p->bell);
    }
}

static void publish(struct pool *p, pool_fn fn, void *arg)
{
    uint32_t next = atomic_load_explicit(&p->generation, memory_order_relaxed) + 1;
    p->fn = fn;
    p->arg = arg;
    atomic_store_explicit(&p->finished, 0, memory_order_relaxed);
    atomic_store_explicit(&p->gate, (uint64_t)next << 32 | GATE_OPEN,
                          memory_order_release);
    atomic_store(&p->generation, next);
    futex_wake(p, &p->generation);
}

/* Close the gate when `wanted` workers have run the call, and wait for those inside. */
static void conclude(struct pool *p, uint32_t wanted)
{
    for (bool closed = false;;) {
        uint32_t bell = atomic_load(&p->bell);
        if (!closed &&
            atomic_load_explicit(&p->finished, memory_order_acquire) >= wanted) {
            atomic_fetch_and_explicit(&p->gate, ~(uint64_t)GATE_OPEN,
                                      memory_order_acq_rel);
            closed = true;
        }
        if (closed &&
            !(atomic_load_explicit(&p->gate, memory_order_acquire) & GATE_INSIDE))
            return;
        wait_change(p, &p->bell, bell);
    }
}

void pool_run(struct pool *p, pool_fn fn, void *arg)
{
    if (p->size == 1) {
        fn(arg, 0, 1);
        return;
    }
    publish(p, fn, arg);
    fn(arg, 0, p->size);
    conclude(p, (uint32_t)p->started);
}

struct each {
    pool_task_fn fn;
    void *arg; /* borrowed */
    int count;
    _Atomic int next;
};

static void each_thread(void *arg, int index, int size)
{
    (void)size;
    struct each *each = arg;
    int task;
    while ((task = atomic_fetch_add_explicit(&each->next, 1, memory_order_relaxed)) <
           each->count)
        each->fn(each->arg, task, index);
}

void pool_each(struct pool *p, int count, pool_task_fn fn, void *arg)
{
    struct each each = {.fn = fn, .arg = arg, .count = count};
    if (p->size == 1 || count <= 1) {
        for (int task = 0; task < count; task++)
            fn(arg, task, 0);
        return;
    }
    publish(p, each_thread, &each);
    each_thread(&each, 0, p->size);
    conclude(p, 0);
}

void pool_barrier(struct pool *p)
{
    if (p->size == 1)
        return;
    uint32_t phase = atomic_load_explicit(&p->phase, memory_order_acquire);
    uint32_t before = atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel);
    if (before + 1 < (uint32_t)p->size) {
        wait_change(p, &p->phase, phase);
        return;
    }
    atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
    atomic_fetch_add(&p->phase, 1);
    futex_wake(p, &p->phase);
}

int pool_new(struct pool **out, int threads, struct err *e)
{
    if (threads < 0 || threads > MAX_THREADS)
        return err_set(e, ERR_INVALID, "the number of threads must be 0 to %d, not %d",
                       MAX_THREADS, threads);
    int available = threads_available();
    if (threads == 0)
        threads = available < MAX_THREADS ? available : MAX_THREADS;
    struct pool *p = mem_aligned(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "no memory for threads");
    p->size = threads;
    p->spins = threads <= available ? SPINS : 0;
    p->workers = mem_array((size_t)threads, sizeof *p->workers);
    int status = p->workers ? 0 : err_set(e, ERR_NOMEM, "no memory for threads");
    while (!status && p->started < threads - 1) {
        struct worker *w = &p->workers[p->started];
        w->pool = p;
        w->index = p->started + 1;
        errno = pthread_create(&w->thread, NULL, worker_main, w);
        if (errno)
            status = err_errno(e, "cannot start thread %d of %d", w->index + 1, threads);
        else
            p->started++;
    }
    if (status) {
        pool_free(p);
        return status;
    }
    *out = p;
    return 0;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    atomic_store(&p->ending, true);
    atomic_fetch_add(&p->generation, 1);
    futex_wake(p, &p->generation);
    for (int i = 0; i < p->started; i++)
        pthread_join(p->workers[i].thread, NULL);
    free(p->workers);
    free(p);
}

int pool_size(const struct pool *p)
{
    return p->size;
}

/* ---- how many processors are ours -------------------------------------------------- */

/* Processors that a quota of `quota` in every `period` microseconds amounts to, rounded
 * up, or INT_MAX when there is none. */
static int quota_processors(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return INT_MAX;
    long long n = (quota + period - 1) / period;
    return n < INT_MAX ? (int)n : INT_MAX;
}

static bool read_text(const char *path, struct buf *out)
{
    buf_reset(out);
    return fs_read(path, out, NULL) == 0 && out->length > 0;
}

/* The quota that one cgroup folder sets, version 2 ("max 100000", "150000 100000") or
 * version 1 (two files; no quota is -1). */
static int folder_quota(const char *folder, struct buf *text)
{
    char path[PATH_MAX + 64];
    long long quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (read_text(path, text))
        return sscanf(buf_cstr(text), "%lld %lld", &quota, &period) == 2
                   ? quota_processors(quota, period)
                   : INT_MAX;
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!read_text(path, text) || sscanf(buf_cstr(text), "%lld", &quota) != 1)
        return INT_MAX;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (!read_text(path, text) || sscanf(buf_cstr(text), "%lld", &period) != 1)
        return INT_MAX;
    return quota_processors(quota, period);
}

/* The least quota of a cgroup and of all that contain it. In a container the path may be
 * the host's; then only the root, which is the container's own group, is found. */
static int tree_quota(const char *root, const char *group, struct buf *text)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s", root, group);
    if (n < 0 || (size_t)n >= sizeof path)
        return INT_MAX;
    int least = INT_MAX;
    for (;;) {
        int quota = folder_quota(path, text);
        least = quota < least ? quota : least;
        char *slash = strrchr(path, '/');
        if (!slash || (size_t)(slash - path) < strlen(root))
            return least;
        *slash = '\0';
    }
}

/* True when "cpu" is in a list such as "cpu,cpuacct". */
static bool names_cpu(const char *list)
{
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, "cpu", 3) == 0 && (at[3] == '\0' || at[3] == ','))
            return true;
    return false;
}

static int cgroup_processors(void)
{
    struct buf groups, text;
    buf_init(&groups, 65536);
    buf_init(&text, 4096);
    int least = INT_MAX;
    char *rest = NULL;
    char *line = read_text("/proc/self/cgroup", &groups)
                     ? strtok_r(groups.data, "\n", &rest)
                     : NULL;
    /* Lines are "hierarchy:controllers:path"; version 2 has no controllers. */
    for (; line; line = strtok_r(NULL, "\n", &rest)) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        controllers++;
        int quota = INT_MAX;
        if (!*controllers)
            quota = tree_quota("/sys/fs/cgroup", path, &text);
        else if (names_cpu(controllers))
            quota = tree_quota("/sys/fs/cgroup/cpu", path, &text);
        least = quota < least ? quota : least;
    }
    buf_release(&groups);
    buf_release(&text);
    return least;
}

/* The mask may be wider than cpu_set_t on large machines: ask with a larger set. */
static int affinity_processors(void)
{
    for (int n = 1024; n <= 1 << 20; n *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)n);
        if (!set)
            break;
        size_t size = CPU_ALLOC_SIZE((size_t)n);
        int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return count;
        if (errno != EINVAL)
            break;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < INT_MAX ? (int)online : 1;
}

int threads_available(void)
{
    int affinity = affinity_processors(), cgroup = cgroup_processors();
    int n = affinity < cgroup ? affinity : cgroup;
    return n > 0 ? n : 1;
}
