/* Keys, sessions, usage and the audit log, on a database of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "store/audit.h"
#include "store/keys.h"

#define DAY_MS INT64_C(86400000)
#define ID_A   "00000000000000aa"
#define ID_B   "00000000000000bb"

static void add_key(struct store *s, const char *id, int64_t created_ms)
{
    struct store_key k = {.scopes = KEY_READ | KEY_ADMIN,
                          .created_ms = created_ms,
                          .expires_ms = 9000,
                          .minutes_per_day = 5};
    (void)snprintf(k.id, sizeof k.id, "%s", id);
    (void)snprintf(k.name, sizeof k.name, "name of %s", id);
    (void)snprintf(k.hash, sizeof k.hash, "%064d", 7);
    CHECK(store_key_add(s, &k, false, e));
}

static void a_key_is_kept(void **state)
{
    struct store_fixture *f = *state;
    struct store_key k;
    bool any = true;
    CHECK(store_key_any(f->store, &any, e));
    assert_false(any);
    assert_int_equal(store_key_get(f->store, ID_A, &k, NULL), ERR_NOT_FOUND);
    add_key(f->store, ID_A, 1000);
    store_close(f->store);
    f->store = test_store_open(f->folder);
    CHECK(store_key_any(f->store, &any, e));
    assert_true(any);
    CHECK(store_key_get(f->store, ID_A, &k, e));
    assert_string_equal(k.id, ID_A);
    assert_string_equal(k.name, "name of " ID_A);
    assert_int_equal(strlen(k.hash), 64);
    assert_int_equal(k.scopes, KEY_READ | KEY_ADMIN);
    assert_int_equal(k.created_ms, 1000);
    assert_int_equal(k.expires_ms, 9000);
    assert_int_equal(k.revoked_ms, 0);
    assert_int_equal(k.used_ms, 0);
    assert_int_equal(k.minutes_per_day, 5);
    CHECK(store_key_touch(f->store, ID_A, 3000, e));
    CHECK(store_key_touch(f->store, ID_A, 2000, e));
    CHECK(store_key_get(f->store, ID_A, &k, e));
    assert_int_equal(k.used_ms, 3000);
}

static void the_first_key_is_made_once(void **state)
{
    struct store_fixture *f = *state;
    struct store_key k = {.scopes = KEY_ADMIN};
    (void)snprintf(k.id, sizeof k.id, ID_A);
    CHECK(store_key_add(f->store, &k, true, e));
    (void)snprintf(k.id, sizeof k.id, ID_B);
    assert_int_equal(store_key_add(f->store, &k, true, NULL), ERR_EXISTS);
    CHECK(store_key_revoke(f->store, ID_A, 1, e));
    assert_int_equal(store_key_add(f->store, &k, true, NULL), ERR_EXISTS);
    CHECK(store_key_add(f->store, &k, false, e));
    assert_int_equal(store_key_add(f->store, &k, false, NULL), ERR_EXISTS);
}

static void revoking_ends_the_sessions(void **state)
{
    struct store_fixture *f = *state;
    struct store_session x = {.id = ID_A,
                              .hash = "h",
                              .key_id = ID_B,
                              .created_ms = 5,
                              .expires_ms = 50},
                         out;
    struct store_key k;
    assert_true(store_session_add(f->store, &x, NULL) < 0); /* of no key */
    add_key(f->store, ID_B, 1);
    CHECK(store_session_add(f->store, &x, e));
    CHECK(store_session_get(f->store, ID_A, &out, &k, e));
    assert_string_equal(out.id, ID_A);
    assert_string_equal(out.hash, "h");
    assert_string_equal(out.key_id, ID_B);
    assert_int_equal(out.expires_ms, 50);
    assert_string_equal(k.id, ID_B);
    assert_int_equal(k.minutes_per_day, 5);
    assert_int_equal(store_key_revoke(f->store, ID_A, 7, NULL), ERR_NOT_FOUND);
    CHECK(store_key_revoke(f->store, ID_B, 7, e));
    assert_int_equal(store_key_revoke(f->store, ID_B, 8, NULL), ERR_STATE);
    CHECK(store_key_get(f->store, ID_B, &k, e));
    assert_int_equal(k.revoked_ms, 7);
    assert_int_equal(store_session_get(f->store, ID_A, &out, &k, NULL), ERR_NOT_FOUND);
}

static void sessions_end(void **state)
{
    struct store_fixture *f = *state;
    struct store_session a = {.id = ID_A,
                              .hash = "h",
                              .key_id = ID_B,
                              .created_ms = 5,
                              .expires_ms = 50},
                         b = a, out;
    struct store_key k;
    add_key(f->store, ID_B, 1);
    CHECK(store_session_add(f->store, &a, e));
    (void)snprintf(b.id, sizeof b.id, ID_B);
    b.created_ms = 50;
    b.expires_ms = 90;
    CHECK(store_session_add(f->store, &b, e)); /* sweeps the first */
    assert_int_equal(store_session_get(f->store, ID_A, &out, &k, NULL), ERR_NOT_FOUND);
    CHECK(store_session_get(f->store, ID_B, &out, &k, e));
    CHECK(store_session_drop(f->store, ID_B, e));
    CHECK(store_session_drop(f->store, ID_B, e));
    assert_int_equal(store_session_get(f->store, ID_B, &out, &k, NULL), ERR_NOT_FOUND);
}

/* A job of `caller` that is claimed at `now_ms`. */
static int start_job(struct store *s, const char *caller, int64_t now_ms,
                     char id[ID_SIZE])
{
    char name[] = "a.wav", model[] = "tiny", language[] = "auto", task[] = "transcribe",
         none[] = "{}", whose[32];
    struct job j = {.original_filename = name,
                    .filename = name,
                    .model = model,
                    .language_asked = language,
                    .task = task,
                    .options = none,
                    .caller = whose,
                    .file_bytes = 1000,
                    .created_ms = now_ms};
    struct job claimed;
    (void)snprintf(whose, sizeof whose, "%s", caller);
    id_new(j.id);
    memcpy(id, j.id, ID_SIZE);
    CHECK(store_insert(s, &j, "00", e));
    CHECK(store_claim(s, NULL, "w", now_ms, now_ms + 1000, &claimed, e));
    assert_string_equal(claimed.id, id);
    int attempt = claimed.attempt;
    job_release(&claimed);
    return attempt;
}

static void check_usage(struct store *s, const char *caller, int64_t now_ms,
                        double seconds, int64_t waiting)
{
    struct store_usage u;
    CHECK(store_key_usage(s, caller, now_ms, &u, e));
    assert_true(u.seconds == seconds);
    assert_int_equal(u.waiting_bytes, waiting);
}

static void a_recording_is_charged_once(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    int64_t day = 20000 * DAY_MS, late = day + DAY_MS - 1000;
    check_usage(f->store, ID_A, day, 0, 0);
    int attempt = start_job(f->store, ID_A, late, id);
    check_usage(f->store, ID_A, day, 0, 1000);
    /* It counts on the day that it began on, though that is over meanwhile. */
    CHECK(store_decoded(f->store, id, attempt, 90.5, 1, "", e));
    check_usage(f->store, ID_A, day, 90.5, 0);
    check_usage(f->store, ID_A, day + DAY_MS, 0, 0);
    check_usage(f->store, ID_B, day, 0, 0);
    /* Tried again, it is decoded again, and not charged. */
    CHECK(store_fail(f->store, id, attempt, late, "c", "m", e));
    CHECK(store_retry(f->store, id, e));
    struct job j;
    CHECK(store_claim(f->store, NULL, "w", late, late, &j, e));
    CHECK(store_decoded(f->store, id, j.attempt, 90.5, 1, "", e));
    const struct store_result r = {
        .transcript_json = "{}", .transcript_text = "", .duration_seconds = 90.5};
    CHECK(store_complete(f->store, id, j.attempt, late, &r, e));
    job_release(&j);
    check_usage(f->store, ID_A, day, 90.5, 0);
    /* A second one adds to it; what nobody was asked for is nobody's. */
    attempt = start_job(f->store, ID_A, day, id);
    CHECK(store_decoded(f->store, id, attempt, 9.5, 1, "", e));
    check_usage(f->store, ID_A, day, 100, 0);
    attempt = start_job(f->store, "", day, id);
    CHECK(store_decoded(f->store, id, attempt, 9.5, 1, "", e));
    check_usage(f->store, "", day, 0, 0);
    /* Deleting a job gives nothing back. */
    CHECK(store_remove(f->store, id, e));
    check_usage(f->store, ID_A, day, 100, 0);
}

static void what_was_used_long_ago_is_forgotten(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    int64_t day = 20000 * DAY_MS;
    for (int i = 0; i < 3; i++) {
        int attempt = start_job(f->store, ID_A, day + i * DAY_MS, id);
        CHECK(store_decoded(f->store, id, attempt, 10, 1, "", e));
    }
    CHECK(store_key_usage_trim(f->store, day + DAY_MS + 5, e));
    check_usage(f->store, ID_A, day, 0, 0);
    check_usage(f->store, ID_A, day + DAY_MS, 10, 0);
    check_usage(f->store, ID_A, day + 2 * DAY_MS, 10, 0);
}

static void keys_are_listed_with_what_they_used(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    int64_t day = 20000 * DAY_MS;
    struct store_key_list list;
    add_key(f->store, ID_A, 1);
    add_key(f->store, ID_B, 2);
    int attempt = start_job(f->store, ID_A, day, id);
    CHECK(store_decoded(f->store, id, attempt, 60, 1, "", e));
    CHECK(store_key_list(f->store, day + 5, &list, e));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.keys[0].id, ID_B);
    assert_string_equal(list.keys[1].id, ID_A);
    assert_true(list.keys[0].seconds_today == 0 && list.keys[1].seconds_today == 60);
    store_key_list_release(&list);
    CHECK(store_key_list(f->store, day + DAY_MS, &list, e));
    assert_true(list.keys[1].seconds_today == 0);
    store_key_list_release(&list);
}

static void the_audit_log_is_paged(void **state)
{
    struct store_fixture *f = *state;
    struct store_audit_list list;
    CHECK(store_audit_list(f->store, 0, 10, &list, e));
    assert_int_equal(list.count, 0);
    store_audit_list_release(&list);
    for (int i = 1; i <= 5; i++) {
        struct store_audit_entry x = {
            .time_ms = i, .event = "refused", .caller = ID_A, .client = "10.0.0.1"};
        (void)snprintf(x.detail, sizeof x.detail, "number %d", i);
        CHECK(store_audit_add(f->store, &x, e));
    }
    CHECK(store_audit_list(f->store, 0, 3, &list, e));
    assert_int_equal(list.count, 3);
    assert_string_equal(list.entries[0].detail, "number 5");
    assert_string_equal(list.entries[0].event, "refused");
    assert_string_equal(list.entries[0].caller, ID_A);
    assert_string_equal(list.entries[0].client, "10.0.0.1");
    int64_t before = list.entries[2].id;
    store_audit_list_release(&list);
    CHECK(store_audit_list(f->store, before, 3, &list, e));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.entries[0].detail, "number 2");
    store_audit_list_release(&list);
}

/* What `keys` does beside a service. */
static void a_second_process_may_write(void **state)
{
    struct store_fixture *f = *state;
    char url[PATH_MAX + 32];
    struct store *beside = NULL;
    const struct store_options options = {.exclusive = false};
    struct store_key k;
    test_store_url(f->folder, url, sizeof url);
    CHECK(store_open(&beside, url, &options, e));
    add_key(beside, ID_A, 1);
    CHECK(store_key_get(f->store, ID_A, &k, e));
    CHECK(store_key_revoke(beside, ID_A, 9, e));
    CHECK(store_key_get(f->store, ID_A, &k, e));
    assert_int_equal(k.revoked_ms, 9);
    store_close(beside);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_set_up, test_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_key_is_kept),
        TEST(the_first_key_is_made_once),
        TEST(revoking_ends_the_sessions),
        TEST(sessions_end),
        TEST(a_recording_is_charged_once),
        TEST(what_was_used_long_ago_is_forgotten),
        TEST(keys_are_listed_with_what_they_used),
        TEST(the_audit_log_is_paged),
        TEST(a_second_process_may_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
