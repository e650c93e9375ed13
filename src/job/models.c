#include "job/models.h"

#include "base/clock.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

struct entry {
    int64_t serial; /* 0: free */
    char path[PATH_MAX];
    struct stat st;
    int fd;     /* owned; -1: not yet */
    int loader; /* the slot that loads it; -1: none */
    uint64_t used;
    int64_t used_ns;
    uint64_t bytes; /* expected, then known */
};

struct models {
    struct entry entries[MODELS_MAX];
    int64_t last_serial;
    uint64_t clock;
};

int models_new(struct models **out, struct err *e)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

static void drop(struct entry *n)
{
    if (n->serial && n->fd >= 0)
        close(n->fd);
    n->serial = 0;
}

void models_free(struct models *m)
{
    for (int i = 0; m && i < MODELS_MAX; i++)
        drop(&m->entries[i]);
    free(m);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static struct entry *find(struct models *m, const char *path, const struct stat *st)
{
    for (int i = 0; i < MODELS_MAX; i++) {
        struct entry *n = &m->entries[i];
        if (!n->serial || strcmp(n->path, path) != 0)
            continue;
        if (same_file(&n->st, st))
            return n;
        drop(n);
    }
    return NULL;
}

/* A free place, or the one least recently used that nobody loads; NULL: all are being
 * loaded. */
static struct entry *make_room(struct models *m)
{
    struct entry *best = NULL;
    for (int i = 0; i < MODELS_MAX; i++) {
        struct entry *n = &m->entries[i];
        if (!n->serial)
            return n;
        if (n->fd >= 0 && (!best || n->used < best->used))
            best = n;
    }
    if (best)
        drop(best);
    return best;
}

int models_ask(struct models *m, const char *path, int slot, int64_t *serial,
               int *image_fd, struct err *e)
{
    struct stat st;
    if (stat(path, &st))
        return err_errno(e, "the model %s cannot be read", path);
    struct entry *n = find(m, path, &st);
    if (!n) {
        n = make_room(m);
        if (!n)
            return MODELS_LOADING;
        *n = (struct entry){.serial = ++m->last_serial, .st = st, .fd = -1, .loader = -1};
        (void)snprintf(n->path, sizeof n->path, "%s", path);
    }
    n->used = ++m->clock;
    n->used_ns = clock_monotonic_ns();
    *serial = n->serial;
    *image_fd = n->fd;
    if (n->fd >= 0)
        return MODELS_PACKED;
    if (n->loader >= 0 && n->loader != slot)
        return MODELS_LOADING;
    n->loader = slot;
    return MODELS_LOAD;
}

void models_loaded(struct models *m, int slot, int64_t serial, int fd)
{
    struct stat st;
    for (int i = 0; i < MODELS_MAX; i++) {
        struct entry *n = &m->entries[i];
        if (n->serial == serial && n->loader == slot && n->fd < 0) {
            n->fd = fd;
            n->loader = -1;
            n->used_ns = clock_monotonic_ns();
            if (!fstat(fd, &st) && st.st_size > 0)
                n->bytes = (uint64_t)st.st_size;
            return;
        }
    }
    close(fd); /* nobody asked this slot for it */
}

void models_released(struct models *m, int slot)
{
    for (int i = 0; i < MODELS_MAX; i++)
        if (m->entries[i].serial && m->entries[i].loader == slot)
            drop(&m->entries[i]);
}

/* ---- memory ---- */

size_t models_states(const struct models *m, struct model_state out[MODELS_MAX])
{
    size_t count = 0;
    for (int i = 0; i < MODELS_MAX; i++) {
        const struct entry *n = &m->entries[i];
        if (n->serial)
            out[count++] = (struct model_state){.serial = n->serial,
                                                .path = n->path,
                                                .bytes = n->bytes,
                                                .loading = n->fd < 0,
                                                .used_ns = n->used_ns};
    }
    return count;
}

static struct entry *of_serial(struct models *m, int64_t serial)
{
    for (int i = 0; i < MODELS_MAX; i++)
        if (serial && m->entries[i].serial == serial)
            return &m->entries[i];
    return NULL;
}

/* A file that has changed is found out by models_ask. */
int64_t models_serial(const struct models *m, const char *path)
{
    for (int i = 0; i < MODELS_MAX; i++)
        if (m->entries[i].serial && !strcmp(m->entries[i].path, path))
            return m->entries[i].serial;
    return 0;
}

void models_expect(struct models *m, int64_t serial, uint64_t bytes)
{
    struct entry *n = of_serial(m, serial);
    if (n && n->fd < 0)
        n->bytes = bytes;
}

void models_drop(struct models *m, int64_t serial)
{
    struct entry *n = of_serial(m, serial);
    if (n && n->fd >= 0)
        drop(n);
}
