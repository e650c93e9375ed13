#include "base/machine.h"

#include "base/fs.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"

/* A limit from a file; UINT64_MAX for "max", or for none. */
static uint64_t read_limit(const char *path)
{
    struct buf text;
    uint64_t limit = UINT64_MAX;
    buf_init(&text, 4096);
    if (!fs_read(path, &text, NULL)) {
        char *end;
        errno = 0;
        unsigned long long value = strtoull(buf_cstr(&text), &end, 10);
        if (end != buf_cstr(&text) && !errno && value > 0)
            limit = value;
    }
    buf_release(&text);
    return limit;
}

/* A kind of control group: where its groups are, and what the files are called. */
struct kind {
    const char *root, *limit, *used, *droppable;
};
static const struct kind version_2 = {CGROUPS, "memory.max", "memory.current",
                                      "inactive_file "};
static const struct kind version_1 = {CGROUPS "/memory", "memory.limit_in_bytes",
                                      "memory.usage_in_bytes", "total_inactive_file "};

/* The group that limits us most. */
struct limit {
    uint64_t bytes; /* UINT64_MAX: none does */
    const struct kind *kind;
    char folder[PATH_MAX];
};

/* The least limit of a group and of all that it is in. */
static void look_above(const struct kind *kind, const char *group, struct limit *least)
{
    char path[PATH_MAX], inner[PATH_MAX];
    (void)snprintf(inner, sizeof inner, "%s", group);
    for (;;) {
        int n = snprintf(path, sizeof path, "%s%s/%s", kind->root, inner, kind->limit);
        uint64_t bytes = n > 0 && (size_t)n < sizeof path ? read_limit(path) : UINT64_MAX;
        if (bytes < least->bytes) {
            least->bytes = bytes;
            least->kind = kind;
            (void)snprintf(least->folder, sizeof least->folder, "%.*s",
                           (int)(strrchr(path, '/') - path), path);
        }
        char *slash = strrchr(inner, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

/* Lines of /proc/self/cgroup: "0::/group" (version 2), "4:memory:/group" (1). */
static void find_limit(struct limit *least)
{
    struct buf text;
    least->bytes = UINT64_MAX;
    buf_init(&text, 65536);
    if (fs_read("/proc/self/cgroup", &text, NULL))
        buf_reset(&text);
    char *rest = NULL;
    for (char *line = text.data ? strtok_r(text.data, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        const char *memory = strstr(line, ":memory:");
        if (!strncmp(line, "0::", 3))
            look_above(&version_2, line + 3, least);
        else if (memory)
            look_above(&version_1, memory + strlen(":memory:"), least);
    }
    buf_release(&text);
}

static uint64_t physical_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
}

uint64_t machine_memory_bytes(void)
{
    struct limit limit;
    find_limit(&limit);
    uint64_t physical = physical_bytes();
    uint64_t least = physical < limit.bytes ? physical : limit.bytes;
    return least == UINT64_MAX ? 0 : least;
}

/* A number behind a name that a line begins with; 0 when there is none. */
static uint64_t read_named(const char *path, const char *name)
{
    struct buf text;
    uint64_t value = 0;
    buf_init(&text, 65536);
    if (!fs_read(path, &text, NULL)) {
        const char *at = buf_cstr(&text);
        while (at && strncmp(at, name, strlen(name)) != 0)
            at = (at = strchr(at, '\n')) ? at + 1 : NULL;
        if (at)
            value = strtoull(at + strlen(name), NULL, 10);
    }
    buf_release(&text);
    return value;
}

static void machine_itself(struct machine_memory *out)
{
    uint64_t all = 1024 * read_named("/proc/meminfo", "MemTotal:");
    uint64_t available = 1024 * read_named("/proc/meminfo", "MemAvailable:");
    *out = (struct machine_memory){.used = all > available ? all - available : 0,
                                   .limit = all};
}

void machine_memory(struct machine_memory *out)
{
    char path[PATH_MAX + 32];
    struct limit limit;
    find_limit(&limit);
    if (limit.bytes >= physical_bytes()) {
        machine_itself(out);
        return;
    }
    (void)snprintf(path, sizeof path, "%s/%s", limit.folder, limit.kind->used);
    uint64_t used = read_named(path, "");
    (void)snprintf(path, sizeof path, "%s/memory.stat", limit.folder);
    uint64_t droppable = read_named(path, limit.kind->droppable);
    *out = (struct machine_memory){.used = used > droppable ? used - droppable : 0,
                                   .limit = limit.bytes};
}

int64_t machine_oom_kills(void)
{
    static const char name[] = "\noom_kill ";
    struct buf text;
    int64_t kills = -1;
    buf_init(&text, 65536);
    if (!fs_read("/proc/vmstat", &text, NULL)) {
        const char *line = strstr(buf_cstr(&text), name);
        if (line)
            kills = strtoll(line + strlen(name), NULL, 10);
    }
    buf_release(&text);
    return kills;
}
