/* Which copies stay.
 *
 * A copy goes with its manifest, first; objects that no manifest names go then. A
 * manifest that cannot be read (another key, a newer version) may name any of them: then
 * all stay, and it is said. */
#include "backup/backup.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define DAY_MS (INT64_C(86400) * 1000)

typedef char object_name[65];

struct names {
    object_name *list; /* owned [count] */
    size_t count, capacity;
};

static int add(struct names *n, const char *name, struct err *e)
{
    if (mem_grow(&n->list, &n->capacity, n->count + 1, sizeof *n->list))
        return err_set(e, ERR_NOMEM, "out of memory");
    (void)snprintf(n->list[n->count++], sizeof *n->list, "%s", name);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int remove_copy(struct vault *v, const char *name, struct err *e)
{
    char path[80];
    (void)snprintf(path, sizeof path, "copies/%.39s.manifest", name);
    return depot_remove(v->depot, path, e);
}

static int note_needed(struct vault *v, const char *name, struct names *needed,
                       bool *unread, struct err *e)
{
    struct manifest m;
    struct err why = {0};
    int status = made_read(v, name, &m, NULL, &why);
    if (status) {
        *unread = true;
        return status == ERR_NOMEM ? err_set(e, status, "%s", why.message) : 0;
    }
    for (size_t i = 0; !status && i < m.n_files; i++)
        status = add(needed, m.files[i].object, e);
    manifest_release(&m);
    return status;
}

struct sweep {
    const struct names *needed;
    struct names gone;
};

static int look_at(void *arg, const char *name, int64_t bytes, struct err *e)
{
    struct sweep *s = arg;
    (void)bytes;
    if (strlen(name) != 64 ||
        bsearch(name, s->needed->list, s->needed->count, sizeof(object_name), by_text))
        return 0;
    return add(&s->gone, name, e);
}

static int remove_unneeded(struct vault *v, struct names *needed, struct err *e)
{
    char path[80];
    struct sweep s = {.needed = needed};
    qsort(needed->list, needed->count, sizeof(object_name), by_text);
    int status = depot_list(v->depot, "objects", look_at, &s, e);
    for (size_t i = 0; !status && i < s.gone.count; i++) {
        (void)snprintf(path, sizeof path, "objects/%s", s.gone.list[i]);
        status = depot_remove(v->depot, path, e);
    }
    free(s.gone.list);
    return status;
}

int backup_retain(struct vault *v, int64_t days, const char *newest, size_t *removed,
                  const struct backup_watch *watch, struct err *e)
{
    struct made_list l;
    struct names needed = {0};
    bool unread = false;
    int64_t before_ms = days ? clock_wall_ms() - days * DAY_MS : INT64_MIN;
    int status = made_list(v, &l, e);
    if (status)
        return status;
    for (size_t i = 0; !status && i < l.count; i++) {
        bool old = l.copies[i].time_ms < before_ms && strcmp(l.copies[i].name, newest);
        status = old ? remove_copy(v, l.copies[i].name, e)
                     : note_needed(v, l.copies[i].name, &needed, &unread, e);
        *removed += old && !status;
    }
    if (!status && unread && watch->warn)
        watch->warn("a copy cannot be read (it has another key, or is damaged), so that "
                    "nothing that it may need is removed");
    else if (!status && needed.count)
        status = remove_unneeded(v, &needed, e);
    free(needed.list);
    made_list_release(&l);
    return status;
}
