#include "job/held.h"

#include "base/mem.h"
#include "job/service.h"
#include "store/hold.h"

struct held {
    pthread_mutex_t lock;
    char (*ids)[ID_SIZE]; /* owned [count] */
    size_t count, capacity;
};

int held_new(struct held **out, struct err *e)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&(*out)->lock, NULL);
    return 0;
}

void held_free(struct held *h)
{
    if (!h)
        return;
    pthread_mutex_destroy(&h->lock);
    free(h->ids);
    free(h);
}

/* One that does not fit into the memory is left for the sweep. */
static void remember(struct held *h, const char *id)
{
    size_t i = 0;
    pthread_mutex_lock(&h->lock);
    while (i < h->count && strcmp(h->ids[i], id) != 0)
        i++;
    if (i == h->count && !mem_grow(&h->ids, &h->capacity, h->count + 1, ID_SIZE))
        (void)snprintf(h->ids[h->count++], ID_SIZE, "%s", id);
    pthread_mutex_unlock(&h->lock);
}

bool jobs_holds(struct jobs *s, const char *id)
{
    bool held = store_is_held(s->store);
    if (held)
        remember(s->held, id);
    return held;
}

int jobs_remove_recording(struct jobs *s, const char *id, struct err *e)
{
    return jobs_holds(s, id) ? 0 : blob_remove(s->blobs, id, e);
}

static bool take(struct held *h, char id[ID_SIZE])
{
    pthread_mutex_lock(&h->lock);
    bool found = h->count > 0;
    if (found)
        memcpy(id, h->ids[--h->count], ID_SIZE);
    pthread_mutex_unlock(&h->lock);
    return found;
}

void jobs_let_go(struct jobs *s)
{
    char id[ID_SIZE];
    struct err e = {0};
    int status = 0;
    pthread_mutex_lock(&s->held->lock);
    bool any = s->held->count > 0;
    pthread_mutex_unlock(&s->held->lock);
    if (!any || store_is_held(s->store))
        return;
    while (!status && take(s->held, id))
        if ((status = blob_remove(s->blobs, id, &e)))
            remember(s->held, id);
    if (status)
        log_warning("recordings of removed jobs stay for now: %s", e.message);
}
