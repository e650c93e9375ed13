/* What this machine's arithmetic and memory can do at most:
 *
 *     machine-limits [THREADS]
 *
 * prints lines `name<TAB>value<TAB>unit` for one thread (…_1) and for all (…_all).
 * Arithmetic goes from register to register in independent chains, as no real kernel can;
 * a product and its sum count as two operations. Of several trials the best counts: a
 * ceiling is what is reached when nobody else is in the way.
 *
 * Instructions are those of the level that the engine would choose (WT_CPU_LEVEL), and
 * 16-bit floats in pairs (bf16), which it does not use, where the processor has them. */
#include "base/clock.h"
#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/threads.h"
#include "limits_loops.h"

#include <unistd.h>

#define TRIALS   7
#define TRIAL_NS 40000000

struct trial {
    void (*loop)(int64_t rounds);
    int64_t rounds; /* of each thread */
    char *memory;   /* or what is read: `bytes` for each thread, `rounds` times */
    size_t bytes;
    int threads; /* that take part */
};

static void work(void *arg, int index, int size)
{
    (void)size;
    const struct trial *t = arg;
    if (index >= t->threads)
        return;
    if (t->loop) {
        t->loop(t->rounds);
        return;
    }
    for (int64_t i = 0; i < t->rounds; i++)
        limits_read(t->memory + (size_t)index * t->bytes, t->bytes);
}

static double seconds(struct pool *p, struct trial *t)
{
    int64_t start = clock_monotonic_ns();
    pool_run(p, work, t);
    return (double)(clock_monotonic_ns() - start + 1) / 1e9;
}

/* The greatest rate, in thousand millions a second, of `each` things a round. */
static double best(struct pool *p, struct trial *t, double each)
{
    double rate = 0;
    t->rounds = 1;
    while (seconds(p, t) * 1e9 < TRIAL_NS)
        t->rounds *= 2;
    for (int i = 0; i < TRIALS; i++) {
        double now = each * (double)t->rounds * t->threads / seconds(p, t) / 1e9;
        rate = now > rate ? now : rate;
    }
    return rate;
}

static void print(struct pool *p, struct trial *t, const char *name, double each,
                  const char *unit)
{
    t->threads = 1;
    printf("%s_1\t%.4g\t%s\n", name, best(p, t, each), unit);
    t->threads = pool_size(p);
    printf("%s_all\t%.4g\t%s\n", name, best(p, t, each), unit);
    fflush(stdout);
}

static size_t cache_bytes(int name, size_t otherwise)
{
    long bytes = sysconf(name);
    return bytes > 0 ? (size_t)bytes : otherwise;
}

/* Twice the second level of each thread is in the last one, unless that is small. From
 * memory comes what is four times as large as the last one together, or as large as can
 * be had; a last level that other machines share is larger than this one's part of it. */
static void print_memory(struct pool *p)
{
    size_t threads = (size_t)pool_size(p);
    size_t second = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 1 << 20);
    size_t last = cache_bytes(_SC_LEVEL3_CACHE_SIZE, 32 << 20);
    size_t most = (size_t)sysconf(_SC_AVPHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE) / 2;
    size_t total = 4 * last < most ? 4 * last : most;
    size_t bytes = total / threads / 4096 * 4096;
    struct trial t = {.bytes = bytes};
    t.memory = mem_aligned(bytes * threads, 1);
    if (!t.memory) {
        fputs("machine-limits: no memory to read\n", stderr);
        return;
    }
    memset(t.memory, 1, bytes * threads);
    print(p, &t, "memory_read", (double)bytes, "GB/s");
    t.bytes = 2 * second < bytes ? 2 * second : bytes;
    print(p, &t, "cache_read", (double)t.bytes, "GB/s");
    free(t.memory);
}

int main(int argc, char **argv)
{
    struct pool *p = NULL;
    struct err e = {0};
    long threads = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    if (argc > 2 || threads < 0 || threads > 1024) {
        fputs("usage: machine-limits [THREADS]\n", stderr);
        return 2;
    }
    if (pool_new(&p, (int)threads, &e)) {
        fprintf(stderr, "machine-limits: %s\n", e.message);
        return 1;
    }
    const char *level = kernels_choose()->name;
    struct limits_loop loops[LIMITS_LOOPS];
    size_t n = limits_loops(loops, level);
    printf("threads\t%d\tthreads\nlevel\t%s\tname\n", pool_size(p), level);
    for (size_t i = 0; i < n; i++) {
        struct trial t = {.loop = loops[i].run};
        print(p, &t, loops[i].name, loops[i].operations, "GOP/s");
    }
    print_memory(p);
    pool_free(p);
    return 0;
}
