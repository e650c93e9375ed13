/* Keys of requests that are coming in: another request with the same key must not begin.
 * What is in the database already needs no place here. */
#include "job/service.h"

#include "base/mem.h"

struct key_set {
    pthread_mutex_t lock;
    char **keys; /* owned [count]: "caller\nkey" */
    size_t count, capacity;
};

int key_set_new(struct key_set **out, struct err *e)
{
    struct key_set *k = calloc(1, sizeof *k);
    if (!k)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_mutex_init(&k->lock, NULL);
    *out = k;
    return 0;
}

void key_set_free(struct key_set *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->count; i++)
        free(k->keys[i]);
    free(k->keys);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

static bool is(const char *joined, const char *caller, const char *key)
{
    size_t n = strlen(caller);
    return !strncmp(joined, caller, n) && joined[n] == '\n' &&
           !strcmp(joined + n + 1, key);
}

/* Call with the lock held. */
static size_t find(const struct key_set *k, const char *caller, const char *key)
{
    size_t i = 0;
    while (i < k->count && !is(k->keys[i], caller, key))
        i++;
    return i;
}

static int add(struct key_set *k, const char *caller, const char *key, struct err *e)
{
    struct buf b;
    buf_init(&b, 8192);
    buf_printf(&b, "%s\n%s", caller, key);
    char *joined = buf_take(&b);
    buf_release(&b);
    if (!joined || mem_grow(&k->keys, &k->capacity, k->count + 1, sizeof *k->keys)) {
        free(joined);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    k->keys[k->count++] = joined;
    return 0;
}

int jobs_key_take(struct jobs *s, const char *caller, const char *key, struct err *e)
{
    struct key_set *k = s->keys;
    pthread_mutex_lock(&k->lock);
    int status = find(k, caller, key) < k->count
                     ? err_set(e, ERR_STATE,
                               "a request with this Idempotency-Key is still coming in: "
                               "wait for its answer, then try again")
                     : add(k, caller, key, e);
    pthread_mutex_unlock(&k->lock);
    return status;
}

void jobs_key_leave(struct jobs *s, const char *caller, const char *key)
{
    struct key_set *k = s->keys;
    char *kept = NULL;
    pthread_mutex_lock(&k->lock);
    size_t i = find(k, caller, key);
    if (i < k->count) {
        kept = k->keys[i];
        k->keys[i] = k->keys[--k->count];
    }
    pthread_mutex_unlock(&k->lock);
    free(kept);
}
