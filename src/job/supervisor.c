#include "job/supervisor.h"

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct supervisor {
    struct jobs *jobs; /* borrowed */
    pthread_t thread;
    bool started;
    int bell; /* owned eventfd */
    atomic_bool closing;
};

void supervisor_wake(struct supervisor *v)
{
    uint64_t one = 1;
    ssize_t n = write(v->bell, &one, sizeof one);
    (void)n; /* full means that it rings already */
}

void supervisor_stop_job(struct supervisor *v, const char *id)
{
    (void)id;
    supervisor_wake(v);
}

static void *run(void *arg)
{
    struct supervisor *v = arg;
    while (!atomic_load(&v->closing)) {
        struct pollfd p = {.fd = v->bell, .events = POLLIN};
        (void)poll(&p, 1, 1000);
        uint64_t rings;
        ssize_t n = read(v->bell, &rings, sizeof rings);
        (void)n;
        events_deliver(v->jobs->events);
    }
    return NULL;
}

int supervisor_start(struct supervisor **out, struct jobs *s, struct err *e)
{
    struct supervisor *v = calloc(1, sizeof *v);
    if (!v)
        return err_set(e, ERR_NOMEM, "out of memory");
    v->jobs = s;
    v->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int status = v->bell < 0 ? err_errno(e, "cannot make a doorbell") : 0;
    if (!status) {
        errno = pthread_create(&v->thread, NULL, run, v);
        v->started = !errno;
        status = errno ? err_errno(e, "cannot start a thread") : 0;
    }
    if (status) {
        supervisor_close(v);
        return status;
    }
    *out = v;
    return 0;
}

void supervisor_close(struct supervisor *v)
{
    if (!v)
        return;
    if (v->started) {
        atomic_store(&v->closing, true);
        supervisor_wake(v);
        pthread_join(v->thread, NULL);
    }
    if (v->bell >= 0)
        close(v->bell);
    free(v);
}

int supervisor_ready(struct supervisor *v, struct err *e)
{
    (void)v;
    return err_set(e, ERR_STATE, "no worker is running");
}
