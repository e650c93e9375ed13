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

/* The least limit of a group and of all that it is in. */
static uint64_t least_above(const char *root, const char *group, const char *file)
{
    char path[PATH_MAX], inner[PATH_MAX];
    uint64_t least = UINT64_MAX;
    (void)snprintf(inner, sizeof inner, "%s", group);
    for (;;) {
        int n = snprintf(path, sizeof path, "%s%s/%s", root, inner, file);
        uint64_t limit = n > 0 && (size_t)n < sizeof path ? read_limit(path) : UINT64_MAX;
        least = limit < least ? limit : least;
        char *slash = strrchr(inner, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* Lines of /proc/self/cgroup: "0::/group" (version 2), "4:memory:/group" (1). */
static uint64_t cgroup_limit(void)
{
    struct buf text;
    uint64_t least = UINT64_MAX;
    buf_init(&text, 65536);
    if (fs_read("/proc/self/cgroup", &text, NULL))
        buf_reset(&text);
    char *rest = NULL;
    for (char *line = text.data ? strtok_r(text.data, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        uint64_t limit = UINT64_MAX;
        const char *memory = strstr(line, ":memory:");
        if (!strncmp(line, "0::", 3))
            limit = least_above(CGROUPS, line + 3, "memory.max");
        else if (memory)
            limit = least_above(CGROUPS "/memory", memory + strlen(":memory:"),
                                "memory.limit_in_bytes");
        least = limit < least ? limit : least;
    }
    buf_release(&text);
    return least;
}

uint64_t machine_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t physical =
        pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
    uint64_t limit = cgroup_limit();
    uint64_t least = physical < limit ? physical : limit;
    return least == UINT64_MAX ? 0 : least;
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
