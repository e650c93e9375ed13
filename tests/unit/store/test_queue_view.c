/* The queue as an operator looks at it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "store/queue_view.h"
#include "store/sources.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_set_up, test_tear_down)
#define MINUTE     INT64_C(60000)
#define NOW        (INT64_C(1000) * MINUTE)

static void insert(struct store_fixture *f, const char *name, int64_t created_ms,
                   int priority, char id[ID_SIZE])
{
    char copy[64], model[] = "tiny", language[] = "auto", task[] = "transcribe",
                   none[] = "{}";
    (void)snprintf(copy, sizeof copy, "%s", name);
    struct job j = {.original_filename = copy,
                    .filename = id,
                    .model = model,
                    .language_asked = language,
                    .task = task,
                    .options = none,
                    .file_bytes = 32000,
                    .created_ms = created_ms,
                    .priority = priority};
    memcpy(j.id, id, ID_SIZE);
    CHECK(store_insert(f->store, &j, "00", e));
}

static void add(struct store_fixture *f, const char *name, int64_t created_ms,
                int priority, char id[ID_SIZE])
{
    id_new(id);
    insert(f, name, created_ms, priority, id);
}

/* Claim the next one; its attempt. */
static int claim(struct store_fixture *f, int64_t now_ms, char id[ID_SIZE])
{
    struct job j;
    CHECK(store_claim(f->store, NULL, "me", now_ms, now_ms + MINUTE, &j, e));
    int attempt = j.attempt;
    memcpy(id, j.id, ID_SIZE);
    job_release(&j);
    return attempt;
}

static void complete(struct store_fixture *f, int64_t began_ms, int64_t ended_ms,
                     double seconds)
{
    char id[ID_SIZE];
    const struct store_result r = {
        .transcript_json = "{}", .transcript_text = "", .duration_seconds = seconds};
    add(f, "done", began_ms, JOB_PRIORITY_HIGHEST, id);
    int attempt = claim(f, began_ms, id);
    CHECK(store_complete(f->store, id, attempt, ended_ms, &r, e));
}

static void break_one(struct store_fixture *f, int64_t ended_ms, const char *code,
                      char id[ID_SIZE])
{
    add(f, "broken", ended_ms - MINUTE, JOB_PRIORITY_HIGHEST, id);
    int attempt = claim(f, ended_ms, id);
    CHECK(store_fail(f->store, id, attempt, ended_ms, code, "It is broken.", e));
}

/* The names of a list, with commas. */
static const char *names(struct store_fixture *f, enum job_status status, int64_t limit,
                         char out[200])
{
    struct store_queue_list list;
    CHECK(store_queue_list(f->store, status, NOW, limit, &list, e));
    out[0] = '\0';
    for (size_t i = 0; i < list.count; i++) {
        size_t at = strlen(out);
        (void)snprintf(out + at, 200 - at, "%s%s:%d", at ? "," : "",
                       list.entries[i].filename, (int)list.entries[i].position);
    }
    store_queue_list_release(&list);
    return out;
}

static int position(struct store_fixture *f, const char *id)
{
    struct store_queue_entry x;
    CHECK(store_queue_entry(f->store, id, NOW, &x, e));
    int at = (int)x.position;
    store_queue_entry_release(&x);
    return at;
}

static void the_line_is_that_of_the_claims(void **state)
{
    struct store_fixture *f = *state;
    char low[ID_SIZE], first[ID_SIZE], second[ID_SIZE], high[ID_SIZE], id[ID_SIZE],
        text[200];
    add(f, "low", NOW - 60 * MINUTE, JOB_PRIORITY_LOWEST, low);
    add(f, "second", NOW - 20 * MINUTE, 0, second);
    add(f, "first", NOW - 21 * MINUTE, 0, first);
    add(f, "high", NOW - MINUTE / 2, 2, high); /* two steps are worth twenty minutes */
    assert_string_equal(names(f, JOB_PENDING, 10, text), "first:1,high:2,second:3,low:4");
    assert_string_equal(names(f, JOB_PENDING, 2, text), "first:1,high:2");
    assert_int_equal(position(f, first), 1);
    assert_int_equal(position(f, high), 2);
    assert_int_equal(position(f, second), 3);
    assert_int_equal(position(f, low), 4);
    claim(f, NOW, id);
    assert_string_equal(id, first);
    claim(f, NOW + 1, id);
    assert_string_equal(id, high);
    assert_int_equal(position(f, first), 0);
    assert_string_equal(names(f, JOB_PENDING, 10, text), "second:1,low:2");
    assert_string_equal(names(f, JOB_PROCESSING, 1, text), "first:0");
}

static void who_cannot_be_taken_is_not_in_the_line(void **state)
{
    struct store_fixture *f = *state;
    char slow[ID_SIZE], next[ID_SIZE], remote[ID_SIZE], id[ID_SIZE], text[200];
    const struct store_crash crash = {.limit = 3, .now_ms = NOW, .run_after_ms = NOW + 1};
    add(f, "slow", 1, 0, slow);
    int attempt = claim(f, NOW, id);
    CHECK(store_crash(f->store, id, attempt, &crash, e));
    id_new(remote);
    CHECK(store_source_put(f->store, remote, "http://127.0.0.1/a.wav", e));
    insert(f, "remote", 2, 0, remote);
    add(f, "next", 3, 0, next);
    assert_string_equal(names(f, JOB_PENDING, 10, text), "slow:0,remote:0,next:1");
    assert_int_equal(position(f, slow), 0);
    assert_int_equal(position(f, remote), 0);
    assert_int_equal(position(f, next), 1);
    struct store_queue_entry x;
    CHECK(store_queue_entry(f->store, remote, NOW, &x, e));
    assert_true(x.fetching);
    store_queue_entry_release(&x);
    CHECK(store_queue_entry(f->store, slow, NOW, &x, e));
    assert_int_equal(x.crashes, 1);
    assert_int_equal(x.attempt, 1);
    assert_int_equal(x.run_after_ms, NOW + 1);
    store_queue_entry_release(&x);
    struct store_queue_figures figures;
    CHECK(store_queue_figures(f->store, NOW, &figures, e));
    assert_int_equal(figures.oldest_ms, 3);
    CHECK(store_queue_figures(f->store, NOW + 1, &figures, e));
    assert_int_equal(figures.oldest_ms, 1);
}

static void an_entry_says_what_is_known(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE], claimed[ID_SIZE];
    struct err why = {0};
    struct store_queue_entry x;
    id_new(id);
    assert_int_equal(store_queue_entry(f->store, id, NOW, &x, &why), ERR_NOT_FOUND);
    add(f, "a.wav", NOW - MINUTE, 1, id);
    int attempt = claim(f, NOW, claimed);
    CHECK(store_decoded(f->store, id, attempt, 90.5, 5, "Heard", e));
    const struct store_checkpoint c = {
        .next_frame = 3000, .message = "On", .progress = 30};
    CHECK(store_checkpoint(f->store, id, attempt, &c, e));
    CHECK(store_queue_entry(f->store, id, NOW, &x, e));
    assert_string_equal(x.id, id);
    assert_int_equal(x.status, JOB_PROCESSING);
    assert_string_equal(x.owner, "me");
    assert_string_equal(x.filename, "a.wav");
    assert_string_equal(x.model, "tiny");
    assert_string_equal(x.message, "On");
    assert_string_equal(x.error_code, "");
    assert_int_equal(x.priority, 1);
    assert_int_equal(x.attempt, 1);
    assert_int_equal(x.progress, 30);
    assert_int_equal(x.created_ms, NOW - MINUTE);
    assert_int_equal(x.started_ms, NOW);
    assert_int_equal(x.file_bytes, 32000);
    assert_true(x.duration_seconds == 90.5);
    assert_true(x.done_seconds == 30);
    store_queue_entry_release(&x);
    CHECK(store_fail(f->store, id, attempt, NOW + 5, "crash", "It crashed.", e));
    CHECK(store_queue_entry(f->store, id, NOW, &x, e));
    assert_string_equal(x.error_code, "crash");
    assert_string_equal(x.error_message, "It crashed.");
    assert_string_equal(x.owner, "");
    assert_int_equal(x.completed_ms, NOW + 5);
    store_queue_entry_release(&x);
}

static void the_figures_add_up(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    struct store_queue_figures x;
    CHECK(store_queue_figures(f->store, NOW, &x, e));
    assert_int_equal(x.oldest_ms, 0);
    assert_int_equal(x.recent_jobs, 0);
    assert_int_equal(x.n_failures, 0);
    /* More than are measured: the first ones no longer count. */
    for (int i = 0; i < 3; i++)
        complete(f, 1000, 2000, 5000);
    for (int i = 0; i < STORE_QUEUE_RECENT; i++)
        complete(f, 10000, 12000 + i, 30);
    break_one(f, 20000, "timeout", id);
    break_one(f, 20000, "crash", id);
    break_one(f, 20000, "crash", id);
    add(f, "running", 30000, 0, id);
    int attempt = claim(f, NOW, id);
    CHECK(store_decoded(f->store, id, attempt, 100, 5, "", e));
    const struct store_checkpoint c = {.next_frame = 3000, .message = "", .progress = 30};
    CHECK(store_checkpoint(f->store, id, attempt, &c, e));
    add(f, "starting", 31000, 0, id);
    claim(f, NOW, id);
    add(f, "returned", 32000, 0, id);
    attempt = claim(f, NOW, id);
    CHECK(store_decoded(f->store, id, attempt, 60, 5, "", e));
    CHECK(store_requeue(f->store, id, attempt, e));
    add(f, "waiting", 33000, 0, id);
    add(f, "waiting too", 34000, 4, id);
    CHECK(store_queue_figures(f->store, NOW, &x, e));
    assert_int_equal(x.jobs[JOB_PENDING], 3);
    assert_int_equal(x.jobs[JOB_PROCESSING], 2);
    assert_int_equal(x.jobs[JOB_COMPLETED], 3 + STORE_QUEUE_RECENT);
    assert_int_equal(x.jobs[JOB_FAILED], 3);
    assert_int_equal(x.jobs[JOB_CANCELLED], 0);
    assert_int_equal(x.oldest_ms, 32000);
    assert_true(x.waiting_seconds == 60);
    assert_true(x.running_seconds == 70);
    assert_int_equal(x.waiting_bytes, 64000);
    assert_int_equal(x.running_bytes, 32000);
    assert_int_equal(x.recent_jobs, STORE_QUEUE_RECENT);
    assert_int_equal(x.recent_bytes, STORE_QUEUE_RECENT * 32000);
    assert_true(x.recent_audio_seconds == STORE_QUEUE_RECENT * 30);
    int64_t ms =
        STORE_QUEUE_RECENT * 2000 + STORE_QUEUE_RECENT * (STORE_QUEUE_RECENT - 1) / 2;
    assert_true(x.recent_work_seconds == (double)ms / 1000);
    assert_int_equal(x.n_failures, 2);
    assert_string_equal(x.failures[0].code, "crash");
    assert_int_equal(x.failures[0].jobs, 2);
    assert_string_equal(x.failures[1].code, "timeout");
    assert_int_equal(x.failures[1].jobs, 1);
    assert_int_equal(x.n_models, 1);
    assert_int_equal(x.models[0].jobs, 3);
}

static void what_has_failed_is_purged_and_nothing_else(void **state)
{
    struct store_fixture *f = *state;
    char old[3][ID_SIZE], young[ID_SIZE], waiting[ID_SIZE], ids[10][ID_SIZE], text[200];
    size_t count, total = 0;
    for (int i = 0; i < 3; i++)
        break_one(f, 5 * MINUTE + i, "crash", old[i]);
    break_one(f, 9 * MINUTE, "crash", young);
    add(f, "waiting", MINUTE, 0, waiting);
    CHECK(store_queue_dead(f->store, NOW, "", ids, 10, &count, e));
    assert_int_equal(count, 4);
    CHECK(store_queue_dead(f->store, 9 * MINUTE, "", ids, 2, &count, e));
    assert_int_equal(count, 2);
    assert_string_equal(ids[0], old[0]);
    assert_string_equal(ids[1], old[1]);
    CHECK(store_queue_dead(f->store, 9 * MINUTE, ids[1], ids, 2, &count, e));
    assert_int_equal(count, 1);
    assert_string_equal(ids[0], old[2]);
    CHECK(store_retry(f->store, old[0], e)); /* out of reach */
    do {
        CHECK(store_queue_purge(f->store, 9 * MINUTE, ids, 1, &count, e));
        total += count;
    } while (count);
    assert_int_equal(total, 2);
    assert_string_equal(names(f, JOB_FAILED, 10, text), "broken:0");
    assert_string_equal(names(f, JOB_PENDING, 10, text), "broken:1,waiting:2");
    struct store_queue_entry x;
    CHECK(store_queue_entry(f->store, young, NOW, &x, e));
    store_queue_entry_release(&x);
    CHECK(store_queue_purge(f->store, INT64_MAX, ids, 10, &count, e));
    assert_int_equal(count, 1);
    assert_string_equal(ids[0], young);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_line_is_that_of_the_claims),
        TEST(who_cannot_be_taken_is_not_in_the_line),
        TEST(an_entry_says_what_is_known),
        TEST(the_figures_add_up),
        TEST(what_has_failed_is_purged_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
