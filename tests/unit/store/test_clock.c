/* The time of a database that is a file: kept in it, and moved along with what it says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "base/clock.h"
#include "store/native.h"
#include "store/settings.h"
#include "store/uploads.h"

#define HOUR INT64_C(3600000)
#define DAY  (24 * HOUR)

static void assert_about(int64_t time_ms, int64_t expected_ms)
{
    if (time_ms < expected_ms - 3000 || time_ms > expected_ms + 3000)
        fail_msg("%lld ms off", (long long)(time_ms - expected_ms));
}

/* What the service wrote down, changed by a command beside it; `start` is the name of
 * another start of the machine, or NULL. */
static void close_and_tell(struct store_fixture *f, const char *start, int64_t now_off,
                           int64_t sure_off, int64_t sure_at, int64_t since)
{
    struct buf old;
    char url[PATH_MAX + 32], text[300];
    store_close(f->store);
    f->store = NULL;
    test_store_url(f->folder, url, sizeof url);
    struct store *s = NULL;
    CHECK(store_open(&s, url, &(struct store_options){0}, e));
    buf_init(&old, 300);
    CHECK(store_setting_get(s, STORE_CLOCK, &old, e));
    int64_t boot = clock_boot_ms(), right = clock_wall_ms() - boot;
    if (!start)
        start = old.data;
    old.data[strcspn(old.data, " ")] = '\0';
    (void)snprintf(text, sizeof text, "%s %lld %lld %lld %lld %lld", start,
                   (long long)(boot - 1000 + right + now_off),
                   (long long)(right + now_off), (long long)(right + sure_off),
                   (long long)sure_at, (long long)since);
    CHECK(store_setting_set(s, STORE_CLOCK, text, e));
    buf_release(&old);
    store_close(s);
}

static void reopen(struct store_fixture *f)
{
    f->store = test_store_open(f->folder);
}

static void what_is_believed_outlives_the_service(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    /* As if the wall clock had jumped by five hours, just now. */
    close_and_tell(f, NULL, -5 * HOUR, -5 * HOUR, 0, 0);
    for (int i = 0; i < 2; i++) {
        reopen(f);
        assert_about(clock_now_ms(), clock_wall_ms() - 5 * HOUR);
        assert_about(clock_sure_ms(), clock_wall_ms() - 5 * HOUR);
        store_close(f->store);
    }
    reopen(f);
    /* The log, too, which triggers write. */
    test_store_add(f->store, clock_now_ms(), "a.wav", id);
    struct store_event_list l;
    CHECK(store_log_read(f->store, 0, NULL, 10, &l, e));
    assert_int_equal(l.count, 1);
    assert_about(l.events[0].time_ms, clock_wall_ms() - 5 * HOUR);
    store_event_list_release(&l);
}

static void times_move_along_with_what_is_believed(void **state)
{
    struct store_fixture *f = *state;
    char old[ID_SIZE], young[ID_SIZE];
    struct job j;
    int64_t count = 0, believed = clock_wall_ms() - 40 * DAY;
    test_store_add(f->store, believed - DAY, "old.wav", old);
    CHECK(store_claim(f->store, NULL, "w", believed - DAY, believed, &j, e));
    CHECK(store_cancel(f->store, old, believed - DAY, e));
    job_release(&j);
    test_store_add(f->store, believed, "young.wav", young);
    CHECK(store_claim(f->store, NULL, "w", believed + 1000, believed + 16000, &j, e));
    job_release(&j);
    char empty[] = "", params[] = "{}";
    struct store_upload u = {.caller = empty,
                             .params = params,
                             .metadata = empty,
                             .concat = empty,
                             .length = 10,
                             .created_ms = believed,
                             .expires_ms = believed + DAY};
    (void)id_new(u.id);
    CHECK(store_upload_insert(f->store, &u, e));
    /* A machine without a battery, whose clock has been set since. */
    close_and_tell(f, NULL, -40 * DAY, -41 * DAY, clock_boot_ms() + HOUR,
                   believed - 1000);
    reopen(f);
    int64_t wall = clock_wall_ms();
    assert_about(clock_now_ms(), wall);
    assert_about(clock_sure_ms(), wall - 41 * DAY);
    CHECK(store_get(f->store, young, &j, e));
    assert_about(j.created_ms, wall);
    assert_about(j.started_ms, wall + 1000);
    job_release(&j);
    CHECK(store_get(f->store, old, &j, e));
    assert_about(j.created_ms, believed - DAY);
    assert_about(j.completed_ms, believed - DAY);
    job_release(&j);
    struct store_upload found;
    CHECK(store_upload_get(f->store, u.id, &found, e));
    assert_about(found.created_ms, wall);
    assert_about(found.expires_ms, wall + DAY);
    store_upload_release(&found);
    CHECK(store_requeue_expired(f->store, clock_lease_ms(), &count, e));
    assert_about(clock_sure_ms(), wall - 41 * DAY);
}

static void a_start_that_is_not_the_same_is_not_gone_on_from(void **state)
{
    struct store_fixture *f = *state;
    close_and_tell(f, "another", -5 * HOUR, -5 * HOUR, 0, 0);
    reopen(f);
    assert_about(clock_now_ms(), clock_wall_ms());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_set_up, test_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_believed_outlives_the_service),
        TEST(times_move_along_with_what_is_believed),
        TEST(a_start_that_is_not_the_same_is_not_gone_on_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
