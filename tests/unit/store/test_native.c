/* Priorities, keys that make a request happen once, the log of changes, forgetting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "store/native.h"

#define TEST(name)   cmocka_unit_test_setup_teardown(name, test_set_up, test_tear_down)
#define STEP_MINUTES (JOB_PRIORITY_STEP_MS / 60000)

static struct job job_of(char id[ID_SIZE], char *name)
{
    static char model[] = "tiny", language[] = "auto", task[] = "transcribe",
                none[] = "{}";
    struct job j = {.original_filename = name,
                    .filename = id,
                    .model = model,
                    .language_asked = language,
                    .task = task,
                    .options = none,
                    .file_bytes = 1,
                    .created_ms = 1};
    id_new(id);
    memcpy(j.id, id, ID_SIZE);
    return j;
}

static void add(struct store_fixture *f, const char *name, int64_t minute, int priority)
{
    char id[ID_SIZE], copy[64];
    (void)snprintf(copy, sizeof copy, "%s", name);
    struct job j = job_of(id, copy);
    j.created_ms = minute * 60000;
    j.priority = priority;
    CHECK(store_insert(f->store, &j, "00", e));
}

static void next_is(struct store_fixture *f, const char *name)
{
    struct job j;
    CHECK(store_claim(f->store, NULL, "me", INT64_C(1) << 40, INT64_C(1) << 41, &j, e));
    assert_string_equal(j.original_filename, name);
    job_release(&j);
}

static void the_most_urgent_is_next_then_the_oldest(void **state)
{
    struct store_fixture *f = *state;
    add(f, "low", 1, JOB_PRIORITY_LOWEST);
    add(f, "normal", 2, JOB_PRIORITY_NORMAL);
    add(f, "normal again", 3, JOB_PRIORITY_NORMAL);
    add(f, "high", 4, JOB_PRIORITY_HIGHEST);
    add(f, "high again", 5, JOB_PRIORITY_HIGHEST);
    next_is(f, "high");
    next_is(f, "high again");
    next_is(f, "normal");
    next_is(f, "normal again");
    next_is(f, "low");
}

static void a_long_wait_lifts_a_job(void **state)
{
    struct store_fixture *f = *state;
    add(f, "low", 0, JOB_PRIORITY_LOWEST);
    /* An endless row of urgent ones: those that came while it waited for nine steps. */
    int64_t steps = JOB_PRIORITY_HIGHEST - JOB_PRIORITY_LOWEST;
    add(f, "just before", steps * STEP_MINUTES - 1, JOB_PRIORITY_HIGHEST);
    add(f, "just behind", steps * STEP_MINUTES + 1, JOB_PRIORITY_HIGHEST);
    next_is(f, "just before");
    next_is(f, "low");
    next_is(f, "just behind");
}

static int once(struct store_fixture *f, const char *caller, const char *key,
                const char *request, int64_t now_ms, char made[ID_SIZE])
{
    char id[ID_SIZE], name[] = "a.wav", first[ID_SIZE] = "";
    struct job j = job_of(id, name);
    struct store_once o = {caller, key, request, now_ms, now_ms - 1000};
    int status = store_insert_once(f->store, &j, "00", &o, first, NULL);
    memcpy(made, status == ERR_EXISTS ? first : id, ID_SIZE);
    return status;
}

static void a_key_makes_one_job(void **state)
{
    struct store_fixture *f = *state;
    char a[ID_SIZE], b[ID_SIZE], c[ID_SIZE];
    assert_int_equal(once(f, "", "k", "same", 5000, a), 0);
    assert_int_equal(once(f, "", "k", "same", 5500, b), ERR_EXISTS);
    assert_string_equal(a, b);
    assert_int_equal(once(f, "", "k", "other", 5500, b), ERR_STATE);
    assert_int_equal(once(f, "somebody", "k", "other", 5500, b), 0);
    assert_int_equal(once(f, "", "k2", "same", 5500, b), 0);
    struct job_filter filter = {.limit = 50};
    struct job_list list;
    CHECK(store_list(f->store, &filter, &list, e));
    assert_int_equal(list.total, 3);
    job_list_release(&list);
    assert_int_equal(once(f, "", "k", "other", 6001, c), 0); /* it was forgotten */
    CHECK(store_remove(f->store, c, e));                     /* and goes with its job */
    assert_int_equal(once(f, "", "k", "third", 6002, c), 0);
}

static void line_is(const struct store_event *v, const char *id, const char *status,
                    int progress)
{
    assert_string_equal(v->job_id, id);
    assert_string_equal(v->deleted ? "deleted" : job_status_name(v->status), status);
    assert_int_equal(v->progress, progress);
}

static void every_change_of_state_is_in_the_log(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    struct job j;
    struct store_event_list list;
    struct store_log_extent extent;
    test_store_add(f->store, 1, "a.wav", id);
    CHECK(store_claim(f->store, NULL, "me", 1, 2, &j, e));
    CHECK(store_decoded(f->store, id, j.attempt, 2, 1, "Transcribing", e));
    CHECK(store_renew(f->store, id, j.attempt, 99, e)); /* is none */
    struct store_checkpoint cp = {.next_frame = 10, .progress = 50, .message = "half"};
    CHECK(store_checkpoint(f->store, id, j.attempt, &cp, e));
    CHECK(store_fail(f->store, id, j.attempt, 3, "io", "the reason", e));
    CHECK(store_retry(f->store, id, e));
    CHECK(store_log_read(f->store, 0, NULL, 100, &list, e));
    assert_int_equal(list.count, 4);
    line_is(&list.events[0], id, "pending", 0);
    line_is(&list.events[1], id, "processing", 0);
    line_is(&list.events[2], id, "failed", 50);
    assert_string_equal(list.events[2].message, "the reason");
    assert_string_equal(list.events[2].filename, "a.wav");
    line_is(&list.events[3], id, "pending", 50);
    int64_t third = list.events[2].number;
    store_event_list_release(&list);
    CHECK(store_remove(f->store, id, e));
    CHECK(store_log_read(f->store, third, NULL, 100, &list, e));
    assert_int_equal(list.count, 2);
    line_is(&list.events[1], id, "deleted", 50);
    assert_null(list.events[1].filename);
    CHECK(store_log_extent(f->store, &extent, e));
    assert_int_equal(extent.newest, list.events[1].number);
    assert_int_equal(extent.floor, 0);
    store_event_list_release(&list);
    CHECK(store_log_read(f->store, 0, "nobody", 100, &list, e));
    assert_int_equal(list.count, 0);
    store_event_list_release(&list);
    job_release(&j);
}

static void of_progress_the_last_line_stays(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    struct job j;
    struct store_event_list list;
    test_store_add(f->store, 1, "a.wav", id);
    CHECK(store_claim(f->store, NULL, "me", 1, 2, &j, e));
    for (int i = 1; i <= 20; i++) {
        struct store_checkpoint cp = {.next_frame = i, .progress = i, .message = "on"};
        CHECK(store_checkpoint(f->store, id, j.attempt, &cp, e));
    }
    CHECK(store_log_read(f->store, 0, NULL, 100, &list, e));
    assert_int_equal(list.count, 3);
    line_is(&list.events[2], id, "processing", 20);
    store_event_list_release(&list);
    job_release(&j);
}

static void the_log_says_how_far_it_reaches(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    struct store_log_extent extent;
    struct store_event_list list;
    for (int i = 0; i < 10; i++)
        test_store_add(f->store, i, "a.wav", id);
    CHECK(store_log_trim(f->store, 0, 4, e));
    CHECK(store_log_extent(f->store, &extent, e));
    assert_int_equal(extent.newest, 10);
    assert_int_equal(extent.floor, 6);
    CHECK(store_log_read(f->store, extent.floor, NULL, 100, &list, e));
    assert_int_equal(list.count, 4);
    store_event_list_release(&list);
    CHECK(store_log_trim(f->store, INT64_C(1) << 50, 100, e)); /* all are old */
    CHECK(store_log_extent(f->store, &extent, e));
    assert_int_equal(extent.newest, 10);
    assert_int_equal(extent.floor, 10);
    test_store_add(f->store, 1, "a.wav", id); /* numbers are not used again */
    CHECK(store_log_extent(f->store, &extent, e));
    assert_int_equal(extent.newest, 11);
}

static void what_leaves_nothing_behind_leaves_nothing(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE], name[] = "Platypus confession.wav", path[PATH_MAX + 16];
    char options[] = "{\"prompt\":\"marsupial\"}", other[ID_SIZE];
    for (int i = 0; i < 30; i++)
        test_store_add(f->store, 1000 + i, "ordinary.wav", other);
    struct job j = job_of(id, name), claimed;
    j.retain_days = JOB_RETAIN_NONE;
    j.priority = JOB_PRIORITY_HIGHEST;
    j.options = options;
    CHECK(store_insert(f->store, &j, "00", e));
    CHECK(store_claim(f->store, NULL, "me", 2, 3, &claimed, e));
    assert_string_equal(claimed.id, id);
    const char *windows[] = {"{\"text\":\"quixotic zeppelin\"}"};
    for (int i = 1; i < 200; i++) {
        struct store_checkpoint cp = {
            .next_frame = i, .windows = windows, .n_windows = 1, .message = "on"};
        CHECK(store_checkpoint(f->store, id, claimed.attempt, &cp, e));
    }
    static char text[40000];
    for (size_t i = 0; i + 18 < sizeof text; i += 18)
        memcpy(text + i, "quixotic zeppelin ", 18);
    struct store_result result = {
        .transcript_json = text, .transcript_text = text, .quality_json = text};
    CHECK(store_complete(f->store, id, claimed.attempt, 5, &result, e));
    job_release(&claimed);
    struct job_filter filter = {.limit = 5, .search = "zeppelin"};
    struct job_list list;
    CHECK(store_list(f->store, &filter, &list, e));
    assert_int_equal(list.total, 0); /* never was in the index */
    job_list_release(&list);
    CHECK(store_erase(f->store, id, e));
    CHECK(store_scrub(f->store, e));
    CHECK(store_get(f->store, id, &claimed, e));
    assert_true(claimed.erased);
    assert_null(claimed.transcript_text);
    job_release(&claimed);
    if (test_on_postgres())
        return; /* its files are its own business */
    static const char *const files[] = {"app.db", "app.db-wal"};
    static const char *const words[] = {"zeppelin", "uixotic", "latypus", "marsupial"};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 4; k++) {
            (void)snprintf(path, sizeof path, "%s/%s", f->folder, files[i]);
            assert_false(test_file_holds(path, words[k]));
        }
}

static size_t aged(struct store_fixture *f, enum store_aged what, int64_t before_ms)
{
    char ids[8][ID_SIZE];
    size_t count;
    CHECK(store_aged(f->store, what, before_ms, ids, 8, &count, e));
    return count;
}

static void jobs_are_kept_for_days_of_their_own(void **state)
{
    struct store_fixture *f = *state;
    static const int kept[] = {JOB_RETAIN_DEFAULT, 2, JOB_RETAIN_NONE};
    const int64_t day = 86400000;
    for (size_t i = 0; i < 3; i++) {
        char id[ID_SIZE], name[] = "a.wav";
        struct job j = job_of(id, name);
        j.retain_days = kept[i];
        CHECK(store_insert(f->store, &j, "00", e));
        CHECK(store_cancel(f->store, id, 1000, e));
    }
    assert_int_equal(aged(f, STORE_AGED_AUDIO, 1001), 1);
    assert_int_equal(aged(f, STORE_AGED_JOBS, 1001), 1);
    assert_int_equal(aged(f, STORE_AGED_OWN, 1000 + 2 * day), 0);
    assert_int_equal(aged(f, STORE_AGED_OWN, 1001 + 2 * day), 1);
    assert_int_equal(aged(f, STORE_AGED_FLEETING_AUDIO, 1001), 1);
    assert_int_equal(aged(f, STORE_AGED_FLEETING_TEXT, 1000), 0);
    assert_int_equal(aged(f, STORE_AGED_FLEETING_TEXT, 1001), 1);
    assert_int_equal(aged(f, STORE_AGED_FLEETING_JOBS, 1001), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_most_urgent_is_next_then_the_oldest),
        TEST(a_long_wait_lifts_a_job),
        TEST(a_key_makes_one_job),
        TEST(every_change_of_state_is_in_the_log),
        TEST(of_progress_the_last_line_stays),
        TEST(the_log_says_how_far_it_reaches),
        TEST(what_leaves_nothing_behind_leaves_nothing),
        TEST(jobs_are_kept_for_days_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
