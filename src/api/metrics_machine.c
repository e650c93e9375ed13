/* What this process, its workers and their decoders take of the machine, and what is left
 * of it. The names of the first part are those that every Prometheus client has. */
#include "api/metrics.h"

#include "base/fs.h"
#include "base/machine.h"
#include "base/processes.h"

#include <limits.h>

static void write_self(const struct processes *p, struct buf *out)
{
    metrics_gauge(out, "process_resident_memory_bytes",
                  "Memory of this process that is in use, in bytes.",
                  (double)p->places[PROCESS_SELF].resident);
    metrics_gauge(out, "process_virtual_memory_bytes",
                  "Address space of this process, in bytes.", (double)p->virtual_bytes);
    metrics_counter(out, "process_cpu_seconds_total",
                    "Processor time of this process alone, in seconds.",
                    p->own_cpu_seconds);
    metrics_gauge(out, "process_open_fds", "Descriptors that are open.",
                  (double)p->files);
    metrics_gauge(out, "process_max_fds", "Descriptors that may be open.",
                  (double)p->files_most);
    metrics_gauge(out, "process_threads", "Threads of this process.", (double)p->threads);
    metrics_gauge(out, "process_start_time_seconds",
                  "When this process began, in seconds since 1970.", p->started_seconds);
}

static void write_family(const struct processes *p, struct buf *out)
{
    static const char *const roles[PROCESS_PLACES] = {"service", "worker", "decoder"};
    metrics_describe(out, METRICS_PREFIX "processes", "gauge",
                     "Processes: the service, its workers, their decoders.");
    for (int i = 0; i < PROCESS_PLACES; i++)
        buf_printf(out, METRICS_PREFIX "processes{role=\"%s\"} %lld\n", roles[i],
                   (long long)p->places[i].count);
    metrics_describe(out, METRICS_PREFIX "resident_memory_bytes", "gauge",
                     "Memory of these processes. The weights of a model are counted in "
                     "each worker that has them, though they share them.");
    for (int i = 0; i < PROCESS_PLACES; i++)
        buf_printf(out, METRICS_PREFIX "resident_memory_bytes{role=\"%s\"} %llu\n",
                   roles[i], (unsigned long long)p->places[i].resident);
    metrics_counter(out, METRICS_PREFIX "cpu_seconds_total",
                    "Processor time of all these processes, also of those that have "
                    "ended.",
                    p->cpu_seconds);
}

/* The container's where there is one. */
static void write_memory(struct buf *out)
{
    struct machine_memory m;
    machine_memory(&m);
    if (!m.limit)
        return;
    metrics_gauge(out, METRICS_PREFIX "memory_used_bytes",
                  "Memory in use in the container or control group that limits this "
                  "process, without what can be dropped; on the machine where there is "
                  "none.",
                  (double)m.used);
    metrics_gauge(out, METRICS_PREFIX "memory_limit_bytes",
                  "Memory that there may be in use.", (double)m.limit);
}

/* ---- disks ------------------------------------------------------------------------- */

struct place {
    const char *name;
    char path[PATH_MAX]; /* "": not on this machine */
    uint64_t free_bytes, all_bytes;
    bool known;
};

static void set_path(struct place *p, const char *path, bool folder_of)
{
    if (!path || strlen(path) >= sizeof p->path)
        return;
    (void)snprintf(p->path, sizeof p->path, "%s", path);
    char *slash = strrchr(p->path, '/');
    if (folder_of && slash)
        slash[slash == p->path] = '\0';
    else if (folder_of)
        (void)snprintf(p->path, sizeof p->path, ".");
}

static const char *storage_folder(const struct config *c)
{
    const char *url = c->storage_url;
    if (!url)
        return c->storage_dir;
    return !strncmp(url, "file://", 7) ? url + 7 : NULL;
}

static const char *database_file(const struct config *c)
{
    static const char scheme[] = "sqlite:///";
    size_t length = strlen(scheme);
    return !strncmp(c->database_url, scheme, length) ? c->database_url + length : NULL;
}

static void write_space(const struct place *places, size_t n, struct buf *out)
{
    metrics_describe(out, METRICS_PREFIX "disk_free_bytes", "gauge",
                     "Bytes that are free for us where a folder is.");
    for (size_t i = 0; i < n; i++)
        if (places[i].known)
            buf_printf(out, METRICS_PREFIX "disk_free_bytes{folder=\"%s\"} %llu\n",
                       places[i].name, (unsigned long long)places[i].free_bytes);
    metrics_describe(out, METRICS_PREFIX "disk_size_bytes", "gauge",
                     "Bytes that there are for us where a folder is.");
    for (size_t i = 0; i < n; i++)
        if (places[i].known)
            buf_printf(out, METRICS_PREFIX "disk_size_bytes{folder=\"%s\"} %llu\n",
                       places[i].name, (unsigned long long)places[i].all_bytes);
}

static void write_disks(const struct config *c, struct buf *out)
{
    struct place places[] = {{.name = "storage"}, {.name = "database"},
                             {.name = "models"},  {.name = "scratch"},
                             {.name = "logs"},    {.name = "backups"}};
    set_path(&places[0], storage_folder(c), false);
    set_path(&places[1], database_file(c), true);
    set_path(&places[2], c->model_dir, false);
    set_path(&places[3], c->scratch_dir, false);
    set_path(&places[4], c->log_file, true);
    set_path(&places[5], c->backup_dir, false);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        places[i].known =
            *places[i].path &&
            !fs_space(places[i].path, &places[i].free_bytes, &places[i].all_bytes, NULL);
    write_space(places, sizeof places / sizeof places[0], out);
}

void metrics_machine(const struct config *config, struct buf *out)
{
    struct processes p;
    processes_look(&p);
    write_self(&p, out);
    write_family(&p, out);
    write_memory(out);
    write_disks(config, out);
}
