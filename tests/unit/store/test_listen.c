/* A service hears of what others change beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include <pthread.h>
#include <time.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define PATIENCE_S 20
#define MOST_HEARD 64

struct ears {
    struct store_fixture *f;
    struct store *beside; /* owned: as a command line has it */
    pthread_mutex_t lock;
    pthread_cond_t rang;
    struct store_news heard[MOST_HEARD];
    size_t count;
};

static void hear(void *arg, const struct store_news *news)
{
    struct ears *x = arg;
    pthread_mutex_lock(&x->lock);
    if (x->count < MOST_HEARD)
        x->heard[x->count++] = *news;
    pthread_cond_broadcast(&x->rang);
    pthread_mutex_unlock(&x->lock);
}

static int set_up(void **state)
{
    void *fixture;
    char url[PATH_MAX + 32];
    const struct store_options options = {.exclusive = false};
    struct ears *x = calloc(1, sizeof *x);
    assert_non_null(x);
    test_set_up(&fixture);
    x->f = fixture;
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->rang, NULL);
    test_store_url(x->f->folder, url, sizeof url);
    CHECK(store_open(&x->beside, url, &options, e));
    *state = x;
    return 0;
}

static int tear_down(void **state)
{
    struct ears *x = *state;
    void *fixture = x->f;
    store_listen(x->f->store, NULL, NULL);
    store_close(x->beside);
    test_tear_down(&fixture);
    free(x);
    return 0;
}

static bool is(const struct store_news *n, const char *id, bool deleted,
               enum job_status status)
{
    return !strcmp(n->job_id, id) && n->deleted == deleted &&
           (deleted || n->status == status);
}

/* Wait for it; what was heard before is forgotten. */
static void must_hear(struct ears *x, const char *id, bool deleted,
                      enum job_status status, int attempt)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    int late = 0;
    bool found = false;
    pthread_mutex_lock(&x->lock);
    for (size_t i = 0; !found && !late;) {
        if (i == x->count)
            late = pthread_cond_timedwait(&x->rang, &x->lock, &until);
        else if (!(found = is(&x->heard[i], id, deleted, status)))
            i++;
        else
            assert_true(deleted || x->heard[i].attempt == attempt);
    }
    x->count = 0;
    pthread_mutex_unlock(&x->lock);
    if (!found)
        fail_msg("nothing was heard of %s (%s)", id,
                 deleted ? "deleted" : job_status_name(status));
}

static void changes_of_others_are_heard(void **state)
{
    struct ears *x = *state;
    char id[ID_SIZE];
    struct job j;
    test_store_add(x->f->store, 1, "a.wav", id);
    CHECK(store_claim(x->f->store, NULL, "me", 1000, INT64_C(1) << 50, &j, e));
    job_release(&j);
    store_listen(x->f->store, hear, x);
    CHECK(store_cancel(x->beside, id, 2000, e));
    must_hear(x, id, false, JOB_CANCELLED, 1);
    CHECK(store_retry(x->beside, id, e));
    must_hear(x, id, false, JOB_PENDING, 1);
    CHECK(store_cancel(x->f->store, id, 2000, e));
    CHECK(store_remove(x->beside, id, e));
    must_hear(x, id, true, JOB_CANCELLED, 0);
}

static void many_changes_at_once_are_all_heard_of(void **state)
{
    struct ears *x = *state;
    char ids[40][ID_SIZE];
    for (int i = 0; i < 40; i++)
        test_store_add(x->f->store, i + 1, "a.wav", ids[i]);
    store_listen(x->f->store, hear, x);
    for (int i = 0; i < 40; i++)
        CHECK(store_cancel(x->beside, ids[i], 2000, e));
    must_hear(x, ids[39], false, JOB_CANCELLED, 0);
}

static void nobody_hears_when_nobody_listens(void **state)
{
    struct ears *x = *state;
    char id[ID_SIZE], other[ID_SIZE];
    test_store_add(x->f->store, 1, "a.wav", id);
    test_store_add(x->f->store, 1, "b.wav", other);
    store_listen(x->f->store, hear, x);
    store_listen(x->f->store, NULL, NULL);
    CHECK(store_cancel(x->beside, id, 2000, e));
    store_listen(x->f->store, hear, x); /* what was before is not told of any more … */
    CHECK(store_cancel(x->beside, other, 2000, e));
    must_hear(x, other, false, JOB_CANCELLED, 0); /* … and what comes is */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(changes_of_others_are_heard),
        TEST(many_changes_at_once_are_all_heard_of),
        TEST(nobody_hears_when_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
