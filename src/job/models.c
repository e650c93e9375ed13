#include "job/models.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* Images that the service itself keeps alive; workers keep what they use. */
#define MAX_MODELS 3

struct entry {
    int64_t serial; /* 0: free */
    char path[PATH_MAX];
    struct stat st;
    int fd;     /* owned; -1: not yet */
    int loader; /* the slot that loads it; -1: none */
    uint64_t used;
};

struct models {
    struct entry entries[MAX_MODELS];
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
    for (int i = 0; m && i < MAX_MODELS; i++)
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
    for (int i = 0; i < MAX_MODELS; i++) {
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
    for (int i = 0; i < MAX_MODELS; i++) {
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
    for (int i = 0; i < MAX_MODELS; i++) {
        struct entry *n = &m->entries[i];
        if (n->serial == serial && n->loader == slot && n->fd < 0) {
            n->fd = fd;
            n->loader = -1;
            return;
        }
    }
    close(fd); /* nobody asked this slot for it */
}

void models_released(struct models *m, int slot)
{
    for (int i = 0; i < MAX_MODELS; i++)
        if (m->entries[i].serial && m->entries[i].loader == slot)
            drop(&m->entries[i]);
}
