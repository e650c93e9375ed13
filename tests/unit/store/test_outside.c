/* What the store knows of uploads, of recordings elsewhere and of whom to tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "store/sources.h"
#include "store/uploads.h"
#include "store/webhooks.h"

/* ---- uploads ---- */

static void add_upload(struct store *s, char id[ID_SIZE], int64_t length)
{
    char caller[] = "key", params[] = "{\"model\":\"tiny\"}", metadata[] = "a YQ==";
    struct store_upload u = {.caller = caller,
                             .params = params,
                             .metadata = metadata,
                             .length = length,
                             .created_ms = 10,
                             .expires_ms = 100};
    memcpy(u.id, id_new(id), ID_SIZE);
    CHECK(store_upload_insert(s, &u, e));
}

static void advance(struct store *s, const char *id, int64_t epoch, int64_t length,
                    int64_t received, int64_t expires_ms)
{
    struct store_upload u = {
        .epoch = epoch, .length = length, .received = received, .expires_ms = expires_ms};
    memcpy(u.id, id, ID_SIZE);
    CHECK(store_upload_advance(s, &u, e));
}

/* Whoever has claimed it last may change it, and knows whether the one before let go. */
static void an_upload_has_one_writer(void **state)
{
    struct store *s = ((struct store_fixture *)*state)->store;
    struct store_upload first, second, third;
    char id[ID_SIZE], text[] = "{}";
    add_upload(s, id, 50);
    CHECK(store_upload_claim(s, id, &first, e));
    assert_int_equal(first.epoch, 1);
    assert_true(first.clean);
    CHECK(store_upload_note(s, id, 1, 7, e));
    CHECK(store_upload_claim(s, id, &second, e));
    assert_int_equal(second.epoch, 2);
    assert_int_equal(second.next, 7);
    assert_false(second.clean); /* the first may still be writing */
    assert_int_equal(store_upload_note(s, id, 1, 9, NULL), ERR_NOT_FOUND);
    first.received = 30;
    assert_int_equal(store_upload_advance(s, &first, NULL), ERR_NOT_FOUND);
    CHECK(store_upload_let_go(s, id, 1, e)); /* not its to let go any more */
    second.received = 20;
    free(second.state);
    second.state = strdup(text);
    CHECK(store_upload_advance(s, &second, e));
    CHECK(store_upload_let_go(s, id, 2, e));
    CHECK(store_upload_claim(s, id, &third, e));
    assert_true(third.clean);
    assert_int_equal(third.received, 20);
    assert_string_equal(third.state, text);
    store_upload_release(&first);
    store_upload_release(&second);
    store_upload_release(&third);
}

static void an_upload_advances_until_it_is_a_job(void **state)
{
    struct store *s = ((struct store_fixture *)*state)->store;
    struct store_upload u, late = {.length = 50, .received = 30, .expires_ms = 200};
    char id[ID_SIZE];
    add_upload(s, id, -1);
    advance(s, id, 0, 50, 20, 200);
    CHECK(store_upload_get(s, id, &u, e));
    assert_string_equal(u.caller, "key");
    assert_string_equal(u.metadata, "a YQ==");
    assert_int_equal(u.length, 50);
    assert_int_equal(u.received, 20);
    assert_int_equal(u.expires_ms, 200);
    assert_false(u.done);
    store_upload_release(&u);
    CHECK(store_upload_finish(s, id, e));
    memcpy(late.id, id, ID_SIZE);
    assert_int_equal(store_upload_advance(s, &late, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_upload_claim(s, id, &u, NULL), ERR_NOT_FOUND);
    CHECK(store_upload_get(s, id, &u, e));
    assert_true(u.done);
    assert_string_equal(u.params, "{}"); /* a secret may have been in them */
    store_upload_release(&u);
    CHECK(store_upload_remove(s, id, e));
    assert_int_equal(store_upload_get(s, id, &u, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_upload_remove(s, id, NULL), ERR_NOT_FOUND);
}

static void whole_and_expired_uploads_are_found(void **state)
{
    struct store *s = ((struct store_fixture *)*state)->store;
    char whole[ID_SIZE], half[ID_SIZE], ids[4][ID_SIZE];
    size_t count;
    add_upload(s, whole, 50);
    add_upload(s, half, 50);
    advance(s, whole, 0, 50, 50, 300);
    CHECK(store_upload_find(s, STORE_UPLOADS_WHOLE, 20, ids, 4, &count, e));
    assert_int_equal(count, 1);
    assert_string_equal(ids[0], whole);
    CHECK(store_upload_find(s, STORE_UPLOADS_EXPIRED, 200, ids, 4, &count, e));
    assert_int_equal(count, 1);
    assert_string_equal(ids[0], half);
    CHECK(store_upload_finish(s, whole, e));
    CHECK(store_upload_find(s, STORE_UPLOADS_WHOLE, 20, ids, 4, &count, e));
    assert_int_equal(count, 0);
}

/* ---- sources ---- */

static void add_source(struct store *s, char id[ID_SIZE])
{
    char name[] = "a.wav", model[] = "tiny", language[] = "auto", task[] = "transcribe",
         none[] = "{}";
    struct job j = {.original_filename = name,
                    .filename = id,
                    .model = model,
                    .language_asked = language,
                    .task = task,
                    .options = none,
                    .created_ms = 1};
    memcpy(j.id, id_new(id), ID_SIZE);
    CHECK(store_source_put(s, id, "https://example.org/a.wav", e));
    CHECK(store_insert(s, &j, "", e));
}

static int claim_job(struct store *s, char id[ID_SIZE])
{
    struct job j;
    int status = store_claim(s, NULL, "me", 1000, 2000, &j, NULL);
    if (!status) {
        memcpy(id, j.id, ID_SIZE);
        job_release(&j);
    }
    return status;
}

static void a_worker_waits_until_its_recording_is_here(void **state)
{
    struct store *s = ((struct store_fixture *)*state)->store;
    struct store_source src, none;
    struct job j;
    char id[ID_SIZE], got[ID_SIZE];
    add_source(s, id);
    assert_int_equal(claim_job(s, got), ERR_NOT_FOUND);
    CHECK(store_source_claim(s, 1000, 2000, &src, e));
    assert_string_equal(src.job_id, id);
    assert_string_equal(src.url, "https://example.org/a.wav");
    assert_int_equal(src.attempts, 1);
    assert_int_equal(store_source_claim(s, 1500, 2000, &none, NULL), ERR_NOT_FOUND);
    CHECK(store_source_renew(s, &src, 3000, "Downloading", e));
    CHECK(store_source_done(s, &src, 77, "abcd", 1, e));
    assert_int_equal(store_source_done(s, &src, 77, "abcd", 1, NULL), ERR_STATE);
    CHECK(store_get(s, id, &j, e));
    assert_int_equal(j.file_bytes, 77);
    job_release(&j);
    assert_int_equal(claim_job(s, got), 0);
    assert_string_equal(got, id);
    store_source_release(&src);
}

static void a_source_is_paused_with_what_it_has(void **state)
{
    struct store *s = ((struct store_fixture *)*state)->store;
    struct store_source src, again;
    char id[ID_SIZE];
    add_source(s, id);
    CHECK(store_source_claim(s, 1000, 2000, &src, e));
    src.received = 40;
    free(src.validator);
    src.validator = strdup("\"v1\"");
    free(src.state);
    src.state = strdup("where it stands");
    CHECK(store_source_pause(s, &src, true, 5000, "trying again", e));
    assert_int_equal(store_source_claim(s, 4999, 9000, &again, NULL), ERR_NOT_FOUND);
    CHECK(store_source_claim(s, 5000, 9000, &again, e));
    assert_string_equal(again.state, "where it stands");
    assert_int_equal(again.attempts, 2);
    assert_int_equal(again.received, 40);
    assert_string_equal(again.validator, "\"v1\"");
    /* The earlier attempt has nothing more to say. */
    assert_int_equal(store_source_renew(s, &src, 9000, "x", NULL), ERR_STATE);
    assert_int_equal(store_source_fail(s, &src, 1, "x", "y", NULL), ERR_STATE);
    store_source_release(&again);
    /* An attempt that died with its process does not count. */
    CHECK(store_source_recover(s, e));
    CHECK(store_source_claim(s, 1, 9000, &again, e));
    assert_int_equal(again.attempts, 2);
    /* Nor does one that we broke off. */
    CHECK(store_source_pause(s, &again, false, 0, "Downloading", e));
    store_source_release(&again);
    CHECK(store_source_claim(s, 1, 9000, &again, e));
    assert_int_equal(again.attempts, 2);
    store_source_release(&again);
    store_source_release(&src);
}

static void a_failed_or_cancelled_source_begins_anew(void **state)
{
    struct store *s = ((struct store_fixture *)*state)->store;
    struct store_source src;
    struct job j;
    char id[ID_SIZE];
    add_source(s, id);
    CHECK(store_source_claim(s, 1000, 2000, &src, e));
    CHECK(store_source_fail(s, &src, 1234, "denied", "it is forbidden", e));
    store_source_release(&src);
    CHECK(store_get(s, id, &j, e));
    assert_int_equal(j.status, JOB_FAILED);
    assert_int_equal(j.completed_ms, 1234);
    assert_string_equal(j.error_code, "denied");
    job_release(&j);
    assert_int_equal(store_source_claim(s, 9000, 9500, &src, NULL), ERR_NOT_FOUND);
    CHECK(store_retry(s, id, e));
    CHECK(store_source_claim(s, 1, 9500, &src, e));
    assert_int_equal(src.attempts, 1);
    CHECK(store_cancel(s, id, 1300, e));
    assert_int_equal(store_source_renew(s, &src, 9000, "x", NULL), ERR_STATE);
    CHECK(store_source_reset(s, &src, e));
    store_source_release(&src);
    CHECK(store_retry(s, id, e));
    CHECK(store_source_claim(s, 1, 9500, &src, e));
    store_source_release(&src);
    CHECK(store_remove(s, id, e));
    CHECK(store_source_recover(s, e));
    assert_int_equal(store_source_claim(s, 99999, 99999, &src, NULL), ERR_NOT_FOUND);
}

/* ---- webhooks ---- */

static void add_hooked(struct store *s, char id[ID_SIZE])
{
    struct store_webhook hook = {"https://example.org/hook", "secret", true};
    test_store_add(s, 5, "a.wav", id);
    CHECK(store_webhook_put(s, id, &hook, e));
}

static void the_end_of_a_job_writes_its_notice(void **state)
{
    struct store *s = ((struct store_fixture *)*state)->store;
    struct store_delivery d, none;
    struct store_webhook_state st;
    int64_t next;
    char id[ID_SIZE], other[ID_SIZE];
    test_store_add(s, 4, "b.wav", other); /* nobody wants to know of this one */
    add_hooked(s, id);
    CHECK(store_webhook_next(s, &next, e));
    assert_true(next == INT64_MAX);
    assert_int_equal(store_webhook_state(s, other, &st, NULL), ERR_NOT_FOUND);
    CHECK(store_webhook_state(s, id, &st, e));
    assert_string_equal(st.state, "none");
    store_webhook_state_release(&st);
    CHECK(store_cancel(s, other, 900, e));
    CHECK(store_cancel(s, id, 1000, e));
    CHECK(store_webhook_next(s, &next, e));
    assert_int_equal(next, 1000);
    assert_int_equal(store_webhook_claim(s, 999, 2000, &d, NULL), ERR_NOT_FOUND);
    CHECK(store_webhook_claim(s, 1000, 2000, &d, e));
    assert_string_equal(d.event, "job.cancelled");
    assert_string_equal(d.job_id, id);
    assert_string_equal(d.secret, "secret");
    assert_true(d.with_transcript);
    assert_int_equal(d.attempts, 1);
    assert_int_equal(store_webhook_claim(s, 1500, 2000, &none, NULL), ERR_NOT_FOUND);
    struct store_delivery_end end = {"waiting", 1100, 3000, 500, "the receiver is ill"};
    CHECK(store_webhook_end(s, &d, &end, e));
    CHECK(store_webhook_state(s, id, &st, e));
    assert_string_equal(st.state, "waiting");
    assert_string_equal(st.error, "the receiver is ill");
    assert_int_equal(st.http_status, 500);
    assert_int_equal(st.next_ms, 3000);
    store_webhook_state_release(&st);
    CHECK(store_webhook_claim(s, 3000, 4000, &none, e));
    assert_string_equal(none.id, d.id); /* the same notice, so the same id */
    assert_int_equal(store_webhook_end(s, &d, &end, NULL), ERR_STATE);
    end.state = "delivered";
    CHECK(store_webhook_end(s, &none, &end, e));
    store_delivery_release(&d);
    store_delivery_release(&none);
    assert_int_equal(store_webhook_claim(s, 99999, 99999, &d, NULL), ERR_NOT_FOUND);
}

static void a_retry_overtakes_and_a_deletion_takes_along(void **state)
{
    struct store *s = ((struct store_fixture *)*state)->store;
    struct store_delivery d;
    char id[ID_SIZE];
    add_hooked(s, id);
    CHECK(store_cancel(s, id, 1000, e));
    CHECK(store_retry(s, id, e));
    assert_int_equal(store_webhook_claim(s, 9999, 9999, &d, NULL), ERR_NOT_FOUND);
    CHECK(store_cancel(s, id, 2000, e));
    CHECK(store_webhook_claim(s, 9999, 19999, &d, e));
    store_delivery_release(&d);
    CHECK(store_webhook_recover(s, e)); /* who had it is dead: at once again */
    CHECK(store_webhook_claim(s, 1, 19999, &d, e));
    assert_int_equal(d.attempts, 2);
    store_delivery_release(&d);
    CHECK(store_remove(s, id, e));
    assert_int_equal(store_webhook_claim(s, 99999, 99999, &d, NULL), ERR_NOT_FOUND);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_set_up, test_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_upload_advances_until_it_is_a_job),
        TEST(an_upload_has_one_writer),
        TEST(whole_and_expired_uploads_are_found),
        TEST(a_worker_waits_until_its_recording_is_here),
        TEST(a_source_is_paused_with_what_it_has),
        TEST(a_failed_or_cancelled_source_begins_anew),
        TEST(the_end_of_a_job_writes_its_notice),
        TEST(a_retry_overtakes_and_a_deletion_takes_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
