#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../store/store_test.h"

#include "queue/queue.h"

#include <poll.h>

struct fixture {
    char folder[PATH_MAX];
    struct store *store;
    struct queue *queue;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    test_folder_make(f->folder);
    f->store = test_store_open(f->folder);
    CHECK(queue_embedded_open(&f->queue, f->store, e));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    queue_close(f->queue);
    store_close(f->store);
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

static bool rings(const struct queue *q)
{
    struct pollfd p = {.fd = queue_fd(q), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static int claim(struct queue *q, const char *owner, struct job *out)
{
    struct queue_ticket ticket;
    CHECK(queue_next(q, NULL, &ticket, e));
    return queue_take(q, &ticket, NULL, owner, out, NULL);
}

static void the_bell_rings_until_it_is_heard(void **state)
{
    struct fixture *f = *state;
    assert_false(rings(f->queue));
    queue_push(f->queue, "any");
    queue_push(f->queue, "other");
    assert_true(rings(f->queue));
    queue_clear(f->queue);
    assert_false(rings(f->queue));
    queue_clear(f->queue); /* never blocks */
}

static void a_claim_is_held_until_it_lapses(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    struct job j;
    int64_t count;
    assert_int_equal(claim(f->queue, "o", &j), ERR_NOT_FOUND);
    test_store_add(f->store, 1, "a", id);
    CHECK(claim(f->queue, "o", &j));
    assert_string_equal(j.id, id);
    CHECK(queue_renew(f->queue, id, j.attempt, e));
    assert_int_equal(queue_renew(f->queue, id, j.attempt + 1, NULL), ERR_STATE);
    CHECK(queue_recover(f->queue, false, &count, e));
    assert_int_equal(count, 0); /* the lease is fresh */
    CHECK(queue_recover(f->queue, true, &count, e));
    assert_int_equal(count, 1); /* its owner is dead */
    assert_int_equal(queue_renew(f->queue, id, j.attempt, NULL), ERR_STATE);
    job_release(&j);
    CHECK(claim(f->queue, "p", &j));
    assert_int_equal(j.attempt, 2);
    /* A lease from the past has lapsed. */
    CHECK(store_renew(f->store, id, 2, 1, e));
    CHECK(queue_recover(f->queue, false, &count, e));
    assert_int_equal(count, 1);
    job_release(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_bell_rings_until_it_is_heard, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_claim_is_held_until_it_lapses, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
