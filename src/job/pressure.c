#include "job/pressure.h"

#include "base/fs.h"
#include "base/log.h"
#include "job/service.h"

#define SECOND_NS        INT64_C(1000000000)
#define LOOK_NS          (5 * SECOND_NS)
#define PURGE_NS         (60 * SECOND_NS)
#define GIB              (UINT64_C(1) << 30)
#define LOW_MOST         (10 * GIB)
#define STOP_MOST        (2 * GIB)
#define DATABASE_RESERVE (UINT64_C(4) << 20) /* as store_room has it */

const char *pressure_volume_name(enum pressure_volume v)
{
    return v == PRESSURE_STORAGE ? "storage" : "database";
}

/* A share of a disk, but not more of a large one than anybody needs, nor less of a small
 * one than is kept in any case. */
static uint64_t share(uint64_t total, int64_t percent, uint64_t least, uint64_t most)
{
    uint64_t bytes = total / 100 * (uint64_t)percent;
    bytes = bytes > most ? most : bytes;
    return bytes < least ? least : bytes;
}

int pressure_level(const struct config *c, uint64_t free_bytes, uint64_t total,
                   uint64_t reserve)
{
    uint64_t stop = share(total, c->disk_stop_percent, reserve, STOP_MOST);
    uint64_t low = share(total, c->disk_low_percent, 2 * reserve, LOW_MOST);
    return free_bytes < stop ? 2 : free_bytes < low ? 1 : 0;
}

static int level_at(const struct config *c, const char *path, uint64_t reserve)
{
    uint64_t free_bytes, total;
    return fs_space(path, &free_bytes, &total, NULL)
               ? -1
               : pressure_level(c, free_bytes, total, reserve);
}

void jobs_pressure(struct jobs *s, int level[PRESSURE_VOLUMES])
{
    static const char scheme[] = "sqlite:///";
    const struct config *c = s->config;
    level[PRESSURE_STORAGE] =
        blob_store_is_remote(s->blobs)
            ? -1
            : level_at(c, blob_store_name(s->blobs), STORAGE_RESERVE_BYTES);
    level[PRESSURE_DATABASE] =
        c->database_url && !strncmp(c->database_url, scheme, strlen(scheme))
            ? level_at(c, c->database_url + strlen(scheme), DATABASE_RESERVE)
            : -1;
}

/* Whether so many bytes can be written without touching what is kept in reserve. What
 * cannot be found out is found out when they are written. */
static int hold_all(struct jobs *s, int64_t bytes, struct err *e)
{
    uint64_t free_bytes, total;
    if (bytes <= 0 || blob_store_is_remote(s->blobs) ||
        fs_space(blob_store_name(s->blobs), &free_bytes, &total, NULL))
        return 0;
    if (free_bytes > STORAGE_RESERVE_BYTES &&
        (uint64_t)bytes <= free_bytes - STORAGE_RESERVE_BYTES)
        return 0;
    return err_set(e, ERR_FULL, "the disk of the storage has no room for so much");
}

int jobs_room(struct jobs *s, int64_t bytes, struct err *e)
{
    int level[PRESSURE_VOLUMES];
    int status = store_room(s->store, e);
    if (!status)
        status = hold_all(s, bytes, e);
    if (status)
        return status;
    jobs_pressure(s, level);
    for (int v = 0; v < PRESSURE_VOLUMES; v++)
        if (level[v] >= 2)
            return err_set(
                e, ERR_FULL,
                "the disk of the %s is nearly full, and what is left is for the "
                "jobs that are here: free some space (see DISK_STOP_PERCENT)",
                pressure_volume_name((enum pressure_volume)v));
    return 0;
}

static void tell(const int level[PRESSURE_VOLUMES], int last, int highest)
{
    if (highest == last)
        return;
    if (highest <= 0)
        log_info("the disks have room again");
    else
        log_warning("the disk of the %s is %s",
                    pressure_volume_name(level[PRESSURE_STORAGE] == highest
                                             ? PRESSURE_STORAGE
                                             : PRESSURE_DATABASE),
                    highest == 2 ? "nearly full: uploads are refused until there is room"
                                 : "filling up: what has expired is removed now");
}

bool pressure_mind(struct jobs *s, int64_t now_ns)
{
    struct pressure *p = &s->pressure;
    int level[PRESSURE_VOLUMES], highest = 0;
    if (now_ns < p->look_at_ns)
        return false;
    p->look_at_ns = now_ns + LOOK_NS;
    jobs_pressure(s, level);
    for (int v = 0; v < PRESSURE_VOLUMES; v++)
        highest = level[v] > highest ? level[v] : highest;
    tell(level, p->last, highest);
    bool risen = highest > p->last;
    p->last = highest;
    if (!highest || (!risen && now_ns < p->purge_at_ns))
        return false;
    p->purge_at_ns = now_ns + PURGE_NS;
    return true;
}
