/* What a queue beside the store asks of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "store/sources.h"
#include "store/waiting.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

struct fixture {
    char folder[PATH_MAX];
    struct store *store;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    test_folder_make(f->folder);
    f->store = test_store_open(f->folder);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

static void add(struct fixture *f, int64_t created_ms, int priority, char id[ID_SIZE])
{
    char model[] = "tiny", language[] = "auto", task[] = "transcribe", none[] = "{}",
         caller[] = "someone";
    id_new(id);
    struct job j = {.original_filename = id,
                    .filename = id,
                    .model = model,
                    .caller = caller,
                    .language_asked = language,
                    .task = task,
                    .options = none,
                    .priority = priority,
                    .file_bytes = 77,
                    .created_ms = created_ms};
    memcpy(j.id, id, ID_SIZE);
    CHECK(store_insert(f->store, &j, "00ff", e));
}

static int claim(struct fixture *f, const char *id, int attempt, int64_t now_ms,
                 struct job *out)
{
    return store_waiting_claim(f->store, id, attempt, "owner", now_ms, now_ms + 1000, out,
                               NULL);
}

/* Page by page, what waits comes in the order in which it would be claimed. */
static void what_waits_is_listed_in_turn(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 57, PAGE = 10 };
    char id[ID_SIZE], listed[COUNT][ID_SIZE];
    size_t count = 0, pages = 0;
    for (int i = 0; i < COUNT; i++)
        add(f, 1 + i % 4 * 400000, i % 10 - 5, id);
    struct store_waiting_list page = {0}, next;
    do {
        const struct store_waiting *last = page.count ? &page.list[page.count - 1] : NULL;
        CHECK(store_waiting_list(f->store, last, PAGE, &next, e));
        store_waiting_list_release(&page);
        page = next;
        for (size_t i = 0; i < page.count; i++)
            memcpy(listed[count++], page.list[i].id, ID_SIZE);
        pages++;
    } while (page.count == PAGE);
    assert_string_equal(page.list[0].caller, "someone");
    assert_string_equal(page.list[0].model, "tiny");
    assert_int_equal(page.list[0].file_bytes, 77);
    store_waiting_list_release(&page);
    assert_int_equal(count, COUNT);
    assert_int_equal(pages, COUNT / PAGE + 1);
    for (int i = 0; i < COUNT; i++) {
        struct job j;
        CHECK(store_claim(f->store, NULL, "owner", 1, 2, &j, e));
        assert_string_equal(j.id, listed[i]);
        job_release(&j);
    }
}

static void one_is_claimed_by_its_id_and_attempt(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE], other[ID_SIZE];
    struct store_waiting w;
    struct job j;
    add(f, 1, 0, other);
    add(f, 2, 0, id);
    CHECK(store_waiting_get(f->store, id, &w, e));
    assert_int_equal(w.attempt, 0);
    store_waiting_release(&w);
    assert_int_equal(claim(f, id, 1, 10, &j), ERR_STATE);
    assert_int_equal(claim(f, id, 0, 10, &j), 0);
    assert_string_equal(j.id, id);
    assert_int_equal(j.attempt, 1);
    assert_int_equal(j.status, JOB_PROCESSING);
    assert_int_equal(j.started_ms, 10);
    job_release(&j);
    /* The same answer a second time, late. */
    assert_int_equal(claim(f, id, 0, 11, &j), ERR_STATE);
    assert_int_equal(store_waiting_get(f->store, id, &w, NULL), ERR_NOT_FOUND);
    CHECK(store_requeue(f->store, id, 1, e));
    assert_int_equal(claim(f, id, 0, 12, &j), ERR_STATE);
    assert_int_equal(claim(f, id, 1, 12, &j), 0);
    assert_int_equal(j.attempt, 2);
    assert_int_equal(j.started_ms, 10);
    job_release(&j);
}

static void what_cannot_be_claimed_is_refused(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE], fetched[ID_SIZE];
    struct store_waiting w;
    struct store_waiting_list list;
    struct job j;
    assert_int_equal(claim(f, id_new(id), 0, 1, &j), ERR_STATE);
    add(f, 1, 0, id);
    assert_int_equal(claim(f, id, 0, 1, &j), 0);
    job_release(&j);
    struct store_crash crash = {.limit = 3, .now_ms = 5, .run_after_ms = 500};
    CHECK(store_crash(f->store, id, 1, &crash, e));
    assert_int_equal(claim(f, id, 1, 499, &j), ERR_STATE); /* not due */
    CHECK(store_waiting_get(f->store, id, &w, e));         /* but it waits */
    assert_int_equal(w.run_after_ms, 500);
    assert_int_equal(w.attempt, 1);
    store_waiting_release(&w);
    assert_int_equal(claim(f, id, 1, 500, &j), 0);
    job_release(&j);
    CHECK(store_cancel(f->store, id, 1, e));
    assert_int_equal(claim(f, id, 2, 1000, &j), ERR_STATE);
    /* Its recording is not here yet. */
    add(f, 1, 0, fetched);
    CHECK(store_source_put(f->store, fetched, "https://example.org/a.wav", e));
    assert_int_equal(claim(f, fetched, 0, 1, &j), ERR_STATE);
    assert_int_equal(store_waiting_get(f->store, fetched, &w, NULL), ERR_NOT_FOUND);
    CHECK(store_waiting_list(f->store, NULL, 10, &list, e));
    assert_int_equal(list.count, 0);
    store_waiting_list_release(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_waits_is_listed_in_turn),
        TEST(one_is_claimed_by_its_id_and_attempt),
        TEST(what_cannot_be_claimed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
