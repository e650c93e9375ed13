/* Every function of the store, on a database of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/share.h"
#include "store/waveform.h"
#include "store_test.h"

#include <unistd.h>

static void reopen(struct store_fixture *f)
{
    store_close(f->store);
    f->store = test_store_open(f->folder);
}

/* Claim the next job, which must be `id`; gives its attempt. */
static int claim(struct store *s, const char *id)
{
    struct job j;
    CHECK(store_claim(s, NULL, "owner", 1000, 2000, &j, e));
    assert_string_equal(j.id, id);
    assert_int_equal(j.status, JOB_PROCESSING);
    int attempt = j.attempt;
    job_release(&j);
    return attempt;
}

static enum job_status status_of(struct store *s, const char *id)
{
    struct job j;
    CHECK(store_get(s, id, &j, e));
    enum job_status status = j.status;
    job_release(&j);
    return status;
}

static const struct store_result result = {.transcript_json = "{\"text\":\"hi\"}",
                                           .transcript_text = "Hello, world",
                                           .language = "en",
                                           .duration_seconds = 12.5};

static void a_job_comes_back_as_it_went_in(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    test_store_add(f->store, 777, "Grüße \xF0\x9F\x8E\x99.mp3", id);
    reopen(f);
    struct job j;
    CHECK(store_get(f->store, id, &j, e));
    assert_string_equal(j.id, id);
    assert_int_equal(j.status, JOB_PENDING);
    assert_string_equal(j.original_filename, "Grüße \xF0\x9F\x8E\x99.mp3");
    assert_string_equal(j.filename, id);
    assert_string_equal(j.model, "tiny");
    assert_string_equal(j.language_asked, "auto");
    assert_string_equal(j.options, "{}");
    assert_null(j.language);
    assert_null(j.transcript_text);
    assert_null(j.error_code);
    assert_int_equal(j.attempt, 0);
    assert_int_equal(j.created_ms, 777);
    assert_int_equal(j.started_ms, 0);
    assert_int_equal(j.file_bytes, 1234);
    assert_true(j.audio_present);
    job_release(&j);
}

static void an_unknown_id_is_not_found(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    id_new(id);
    struct job j;
    struct buf b;
    buf_init(&b, 100);
    struct err why;
    assert_int_equal(store_get(f->store, id, &j, &why), ERR_NOT_FOUND);
    assert_int_equal(store_get(f->store, "' OR 1=1 --", &j, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_transcript(f->store, id, &b, &why), ERR_NOT_FOUND);
    assert_int_equal(store_cancel(f->store, id, 1, &why), ERR_NOT_FOUND);
    assert_int_equal(store_retry(f->store, id, &why), ERR_NOT_FOUND);
    assert_int_equal(store_remove(f->store, id, &why), ERR_NOT_FOUND);
    assert_int_equal(store_drop_audio(f->store, id, &why), ERR_NOT_FOUND);
    assert_int_equal(store_claim(f->store, NULL, "o", 1, 2, &j, &why), ERR_NOT_FOUND);
}

static void the_same_id_is_refused(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    test_store_add(f->store, 1, "a", id);
    struct job j;
    CHECK(store_get(f->store, id, &j, e));
    assert_int_equal(store_insert(f->store, &j, "00", NULL), ERR_EXISTS);
    job_release(&j);
}

static void jobs_are_claimed_in_order_once(void **state)
{
    struct store_fixture *f = *state;
    char first[ID_SIZE], second[ID_SIZE];
    test_store_add(f->store, 200, "later", second);
    test_store_add(f->store, 100, "earlier", first);
    assert_int_equal(claim(f->store, first), 1);
    assert_int_equal(claim(f->store, second), 1);
    struct job j;
    assert_int_equal(store_claim(f->store, NULL, "o", 1, 2, &j, NULL), ERR_NOT_FOUND);
}

/* It is no crash, it keeps what was done, and nobody gets it before its time. */
static void a_job_that_is_put_off_waits(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    struct job j;
    test_store_add(f->store, 100, "off", id);
    CHECK(store_put_off(f->store, id, claim(f->store, id), 5000, "no room", e));
    assert_int_equal(store_claim(f->store, NULL, "o", 4999, 9000, &j, NULL),
                     ERR_NOT_FOUND);
    CHECK(store_get(f->store, id, &j, e));
    assert_int_equal(j.status, JOB_PENDING);
    assert_string_equal(j.message, "no room");
    job_release(&j);
    CHECK(store_claim(f->store, NULL, "o", 5000, 9000, &j, e));
    assert_int_equal(j.attempt, 2);
    job_release(&j);
}

/* Beside others only what is small, of their model and was never tried before. */
static void jobs_are_claimed_as_wished(void **state)
{
    struct store_fixture *f = *state;
    char tried[ID_SIZE], fresh[ID_SIZE];
    struct job j;
    test_store_add(f->store, 100, "tried", tried);
    CHECK(store_requeue(f->store, tried, claim(f->store, tried), e));
    test_store_add(f->store, 200, "fresh", fresh);
    CHECK(store_get(f->store, fresh, &j, e));
    char *model = strdup(j.model);
    assert_non_null(model);
    const int64_t bytes = j.file_bytes;
    job_release(&j);
    const struct store_wish small = {model, bytes - 1, NULL};
    const struct store_wish other = {"other", bytes, NULL}, good = {model, bytes, NULL};
    assert_int_equal(store_claim(f->store, &small, "o", 1, 2, &j, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_claim(f->store, &other, "o", 1, 2, &j, NULL), ERR_NOT_FOUND);
    CHECK(store_claim(f->store, &good, "o", 1, 2, &j, e));
    assert_string_equal(j.id, fresh);
    job_release(&j);
    assert_int_equal(store_claim(f->store, &good, "o", 1, 2, &j, NULL), ERR_NOT_FOUND);
    assert_int_equal(claim(f->store, tried), 2);
    free(model);
}

static void a_finished_job_holds_its_transcript(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    test_store_add(f->store, 1, "a.wav", id);
    int attempt = claim(f->store, id);
    struct buf json;
    buf_init(&json, 1000);
    assert_int_equal(store_transcript(f->store, id, &json, NULL), ERR_STATE);
    CHECK(store_decoded(f->store, id, attempt, 12.5, 1, "Transcribing", e));
    CHECK(store_complete(f->store, id, attempt, 5000, &result, e));
    reopen(f);
    struct job j;
    CHECK(store_get(f->store, id, &j, e));
    assert_int_equal(j.status, JOB_COMPLETED);
    assert_string_equal(j.transcript_text, "Hello, world");
    assert_string_equal(j.language, "en");
    assert_int_equal(j.progress, 100);
    assert_int_equal(j.started_ms, 1000);
    assert_int_equal(j.completed_ms, 5000);
    assert_true(j.duration_seconds == 12.5);
    job_release(&j);
    CHECK(store_transcript(f->store, id, &json, e));
    assert_string_equal(buf_cstr(&json), result.transcript_json);
    buf_release(&json);
}

static void checkpoints_add_up(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    test_store_add(f->store, 1, "a.wav", id);
    int attempt = claim(f->store, id);
    const char *one[] = {"[1]", "[2]"}, *two[] = {"[3]"};
    struct store_checkpoint c = {.next_frame = 6000,
                                 .language = "de",
                                 .language_probability = 0.75,
                                 .windows = one,
                                 .n_windows = 2,
                                 .progress = 40,
                                 .message = "40"};
    CHECK(store_checkpoint(f->store, id, attempt, &c, e));
    CHECK(store_requeue(f->store, id, attempt, e));
    assert_int_equal(status_of(f->store, id), JOB_PENDING);
    assert_int_equal(claim(f->store, id), 2);
    c = (struct store_checkpoint){.next_frame = 9000,
                                  .language = "de",
                                  .language_probability = 0.75,
                                  .windows = two,
                                  .n_windows = 1,
                                  .progress = 10,
                                  .message = "less"};
    CHECK(store_checkpoint(f->store, id, 2, &c, e));
    reopen(f);
    struct store_resume r;
    CHECK(store_resume(f->store, id, &r, e));
    assert_int_equal(r.next_frame, 9000);
    assert_string_equal(r.language, "de");
    assert_true(r.language_probability == 0.75);
    assert_int_equal(r.n_windows, 3);
    assert_string_equal(r.windows[0], "[1]");
    assert_string_equal(r.windows[1], "[2]");
    assert_string_equal(r.windows[2], "[3]");
    store_resume_release(&r);
    struct job j;
    CHECK(store_get(f->store, id, &j, e));
    assert_int_equal(j.progress, 40); /* never back */
    job_release(&j);
    CHECK(store_complete(f->store, id, 2, 1, &result, e));
    CHECK(store_resume(f->store, id, &r, e));
    assert_int_equal(r.n_windows, 0);
    store_resume_release(&r);
}

/* Every fenced write of an attempt that lost the job must change nothing. */
static void assert_fenced_out(struct store *s, const char *id, int attempt)
{
    const char *windows[] = {"[9]"};
    struct store_checkpoint c = {.next_frame = 1,
                                 .windows = windows,
                                 .n_windows = 1,
                                 .progress = 1,
                                 .message = "stale"};
    struct store_crash crash = {
        .limit = 1, .error_code = "crashed", .error_message = "x"};
    struct job before, after;
    CHECK(store_get(s, id, &before, e));
    assert_int_equal(store_renew(s, id, attempt, 1, NULL), ERR_STATE);
    assert_int_equal(store_decoded(s, id, attempt, 1, 1, "stale", NULL), ERR_STATE);
    assert_int_equal(store_checkpoint(s, id, attempt, &c, NULL), ERR_STATE);
    assert_int_equal(store_complete(s, id, attempt, 1, &result, NULL), ERR_STATE);
    assert_int_equal(store_fail(s, id, attempt, 1, "x", "stale", NULL), ERR_STATE);
    assert_int_equal(store_requeue(s, id, attempt, NULL), ERR_STATE);
    assert_int_equal(store_put_off(s, id, attempt, 1, "stale", NULL), ERR_STATE);
    assert_int_equal(store_crash(s, id, attempt, &crash, NULL), ERR_STATE);
    CHECK(store_get(s, id, &after, e));
    assert_int_equal(before.status, after.status);
    assert_string_equal(before.message, after.message);
    assert_int_equal(before.progress, after.progress);
    assert_true((before.transcript_text == NULL) == (after.transcript_text == NULL));
    struct store_resume r;
    CHECK(store_resume(s, id, &r, e));
    assert_int_equal(r.n_windows, 0);
    store_resume_release(&r);
    job_release(&before);
    job_release(&after);
}

static void a_lost_attempt_cannot_write(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    test_store_add(f->store, 1, "a.wav", id);
    assert_fenced_out(f->store, id, 0); /* never claimed */
    int frozen = claim(f->store, id);
    int64_t count;
    CHECK(store_requeue_expired(f->store, 1999, &count, e));
    assert_int_equal(count, 0); /* its lease lasts until 2000 */
    CHECK(store_requeue_expired(f->store, 2001, &count, e));
    assert_int_equal(count, 1);
    assert_fenced_out(f->store, id, frozen); /* pending again */
    int second = claim(f->store, id);
    assert_int_equal(second, frozen + 1);
    assert_fenced_out(f->store, id, frozen); /* held by another */
    CHECK(store_renew(f->store, id, second, 9000, e));
    CHECK(store_complete(f->store, id, second, 1, &result, e));
    assert_fenced_out(f->store, id, frozen);
    assert_fenced_out(f->store, id, second); /* over */
}

static void a_cancelled_job_takes_no_writes(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    test_store_add(f->store, 1, "a.wav", id);
    int attempt = claim(f->store, id);
    CHECK(store_cancel(f->store, id, 77, e));
    assert_int_equal(status_of(f->store, id), JOB_CANCELLED);
    assert_fenced_out(f->store, id, attempt);
    assert_int_equal(store_cancel(f->store, id, 78, NULL), ERR_STATE);
    CHECK(store_retry(f->store, id, e));
    assert_int_equal(status_of(f->store, id), JOB_PENDING);
    assert_int_equal(claim(f->store, id), attempt + 1);
}

static void crash(struct store *s, const char *id, int attempt)
{
    struct store_crash c = {.limit = 3,
                            .now_ms = 50,
                            .run_after_ms = 500,
                            .error_code = "crashed",
                            .error_message = "it crashed"};
    CHECK(store_crash(s, id, attempt, &c, e));
}

static void three_crashes_at_one_place_are_a_failure(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    test_store_add(f->store, 1, "a.wav", id);
    crash(f->store, id, claim(f->store, id));
    struct job j;
    /* It waits before it is tried again. */
    assert_int_equal(store_claim(f->store, NULL, "o", 499, 600, &j, NULL), ERR_NOT_FOUND);
    crash(f->store, id, claim(f->store, id));
    assert_int_equal(status_of(f->store, id), JOB_PENDING);
    crash(f->store, id, claim(f->store, id));
    CHECK(store_get(f->store, id, &j, e));
    assert_int_equal(j.status, JOB_FAILED);
    assert_string_equal(j.error_code, "crashed");
    assert_string_equal(j.error_message, "it crashed");
    job_release(&j);
    CHECK(store_retry(f->store, id, e));
    crash(f->store, id, claim(f->store, id)); /* counted anew */
    assert_int_equal(status_of(f->store, id), JOB_PENDING);
}

static void a_job_that_gets_further_is_no_poison(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    test_store_add(f->store, 1, "a.wav", id);
    for (int i = 1; i <= 6; i++) {
        int attempt = claim(f->store, id);
        struct store_checkpoint c = {.next_frame = i * 3000, .message = "on"};
        CHECK(store_checkpoint(f->store, id, attempt, &c, e));
        crash(f->store, id, attempt);
        assert_int_equal(status_of(f->store, id), JOB_PENDING);
    }
}

/* Whatever the clocks of those say who made it, began it and ended it. */
static void the_times_of_a_job_do_not_go_back(void **state)
{
    struct store_fixture *f = *state;
    char ids[3][ID_SIZE];
    struct job j;
    for (int i = 0; i < 3; i++)
        test_store_add(f->store, 5000 + i, "a.wav", ids[i]);
    CHECK(store_complete(f->store, ids[0], claim(f->store, ids[0]), 400, &result, e));
    CHECK(store_fail(f->store, ids[1], claim(f->store, ids[1]), 400, "x", "y", e));
    CHECK(store_cancel(f->store, ids[2], 400, e));
    for (int i = 0; i < 3; i++) {
        CHECK(store_get(f->store, ids[i], &j, e));
        assert_int_equal(j.started_ms, i < 2 ? 5000 + i : 0);
        assert_int_equal(j.completed_ms, 5000 + i);
        job_release(&j);
    }
}

static void a_failure_keeps_its_reason_until_retried(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    test_store_add(f->store, 1, "a.wav", id);
    CHECK(
        store_fail(f->store, id, claim(f->store, id), 1042, "not_media", "no audio", e));
    struct job j;
    CHECK(store_get(f->store, id, &j, e));
    assert_int_equal(j.status, JOB_FAILED);
    assert_string_equal(j.error_code, "not_media");
    assert_string_equal(j.error_message, "no audio");
    assert_int_equal(j.completed_ms, 1042);
    job_release(&j);
    CHECK(store_retry(f->store, id, e));
    CHECK(store_get(f->store, id, &j, e));
    assert_null(j.error_code);
    assert_null(j.error_message);
    assert_int_equal(j.completed_ms, 0);
    job_release(&j);
}

static void lists_filter_count_and_page(void **state)
{
    struct store_fixture *f = *state;
    char ids[5][ID_SIZE];
    const char *names[] = {"100%.wav", "a_b.wav", "axb.wav", "C:\\x.wav",
                           "Interview.mp3"};
    for (int i = 0; i < 5; i++)
        test_store_add(f->store, i + 1, names[i], ids[i]);
    CHECK(store_complete(f->store, ids[0], claim(f->store, ids[0]), 9, &result, e));

    struct job_list l;
    struct job_filter all = {.limit = 2, .offset = 1};
    CHECK(store_list(f->store, &all, &l, e));
    assert_int_equal(l.total, 5);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.jobs[0].id, ids[3]); /* newest first */
    assert_null(l.jobs[0].transcript_text);
    job_list_release(&l);

    struct job_filter pending = {.limit = 50, .by_status = true, .status = JOB_PENDING};
    CHECK(store_list(f->store, &pending, &l, e));
    assert_int_equal(l.total, 4);
    job_list_release(&l);

    static const struct {
        const char *search;
        int found;
    } cases[] = {{"%", 0},     {"_", 0},     {"\\", 0},          {"interview", 1},
                 {"wav", 4},   {"hello", 1}, {"hello, wor*", 1}, {"nothing", 0},
                 {"", 5},      {"'", 0},     {"a_b", 1},         {"100%", 1},
                 {"interv", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job_filter search = {.limit = 50, .search = cases[i].search};
        CHECK(store_list(f->store, &search, &l, e));
        if (l.total != cases[i].found || l.count != (size_t)cases[i].found)
            fail_msg("\"%s\" finds %d", cases[i].search, (int)l.total);
        job_list_release(&l);
    }
    struct job_filter wrong = {.limit = -1};
    assert_int_equal(store_list(f->store, &wrong, &l, NULL), ERR_INVALID);
}

static void removing_takes_everything_along(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    test_store_add(f->store, 1, "a.wav", id);
    CHECK(store_complete(f->store, id, claim(f->store, id), 1, &result, e));
    CHECK(store_remove(f->store, id, e));
    struct job_list l;
    struct job_filter search = {.limit = 50, .search = "Hello"};
    CHECK(store_list(f->store, &search, &l, e));
    assert_int_equal(l.total, 0);
    job_list_release(&l);
    struct buf json;
    buf_init(&json, 1000);
    assert_int_equal(store_transcript(f->store, id, &json, NULL), ERR_NOT_FOUND);
}

static void the_retention_sees_what_is_old(void **state)
{
    struct store_fixture *f = *state;
    char old[ID_SIZE], young[ID_SIZE], waiting[ID_SIZE], ids[4][ID_SIZE];
    test_store_add(f->store, 1, "old", old);
    test_store_add(f->store, 2, "young", young);
    test_store_add(f->store, 3, "waiting", waiting);
    CHECK(store_complete(f->store, old, claim(f->store, old), 1100, &result, e));
    CHECK(store_complete(f->store, young, claim(f->store, young), 1900, &result, e));
    size_t count;
    CHECK(store_aged(f->store, STORE_AGED_AUDIO, 1500, ids, 4, &count, e));
    assert_int_equal(count, 1);
    assert_string_equal(ids[0], old);
    CHECK(store_drop_audio(f->store, old, e));
    CHECK(store_aged(f->store, STORE_AGED_AUDIO, 1500, ids, 4, &count, e));
    assert_int_equal(count, 0);
    CHECK(store_aged(f->store, STORE_AGED_JOBS, 1500, ids, 4, &count, e));
    assert_int_equal(count, 1);
    CHECK(store_aged(f->store, STORE_AGED_JOBS, 5000, ids, 1, &count, e));
    assert_int_equal(count, 1); /* no more than there is room for */
    struct job j;
    CHECK(store_get(f->store, old, &j, e));
    assert_false(j.audio_present);
    job_release(&j);
}

static void without_its_recording_a_job_is_not_retried(void **state)
{
    struct store_fixture *f = *state;
    char id[ID_SIZE];
    test_store_add(f->store, 1, "a", id);
    CHECK(store_cancel(f->store, id, 1, e));
    CHECK(store_drop_audio(f->store, id, e));
    struct err why;
    assert_int_equal(store_retry(f->store, id, &why), ERR_STATE);
    assert_non_null(strstr(why.message, "recording"));
}

/* Insert a job of a key, or find the one that has it. */
static void share(struct store *s, const char *key, int64_t created_ms, char id[ID_SIZE],
                  bool *found)
{
    static char text[] = "x", empty[] = "{}";
    char existing[ID_SIZE];
    struct job j = {.original_filename = text,
                    .filename = text,
                    .model = text,
                    .language_asked = text,
                    .task = text,
                    .options = empty,
                    .created_ms = created_ms};
    id_new(j.id);
    CHECK(store_insert_shared(s, &j, "00", key, created_ms - 1000, existing, e));
    *found = existing[0];
    memcpy(id, *found ? existing : j.id, ID_SIZE);
}

static void who_asks_for_the_same_shares_a_job(void **state)
{
    struct store_fixture *f = *state;
    char first[ID_SIZE], other[ID_SIZE], again[ID_SIZE];
    bool found;
    share(f->store, "a", 5000, first, &found);
    assert_false(found);
    share(f->store, "b", 5001, other, &found);
    assert_false(found);
    share(f->store, "a", 5002, again, &found);
    assert_true(found);
    assert_string_equal(again, first);
    CHECK(store_complete(f->store, first, claim(f->store, first), 5500, &result, e));
    share(f->store, "a", 6000, again, &found);
    assert_true(found); /* it has a transcript, and is not too old */
    share(f->store, "a", 6001, again, &found);
    assert_false(found);
    assert_string_not_equal(again, first);
    share(f->store, "a", 6002, other, &found);
    assert_true(found); /* the key is the new one's */
    assert_string_equal(other, again);
    CHECK(store_remove(f->store, again, e));
    share(f->store, "a", 6003, other, &found);
    assert_false(found);
}

static void a_job_that_failed_is_not_shared(void **state)
{
    struct store_fixture *f = *state;
    char first[ID_SIZE], second[ID_SIZE], third[ID_SIZE];
    bool found;
    share(f->store, "a", 5000, first, &found);
    CHECK(store_fail(f->store, first, claim(f->store, first), 5500, "x", "y", e));
    share(f->store, "a", 5001, second, &found);
    assert_false(found);
    CHECK(store_cancel(f->store, second, 5600, e));
    share(f->store, "a", 5002, third, &found);
    assert_false(found);
}

static void windows_are_read_from_a_place_on(void **state)
{
    struct store_fixture *f = *state;
    static const char *const texts[] = {"one", "two", "three"};
    char id[ID_SIZE];
    struct store_windows w;
    test_store_add(f->store, 1, "a", id);
    int attempt = claim(f->store, id);
    struct store_checkpoint c = {
        .next_frame = 9, .windows = texts, .n_windows = 3, .message = "m"};
    CHECK(store_checkpoint(f->store, id, attempt, &c, e));
    CHECK(store_windows(f->store, id, 1, &w, e));
    assert_int_equal(w.count, 2);
    assert_string_equal(w.list[0], "two");
    assert_string_equal(w.list[1], "three");
    store_windows_release(&w);
    CHECK(store_windows(f->store, id, 3, &w, e));
    assert_int_equal(w.count, 0);
    store_windows_release(&w);
    CHECK(store_windows(f->store, "nothing", 0, &w, e));
    assert_int_equal(w.count, 0);
    store_windows_release(&w);
}

static void a_waveform_goes_with_its_job(void **state)
{
    static const unsigned char peaks[] = {0, 255, 0, 7}, others[] = {1, 0};
    struct store_fixture *f = *state;
    struct err why = {0};
    struct buf b;
    char id[ID_SIZE];
    buf_init(&b, 100);
    test_store_add(f->store, 1, "a.wav", id);
    assert_int_equal(store_waveform_load(f->store, id, &b, &why), ERR_NOT_FOUND);
    assert_int_equal(store_waveform_save(f->store, id, 0, peaks, 4, &why), ERR_STATE);
    int attempt = claim(f->store, id);
    assert_int_equal(store_waveform_save(f->store, id, attempt + 1, peaks, 4, &why),
                     ERR_STATE);
    CHECK(store_waveform_save(f->store, id, attempt, others, 2, e));
    CHECK(store_waveform_save(f->store, id, attempt, peaks, 4, e));
    reopen(f);
    CHECK(store_waveform_load(f->store, id, &b, e));
    assert_int_equal(b.length, 4);
    assert_memory_equal(b.data, peaks, 4);
    CHECK(store_remove(f->store, id, e));
    buf_reset(&b);
    assert_int_equal(store_waveform_load(f->store, id, &b, &why), ERR_NOT_FOUND);
    assert_int_equal(b.length, 0);
    buf_release(&b);
}

static void the_probe_changes_nothing(void **state)
{
    struct store_fixture *f = *state;
    for (int i = 0; i < 3; i++)
        CHECK(store_probe(f->store, e));
    char id[ID_SIZE];
    test_store_add(f->store, 1, "a", id); /* and leaves no transaction open */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_set_up, test_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_job_comes_back_as_it_went_in),
        TEST(an_unknown_id_is_not_found),
        TEST(the_same_id_is_refused),
        TEST(jobs_are_claimed_in_order_once),
        TEST(a_job_that_is_put_off_waits),
        TEST(jobs_are_claimed_as_wished),
        TEST(a_finished_job_holds_its_transcript),
        TEST(checkpoints_add_up),
        TEST(a_lost_attempt_cannot_write),
        TEST(a_cancelled_job_takes_no_writes),
        TEST(three_crashes_at_one_place_are_a_failure),
        TEST(a_job_that_gets_further_is_no_poison),
        TEST(the_times_of_a_job_do_not_go_back),
        TEST(a_failure_keeps_its_reason_until_retried),
        TEST(lists_filter_count_and_page),
        TEST(removing_takes_everything_along),
        TEST(the_retention_sees_what_is_old),
        TEST(without_its_recording_a_job_is_not_retried),
        TEST(who_asks_for_the_same_shares_a_job),
        TEST(a_job_that_failed_is_not_shared),
        TEST(windows_are_read_from_a_place_on),
        TEST(a_waveform_goes_with_its_job),
        TEST(the_probe_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
