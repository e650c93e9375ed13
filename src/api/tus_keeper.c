/* An upload may be complete and its job not be made: there was no room for it, the
 * database was away, or the service was killed in between. The client has no reason to
 * come again; a thread sees to it. */
#include "api/tus.h"

#include <errno.h>
#include <pthread.h>

#define LOOK_SECONDS 3

struct tus_keeper {
    struct api *api; /* borrowed */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t bell;
    bool stopping; /* under lock */
};

/* False: it is time to end. */
static bool wait_a_while(struct tus_keeper *k)
{
    struct timespec until;
    int late = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LOOK_SECONDS;
    pthread_mutex_lock(&k->lock);
    while (!k->stopping && late != ETIMEDOUT)
        late = pthread_cond_timedwait(&k->bell, &k->lock, &until);
    bool stopping = k->stopping;
    pthread_mutex_unlock(&k->lock);
    return !stopping;
}

static void *run(void *arg)
{
    struct tus_keeper *k = arg;
    while (wait_a_while(k))
        tus_finish_all(k->api, false);
    return NULL;
}

static void keeper_free(struct tus_keeper *k)
{
    pthread_cond_destroy(&k->bell);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

int tus_keeper_start(struct tus_keeper **out, struct api *api, struct err *e)
{
    *out = NULL;
    struct tus_keeper *k = calloc(1, sizeof *k);
    if (!k)
        return err_set(e, ERR_NOMEM, "out of memory");
    k->api = api;
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&k->bell, &monotonic);
    pthread_condattr_destroy(&monotonic);
    tus_finish_all(api, true);
    errno = pthread_create(&k->thread, NULL, run, k);
    if (errno) {
        int status = err_errno(e, "cannot start a thread");
        keeper_free(k);
        return status;
    }
    *out = k;
    return 0;
}

void tus_keeper_stop(struct tus_keeper *k)
{
    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->stopping = true;
    pthread_cond_signal(&k->bell);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    keeper_free(k);
}
