/* What workers ask of the store: jobs that they can do, and to be known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/id.h"
#include "store/workers.h"
#include "store_test.h"

/* What a machine lacks, another may have. */
static void jobs_of_other_models_are_left(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE], names[200];
    struct job j;
    test_store_add(f->store, 100, "a", id);
    CHECK(store_get(f->store, id, &j, e));
    const struct {
        const char *before, *behind;
    } others[] = {{"x", ""}, {"", "x"}, {"a,x", ",b"}, {"", ".en,b"}};
    struct store_wish wish = {.models = ""};
    struct job none;
    assert_int_equal(store_claim(f->store, &wish, "o", 1, 2, &none, NULL), ERR_NOT_FOUND);
    wish.models = names;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        (void)snprintf(names, sizeof names, "%s%s%s", others[i].before, j.model,
                       others[i].behind);
        assert_int_equal(store_claim(f->store, &wish, "o", 1, 2, &none, NULL),
                         ERR_NOT_FOUND);
    }
    (void)snprintf(names, sizeof names, "other,%s,small", j.model);
    job_release(&j);
    CHECK(store_claim(f->store, &wish, "o", 1, 2, &j, e));
    assert_string_equal(j.id, id);
    job_release(&j);
}

static void beat(struct store *s, const char *id, int jobs, int64_t now_ms)
{
    struct store_worker w = {.pid = 4711,
                             .threads = 2,
                             .concurrency = 3,
                             .jobs = jobs,
                             .real_time_factor = 0.25,
                             .started_ms = 100,
                             .host = "there",
                             .version = "1.2.3",
                             .models = "tiny,small"};
    memcpy(w.id, id, ID_SIZE);
    CHECK(store_worker_beat(s, &w, now_ms, e));
}

static void workers_are_known_while_they_are_heard_of(void **state)
{
    struct store_fixture *f = *state;
    char one[ID_SIZE], two[ID_SIZE];
    struct store_worker_list l;
    id_new(one);
    id_new(two);
    beat(f->store, one, 0, 1000);
    beat(f->store, two, 0, 1000);
    beat(f->store, one, 2, 6000);
    CHECK(store_worker_list(f->store, 6500, &l, e));
    assert_int_equal(l.count, 2);
    const struct store_worker *w =
        strcmp(l.workers[0].id, one) ? &l.workers[1] : l.workers;
    assert_string_equal(w->id, one);
    assert_string_equal(w->host, "there");
    assert_string_equal(w->version, "1.2.3");
    assert_string_equal(w->models, "tiny,small");
    assert_int_equal(w->pid, 4711);
    assert_int_equal(w->threads, 2);
    assert_int_equal(w->concurrency, 3);
    assert_int_equal(w->jobs, 2);
    assert_true(w->real_time_factor > 0.24 && w->real_time_factor < 0.26);
    assert_int_equal(w->started_ms, 100);
    assert_false(w->embedded);
    /* A server has a clock of its own, which we cannot set. */
    assert_true(test_on_postgres() ? w->silent_ms >= 0 && w->silent_ms < 60000
                                   : w->silent_ms == 500);
    int64_t rows = 0;
    CHECK(store_worker_count(f->store, &rows, e));
    assert_int_equal(rows, l.count);
    store_worker_list_release(&l);
    CHECK(store_worker_trim(f->store, 6500, 60000, e));
    CHECK(store_worker_remove(f->store, two, e));
    CHECK(store_worker_remove(f->store, two, e));
    CHECK(store_worker_list(f->store, 6500, &l, e));
    assert_int_equal(l.count, 1);
    store_worker_list_release(&l);
    CHECK(store_worker_trim(f->store, 6501, -60000, e)); /* whoever was silent at all */
    CHECK(store_worker_list(f->store, 6500, &l, e));
    assert_int_equal(l.count, 0);
    store_worker_list_release(&l);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_set_up, test_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(jobs_of_other_models_are_left),
        TEST(workers_are_known_while_they_are_heard_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
