#include "base/processes.h"

#include "base/fs.h"
#include "base/mem.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

/* A line of /proc/PID/stat. */
struct process {
    int pid, parent;
    uint64_t ticks, ticks_of_ended; /* of its own; of children that it waited for */
    int64_t threads;
    uint64_t start, virtual_bytes, pages;
    int place; /* enum process_place; -1: not one of ours, as far as is known */
};

struct list {
    struct process *all; /* owned [count] */
    size_t count, capacity;
};

/* The name is in parentheses and may hold any, so that the fields begin behind the last
 * one. */
static bool parse(const char *text, struct process *p)
{
    unsigned long own = 0, kernel = 0, pages = 0;
    long ended = 0, ended_kernel = 0, threads = 0;
    unsigned long long start = 0, virtual_bytes = 0;
    const char *fields = strrchr(text, ')');
    if (!fields ||
        sscanf(fields + 1,
               " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %ld "
               "%*d %llu %llu %lu",
               &p->parent, &own, &kernel, &ended, &ended_kernel, &threads, &start,
               &virtual_bytes, &pages) != 9)
        return false;
    p->ticks = own + kernel;
    p->ticks_of_ended = (uint64_t)(ended + ended_kernel);
    p->threads = threads;
    p->start = start;
    p->virtual_bytes = virtual_bytes;
    p->pages = pages;
    return true;
}

static bool read_one(int pid, struct process *out)
{
    char path[64];
    struct buf text;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    buf_init(&text, 8192);
    *out = (struct process){.pid = pid, .place = -1};
    bool good = !fs_read(path, &text, NULL) && parse(buf_cstr(&text), out);
    buf_release(&text);
    return good;
}

static void read_all(struct list *l)
{
    DIR *folder = opendir("/proc");
    if (!folder)
        return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (*end || pid <= 0 || pid > INT32_MAX ||
            mem_grow(&l->all, &l->capacity, l->count + 1, sizeof *l->all))
            continue;
        if (read_one((int)pid, &l->all[l->count]))
            l->count++;
    }
    closedir(folder);
}

static int by_pid(const void *a, const void *b)
{
    const struct process *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

/* NULL: it has ended meanwhile, or is none that we see. */
static const struct process *parent_of(const struct list *l, const struct process *p)
{
    const struct process wanted = {.pid = p->parent};
    return bsearch(&wanted, l->all, l->count, sizeof wanted, by_pid);
}

/* Until nobody is found any more whose parent is one of ours. */
static void find_ours(struct list *l, int self)
{
    if (l->count)
        qsort(l->all, l->count, sizeof *l->all, by_pid);
    for (size_t i = 0; i < l->count; i++)
        if (l->all[i].pid == self)
            l->all[i].place = PROCESS_SELF;
    for (bool found = true; found;) {
        found = false;
        for (size_t i = 0; i < l->count; i++) {
            const struct process *parent = parent_of(l, &l->all[i]);
            if (l->all[i].place >= 0 || !parent || parent->place < 0)
                continue;
            l->all[i].place =
                parent->place == PROCESS_SELF ? PROCESS_CHILD : PROCESS_GRANDCHILD;
            found = true;
        }
    }
}

static double boot_seconds(void)
{
    static const char name[] = "\nbtime ";
    struct buf text;
    double seconds = 0;
    buf_init(&text, 1 << 20);
    if (!fs_read("/proc/stat", &text, NULL)) {
        const char *line = strstr(buf_cstr(&text), name);
        if (line)
            seconds = (double)strtoll(line + strlen(name), NULL, 10);
    }
    buf_release(&text);
    return seconds;
}

static int64_t count_files(void)
{
    int64_t count = -3; /* ".", "..", and the one that looks */
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void describe_self(const struct process *p, double tick, struct processes *out)
{
    struct rlimit limit;
    out->threads = p->threads;
    out->virtual_bytes = p->virtual_bytes;
    out->own_cpu_seconds = (double)p->ticks * tick;
    out->started_seconds = boot_seconds() + (double)p->start * tick;
    out->files = count_files();
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur != RLIM_INFINITY)
        out->files_most = (int64_t)limit.rlim_cur;
}

void processes_look(struct processes *out)
{
    struct list l = {0};
    long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
    double tick = ticks > 0 ? 1.0 / (double)ticks : 0;
    *out = (struct processes){0};
    read_all(&l);
    find_ours(&l, getpid());
    for (size_t i = 0; i < l.count; i++) {
        const struct process *p = &l.all[i];
        if (p->place < 0)
            continue;
        out->places[p->place].count++;
        out->places[p->place].resident += p->pages * (uint64_t)(page > 0 ? page : 0);
        out->cpu_seconds += (double)(p->ticks + p->ticks_of_ended) * tick;
        if (p->place == PROCESS_SELF)
            describe_self(p, tick, out);
    }
    free(l.all);
}
