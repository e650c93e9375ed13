/* The whole job service over workers that do as they are told: every way a job can end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "fake_worker.h"
#include "job/jobs.h"
#include "job/resumable.h"
#include "job/state.h"
#include "job/worker.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_EVENTS  4096
#define PATIENCE_MS 60000

struct fixture {
    char folder[PATH_MAX - 64];
    char database[PATH_MAX], storage[PATH_MAX], models[PATH_MAX], model[PATH_MAX];
    struct config config;
    struct jobs *jobs;
    int subscription;
    /* Every event, from the service's thread. */
    pthread_mutex_t lock;
    pthread_cond_t news;
    struct job_event events[MAX_EVENTS];
    size_t n_events;
};

static void on_event(void *arg, const struct job_event *event)
{
    struct fixture *f = arg;
    pthread_mutex_lock(&f->lock);
    if (f->n_events < MAX_EVENTS)
        f->events[f->n_events++] = *event;
    pthread_cond_broadcast(&f->news);
    pthread_mutex_unlock(&f->lock);
}

static void start(struct fixture *f)
{
    struct err e = {0};
    if (jobs_open(&f->jobs, &f->config, &e))
        fail_msg("jobs_open: %s", e.message);
    f->subscription = jobs_subscribe(f->jobs, NULL, on_event, f);
    assert_true(f->subscription > 0);
}

static void stop(struct fixture *f)
{
    jobs_close(f->jobs);
    f->jobs = NULL;
}

static int set_up(void **state)
{
    static char host[] = "127.0.0.1", language[] = "auto", compute_type[] = "auto",
                formats[] = "", tiny[] = "tiny";
    struct fixture *f = calloc(1, sizeof *f);
    const char *base = getenv("TMPDIR");
    (void)snprintf(f->folder, sizeof f->folder, "%s/jobs-test-XXXXXX",
                   base ? base : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    (void)snprintf(f->database, sizeof f->database, "sqlite:///%s/data/app.db",
                   f->folder);
    (void)snprintf(f->storage, sizeof f->storage, "%s/storage", f->folder);
    (void)snprintf(f->models, sizeof f->models, "%s/models", f->folder);
    (void)snprintf(f->model, sizeof f->model, "%s/models/ggml-tiny.bin", f->folder);
    assert_int_equal(fs_mkdirs(f->models, NULL), 0);
    assert_int_equal(fs_write_atomic(f->model, "model", 5, NULL), 0);
    f->config = (struct config){.host = host,
                                .database_url = f->database,
                                .compute_type = compute_type,
                                .model_dir = f->models,
                                .default_model = tiny,
                                .language = language,
                                .worker_concurrency = 2,
                                .embedded_workers = true,
                                .worker_threads = 1,
                                .time_limit_seconds = 3600,
                                .max_file_size_mb = 1,
                                .max_audio_seconds = 36000,
                                .allowed_formats = formats,
                                .storage_dir = f->storage};
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->news, NULL);
    start(f);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    stop(f);
    (void)nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

/* ---- what the tests say ---- */

static int try_submit(struct fixture *f, const char *bytes,
                      const struct job_request *request, char id[ID_SIZE], struct err *e)
{
    struct upload *u;
    struct job j;
    int status = upload_begin(f->jobs, &u, e);
    if (status)
        return status;
    /* A control character, so that it does not look like the text that it is. */
    if (*bytes && ((status = upload_write(u, "\1", 1, e)) ||
                   (status = upload_write(u, bytes, strlen(bytes), e)))) {
        upload_abort(u);
        return status;
    }
    status = jobs_submit(f->jobs, u, request, &j, e);
    if (!status) {
        assert_int_equal(j.status, JOB_PENDING);
        memcpy(id, j.id, ID_SIZE);
        job_release(&j);
    }
    return status;
}

static void submit(struct fixture *f, const char *order, char id[ID_SIZE])
{
    struct err e = {0};
    struct job_request request = {.original_filename = "a.wav"};
    if (try_submit(f, order, &request, id, &e))
        fail_msg("%s: %s", order, e.message);
}

static struct job get(struct fixture *f, const char *id)
{
    struct job j;
    struct err e = {0};
    if (jobs_get(f->jobs, id, &j, &e))
        fail_msg("%s", e.message);
    return j;
}

static size_t events_of(struct fixture *f, const char *id, enum job_status status)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_events; i++)
        n += f->events[i].status == status && !strcmp(f->events[i].job_id, id);
    return n;
}

/* Until an event says that the job is in this state. Not a timed assertion: the time is
 * what a test may hang, not what anything may take. */
static void await(struct fixture *f, const char *id, enum job_status status)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    int late = 0;
    pthread_mutex_lock(&f->lock);
    while (!events_of(f, id, status) && !late)
        late = pthread_cond_timedwait(&f->news, &f->lock, &until);
    pthread_mutex_unlock(&f->lock);
    if (late)
        fail_msg("the job never became %s", job_status_name(status));
}

/* Until it has made some progress. */
static void await_progress(struct fixture *f, const char *id, int progress)
{
    bool there = false;
    int64_t until = clock_wall_ms() + PATIENCE_MS;
    while (!there && clock_wall_ms() < until) {
        struct job j = get(f, id);
        there = j.progress >= progress;
        job_release(&j);
        struct timespec pause = {.tv_nsec = 2000000};
        nanosleep(&pause, NULL);
    }
    assert_true(there);
}

static void assert_text(struct fixture *f, const char *id, const char *text)
{
    struct job j = get(f, id);
    if (j.status != JOB_COMPLETED)
        fail_msg("the job is %s: %s", job_status_name(j.status), j.error_message);
    assert_string_equal(j.transcript_text, text);
    assert_int_equal(j.progress, 100);
    assert_string_equal(j.language, "en");
    job_release(&j);
}

static void assert_failed(struct fixture *f, const char *id, const char *code,
                          const char *part)
{
    await(f, id, JOB_FAILED);
    struct job j = get(f, id);
    assert_int_equal(j.status, JOB_FAILED);
    assert_string_equal(j.error_code, code);
    if (!strstr(j.error_message, part))
        fail_msg("\"%s\" does not say \"%s\"", j.error_message, part);
    job_release(&j);
}

static bool has_recording(struct fixture *f, const char *id)
{
    char path[PATH_MAX * 2];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/uploads/%s", f->storage, id);
    return !stat(path, &st);
}

/* ---- the tests ---- */

static void a_job_runs_to_its_transcript(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    submit(f, "windows 4", id);
    await(f, id, JOB_COMPLETED);
    assert_text(f, id, "w0 w1 w2 w3");

    struct transcript t;
    struct err e = {0};
    assert_int_equal(jobs_transcript(f->jobs, id, &t, &e), 0);
    assert_int_equal(t.n_segments, 4);
    assert_int_equal(t.segments[3].id, 3);
    assert_true(t.segments[3].start == 90);
    assert_int_equal(t.segments[3].tokens[0], 3);
    assert_true(t.segments[3].avg_logprob == -1.0f / 3);
    assert_string_equal(t.language, "en");
    assert_string_equal(t.language_name, "english");
    assert_string_equal(t.model, "tiny");
    assert_string_equal(t.task, "transcribe");
    assert_true(t.language_probability == 0.5);
    assert_true(t.duration == 120);
    transcript_release(&t);

    /* pending, processing at rising progress, completed once, and nothing after it. */
    int progress = 0;
    enum job_status last = JOB_PENDING;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n_events; i++) {
        assert_true(f->events[i].progress >= progress);
        assert_true(f->events[i].status >= last);
        progress = f->events[i].progress;
        last = f->events[i].status;
    }
    assert_int_equal(events_of(f, id, JOB_PENDING), 1);
    assert_int_equal(events_of(f, id, JOB_COMPLETED), 1);
    assert_true(events_of(f, id, JOB_PROCESSING) >= 2);
    assert_int_equal(f->events[f->n_events - 1].status, JOB_COMPLETED);
    pthread_mutex_unlock(&f->lock);
}

static void many_jobs_share_the_workers(void **state)
{
    struct fixture *f = *state;
    char ids[12][ID_SIZE];
    for (int i = 0; i < 12; i++)
        submit(f, "windows 3", ids[i]);
    for (int i = 0; i < 12; i++) {
        await(f, ids[i], JOB_COMPLETED);
        assert_text(f, ids[i], "w0 w1 w2");
        struct job j = get(f, ids[i]);
        assert_int_equal(j.attempt, 1);
        job_release(&j);
    }
}

static void a_crash_goes_on_from_the_last_window(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    submit(f, "stumble 3", id);
    await(f, id, JOB_COMPLETED);
    assert_text(f, id, "w0 w1 w2"); /* each window once */
    struct job j = get(f, id);
    assert_int_equal(j.attempt, 3);
    job_release(&j);
}

static void three_crashes_fail_one_job_and_no_other(void **state)
{
    struct fixture *f = *state;
    char twice[ID_SIZE], always[ID_SIZE], good[ID_SIZE];
    submit(f, "crash 2", twice);
    submit(f, "crash 100", always);
    submit(f, "windows 1", good);
    await(f, good, JOB_COMPLETED);
    assert_failed(f, always, "crashed", "died 3 times");
    await(f, twice, JOB_COMPLETED);
    assert_text(f, twice, "w0 w1");
    struct job j = get(f, always);
    /* Once more when the worker that it was sent to beside another was dead already. */
    assert_in_range(j.attempt, 3, 4);
    job_release(&j);
}

static void who_is_killed_from_outside_is_not_to_blame(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    submit(f, "killed 4", id);
    await(f, id, JOB_COMPLETED);
    assert_text(f, id, "w0 w1");
}

static void a_worker_that_lies_is_not_believed(void **state)
{
    struct fixture *f = *state;
    static const char *const orders[] = {"garbage", "foreign", "backwards", "quit"};
    char ids[4][ID_SIZE], good[ID_SIZE];
    for (int i = 0; i < 4; i++)
        submit(f, orders[i], ids[i]);
    submit(f, "windows 2", good);
    for (int i = 0; i < 4; i++)
        assert_failed(f, ids[i], "crashed", "died");
    await(f, good, JOB_COMPLETED);
    assert_text(f, good, "w0 w1");
}

static void a_failure_says_why_and_can_be_retried(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    submit(f, "fail", id);
    assert_failed(f, id, "not_media", "this is not audio");
    struct transcript t;
    assert_int_equal(jobs_transcript(f->jobs, id, &t, NULL), ERR_STATE);
    pthread_mutex_lock(&f->lock);
    f->n_events = 0;
    pthread_mutex_unlock(&f->lock);
    struct job j;
    assert_int_equal(jobs_retry(f->jobs, id, &j, NULL), 0);
    assert_int_equal(j.status, JOB_PENDING);
    job_release(&j);
    assert_failed(f, id, "not_media", "this is not audio");
    j = get(f, id);
    assert_int_equal(j.attempt, 2);
    job_release(&j);
}

static void a_job_that_takes_too_long_is_ended(void **state)
{
    struct fixture *f = *state;
    char slow[ID_SIZE], good[ID_SIZE];
    stop(f);
    f->config.time_limit_seconds = 1;
    start(f);
    submit(f, "hang", slow);
    assert_failed(f, slow, "timeout", "longer than 1 seconds");
    submit(f, "windows 1", good);
    await(f, good, JOB_COMPLETED);
}

static void a_running_job_is_cancelled(void **state)
{
    struct fixture *f = *state;
    char polite[ID_SIZE], deaf[ID_SIZE], good[2][ID_SIZE];
    submit(f, "slow 100000", polite);
    submit(f, "hang", deaf);
    await_progress(f, polite, 1);
    await_progress(f, deaf, 1);
    struct job j;
    assert_int_equal(jobs_cancel(f->jobs, polite, &j, NULL), 0);
    assert_int_equal(j.status, JOB_CANCELLED);
    job_release(&j);
    assert_int_equal(jobs_cancel(f->jobs, deaf, &j, NULL), 0);
    job_release(&j);
    /* Both workers are free again: the one that listened, and a new one. */
    submit(f, "windows 1", good[0]);
    submit(f, "windows 1", good[1]);
    await(f, good[0], JOB_COMPLETED);
    await(f, good[1], JOB_COMPLETED);
    j = get(f, polite);
    assert_int_equal(j.status, JOB_CANCELLED);
    job_release(&j);
    struct err e;
    assert_int_equal(jobs_cancel(f->jobs, polite, &j, &e), ERR_STATE);
    assert_int_equal(jobs_cancel(f->jobs, good[0], &j, &e), ERR_STATE);
    assert_non_null(strstr(e.message, "completed"));
    pthread_mutex_lock(&f->lock);
    assert_int_equal(events_of(f, polite, JOB_CANCELLED), 1);
    pthread_mutex_unlock(&f->lock);
}

static void a_running_job_is_deleted_with_all_it_has(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE], good[ID_SIZE];
    submit(f, "slow 100000", id);
    await_progress(f, id, 1);
    assert_true(has_recording(f, id));
    struct job j;
    assert_int_equal(jobs_delete(f->jobs, id, NULL), 0);
    assert_int_equal(jobs_get(f->jobs, id, &j, NULL), ERR_NOT_FOUND);
    assert_false(has_recording(f, id));
    assert_int_equal(jobs_delete(f->jobs, id, NULL), ERR_NOT_FOUND);
    await(f, id, JOB_CANCELLED); /* those who listen hear of its end */
    submit(f, "windows 1", good);
    await(f, good, JOB_COMPLETED);
}

static void a_restart_goes_on_with_everything(void **state)
{
    struct fixture *f = *state;
    char running[2][ID_SIZE], waiting[ID_SIZE];
    submit(f, "slow 60", running[0]);
    submit(f, "slow 60", running[1]);
    submit(f, "windows 2", waiting);
    for (int restart = 1; restart <= 2; restart++) {
        await_progress(f, running[0], restart * 20);
        await_progress(f, running[1], restart * 20);
        stop(f);
        start(f);
    }
    await(f, running[0], JOB_COMPLETED);
    await(f, running[1], JOB_COMPLETED);
    await(f, waiting, JOB_COMPLETED);
    assert_text(f, waiting, "w0 w1");
    struct job one = get(f, running[0]), two = get(f, running[1]);
    assert_string_equal(one.transcript_text, two.transcript_text);
    assert_int_equal(one.attempt, 3);
    char *rest = one.transcript_text;
    for (int w = 0; w < 60; w++) { /* every window once, in order */
        char *word = strsep(&rest, " ");
        char expected[16];
        (void)snprintf(expected, sizeof expected, "w%d", w);
        assert_string_equal(word, expected);
    }
    assert_null(rest);
    /* and the report is that of a job which nothing disturbed */
    assert_non_null(one.quality);
    assert_string_equal(one.quality, two.quality);
    submit(f, "windows 60", waiting);
    await(f, waiting, JOB_COMPLETED);
    job_release(&two);
    two = get(f, waiting);
    assert_string_equal(one.quality, two.quality);
    assert_non_null(strstr(one.quality, "\"audio_seconds\": 1800.0"));
    assert_non_null(strstr(one.quality, "\"language\": \"en\""));
    assert_non_null(
        strstr(one.quality, "\"no_text\": [{\"start\": 0.0, \"end\": 1.0}, "));
    assert_non_null(strstr(one.quality, "{\"start\": 1770.0, \"end\": 1771.0}], "
                                        "\"low_confidence\": [{\"start\": 5.0"));
    job_release(&one);
    job_release(&two);
}

/* The disk of the database fills up while a job runs, and is emptied again. */
static void a_full_disk_delays_a_job_and_loses_nothing(void **state)
{
    struct fixture *f = *state;
    char data[PATH_MAX], ballast[PATH_MAX * 2], id[ID_SIZE], refused[ID_SIZE];
    char block[65536] = {0};
    stop(f);
    (void)snprintf(data, sizeof data, "%s/data", f->folder);
    if (mount("tmpfs", data, "tmpfs", 0, "size=8m")) {
        print_message("skipped: a small file system cannot be mounted here\n");
        start(f);
        skip();
    }
    start(f);
    submit(f, "slow 40", id);
    await_progress(f, id, 10);
    (void)snprintf(ballast, sizeof ballast, "%s/ballast", data);
    int fd = open(ballast, O_CREAT | O_WRONLY, 0600);
    while (write(fd, block, sizeof block) > 0 || write(fd, block, 512) > 0)
        ;
    close(fd);
    struct err e = {0};
    struct job_request request = {.original_filename = "b.wav"};
    int status = 0;
    while (!status) /* until what room the log had is used up */
        status = try_submit(f, "windows 1", &request, refused, &e);
    assert_int_equal(status, ERR_FULL);
    assert_int_equal(jobs_ready(f->jobs, &e), ERR_FULL);
    assert_true(!strncmp(e.message, "database: ", 10));
    struct timespec meanwhile = {.tv_sec = 1}; /* the worker gets to its end */
    nanosleep(&meanwhile, NULL);
    struct job j = get(f, id);
    assert_int_equal(j.status, JOB_PROCESSING);
    job_release(&j);
    assert_int_equal(unlink(ballast), 0);
    await(f, id, JOB_COMPLETED);
    j = get(f, id);
    assert_non_null(strstr(j.transcript_text, "w0 w1 w2"));
    assert_non_null(strstr(j.transcript_text, "w38 w39"));
    assert_int_equal(j.attempt, 1);
    job_release(&j);
    stop(f);
    assert_int_equal(umount(data), 0);
    start(f);
}

static void a_leftover_upload_is_swept_at_the_start(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE], orphan[ID_SIZE], path[PATH_MAX * 2];
    submit(f, "windows 1", id);
    await(f, id, JOB_COMPLETED);
    stop(f);
    (void)snprintf(path, sizeof path, "%s/uploads/%s", f->storage, id_new(orphan));
    assert_int_equal(fs_write_atomic(path, "x", 1, NULL), 0);
    start(f);
    assert_false(has_recording(f, orphan));
    assert_true(has_recording(f, id));
}

/* Make a job look as if it had ended so many days ago. */
static void age(struct fixture *f, const char *id, int days)
{
    sqlite3 *db;
    char sql[200];
    (void)snprintf(
        sql, sizeof sql,
        "UPDATE jobs SET completed_ms = completed_ms - %d * 86400000 WHERE id = "
        "'%s'",
        days, id);
    assert_int_equal(sqlite3_open(f->database + strlen("sqlite:///"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void the_retention_removes_what_is_old(void **state)
{
    struct fixture *f = *state;
    char fresh[ID_SIZE], old[ID_SIZE], ancient[ID_SIZE];
    submit(f, "windows 1", fresh);
    submit(f, "windows 1", old);
    submit(f, "windows 1", ancient);
    await(f, fresh, JOB_COMPLETED);
    await(f, old, JOB_COMPLETED);
    await(f, ancient, JOB_COMPLETED);
    stop(f);
    age(f, old, 8);
    age(f, ancient, 31);
    start(f); /* 0 days: for ever */
    char marker[ID_SIZE];
    submit(f, "windows 1", marker);
    await(f, marker, JOB_COMPLETED); /* the loop has come round */
    assert_true(has_recording(f, old));
    stop(f);
    f->config.upload_retention_days = 7;
    f->config.transcript_retention_days = 30;
    start(f);
    submit(f, "windows 1", marker);
    await(f, marker, JOB_COMPLETED);
    assert_true(has_recording(f, fresh));
    assert_false(has_recording(f, old));
    assert_false(has_recording(f, ancient));
    assert_text(f, fresh, "w0");
    assert_text(f, old, "w0"); /* its transcript stays */
    struct job j;
    assert_int_equal(jobs_get(f->jobs, ancient, &j, NULL), ERR_NOT_FOUND);
    j = get(f, old);
    assert_false(j.audio_present);
    job_release(&j);
}

static void a_long_reason_is_cut_at_a_character(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    submit(f, "umlauts", id);
    await(f, id, JOB_FAILED);
    pthread_mutex_lock(&f->lock);
    const char *message = f->events[f->n_events - 1].message;
    size_t length = strlen(message);
    assert_true(length >= 150);
    assert_int_equal(length % 2, 1); /* one letter, then pairs of bytes */
    pthread_mutex_unlock(&f->lock);
}

static void a_recording_that_vanished_fails_its_job(void **state)
{
    struct fixture *f = *state;
    char busy[2][ID_SIZE], id[ID_SIZE], path[PATH_MAX * 2];
    submit(f, "slow 100000", busy[0]);
    submit(f, "slow 100000", busy[1]);
    await_progress(f, busy[0], 1);
    await_progress(f, busy[1], 1);
    submit(f, "windows 1", id);
    (void)snprintf(path, sizeof path, "%s/uploads/%s", f->storage, id);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(jobs_delete(f->jobs, busy[0], NULL), 0);
    assert_failed(f, id, "not_found", "missing in the storage");
}

static void bad_requests_are_refused_and_leave_nothing(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *bytes;
        struct job_request request;
        int code;
        const char *part;
    } cases[] = {
        {"", {.original_filename = "a"}, ERR_INVALID, "empty"},
        {"x", {.model = "no-such-model"}, ERR_INVALID, "no-such-model"},
        {"x", {.model = "../../etc/passwd"}, ERR_INVALID, "not the name of a model"},
        {"x", {.model = "base"}, ERR_NOT_FOUND, "models pull base"},
        {"x", {.language = "klingon"}, ERR_INVALID, "klingon"},
        {"x", {.task = "sing"}, ERR_INVALID, "sing"},
        {"x", {.options_json = "{\"promt\":\"a\"}"}, ERR_INVALID, "promt"},
        {"x", {.options_json = "{\"beam_size\":0}"}, ERR_INVALID, "beam_size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char id[ID_SIZE];
        struct err e = {0};
        int status = try_submit(f, cases[i].bytes, &cases[i].request, id, &e);
        if (status != cases[i].code || !strstr(e.message, cases[i].part))
            fail_msg("case %zu gives %d: %s", i, status, e.message);
    }
    char path[PATH_MAX * 2];
    (void)snprintf(path, sizeof path, "%s/uploads", f->storage);
    DIR *dir = opendir(path);
    struct dirent *entry;
    while ((entry = readdir(dir)))
        assert_true(entry->d_name[0] == '.');
    closedir(dir);
    struct job_list l;
    struct job_filter all = {.limit = 10};
    assert_int_equal(jobs_list(f->jobs, &all, &l, NULL), 0);
    assert_int_equal(l.total, 0);
    job_list_release(&l);
}

static void a_file_beyond_the_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct upload *u;
    struct err e;
    char *block = calloc(1, 1 << 20);
    assert_int_equal(upload_begin(f->jobs, &u, &e), 0);
    assert_int_equal(upload_write(u, block, 1 << 20, &e), 0);
    assert_int_equal(upload_write(u, block, 1, &e), ERR_TOO_LARGE);
    assert_non_null(strstr(e.message, "1 MB"));
    upload_abort(u);
    free(block);
}

static void names_and_languages_are_put_in_order(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    struct job_request request = {.original_filename = "a\nb\xFF\x1B[31m.wav",
                                  .language = "German",
                                  .options_json = "{\"prompt\":\"x\"}"};
    assert_int_equal(try_submit(f, "windows 1", &request, id, NULL), 0);
    struct job j = get(f, id);
    assert_string_equal(j.original_filename, "ab\xEF\xBF\xBD[31m.wav");
    assert_string_equal(j.language_asked, "de");
    assert_string_equal(j.options, "{\"prompt\":\"x\"}");
    job_release(&j);
}

/* What was found out a moment ago still counts. */
static int ready_after_a_moment(struct fixture *f, struct err *e)
{
    const struct timespec moment = {.tv_nsec = 300000000};
    nanosleep(&moment, NULL);
    return jobs_ready(f->jobs, e);
}

static void readiness_names_what_is_missing(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    if (jobs_ready(f->jobs, &e))
        fail_msg("%s", e.message);
    assert_int_equal(unlink(f->model), 0);
    assert_true(ready_after_a_moment(f, &e) < 0);
    assert_true(!strncmp(e.message, "model: ", 7));
    assert_int_equal(fs_write_atomic(f->model, "model", 5, NULL), 0);
    char path[PATH_MAX * 2];
    (void)snprintf(path, sizeof path, "%s/scratch", f->storage);
    assert_int_equal(rmdir(path), 0);
    assert_true(ready_after_a_moment(f, &e) < 0);
    assert_true(!strncmp(e.message, "storage: ", 9));
}

/* Send the same once more. */
static void submit_shared(struct fixture *f, const char *order, const char *caller,
                          const char *options, char id[ID_SIZE])
{
    struct upload *u;
    struct job j;
    struct err e = {0};
    struct job_request request = {.caller = caller,
                                  .original_filename = "a.wav",
                                  .options_json = options,
                                  .share = true};
    assert_int_equal(upload_begin(f->jobs, &u, &e), 0);
    assert_int_equal(upload_write(u, "\1", 1, &e), 0);
    assert_int_equal(upload_write(u, order, strlen(order), &e), 0);
    if (jobs_submit(f->jobs, u, &request, &j, &e))
        fail_msg("%s", e.message);
    memcpy(id, j.id, ID_SIZE);
    job_release(&j);
}

static void what_comes_twice_is_one_job(void **state)
{
    struct fixture *f = *state;
    char first[ID_SIZE], again[ID_SIZE], other[ID_SIZE];
    submit_shared(f, "slow 20", "ann", NULL, first);
    submit_shared(f, "slow 20", "ann", NULL, again);
    assert_string_equal(again, first);
    submit_shared(f, "slow 20", "bob", NULL, other);
    assert_string_not_equal(other, first);
    submit_shared(f, "slow 20", "ann", "{\"beam_size\":2}", other);
    assert_string_not_equal(other, first);
    submit_shared(f, "windows 20", "ann", NULL, other);
    assert_string_not_equal(other, first);
    await(f, first, JOB_COMPLETED);
    submit_shared(f, "slow 20", "ann", NULL, again);
    assert_string_equal(again, first);
    struct job_list l;
    struct job_filter all = {.limit = 10};
    assert_int_equal(jobs_list(f->jobs, &all, &l, NULL), 0);
    assert_int_equal(l.total, 4);
    for (size_t i = 0; i < l.count; i++)
        assert_true(has_recording(f, l.jobs[i].id));
    job_list_release(&l);
}

static void a_running_job_is_overheard(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    struct transcript heard;
    struct buf text;
    int64_t position = 0, before = 0;
    transcript_init(&heard);
    buf_init(&text, 4096);
    submit(f, "slow 30", id);
    await_progress(f, id, 20);
    assert_int_equal(jobs_heard(f->jobs, id, &position, &heard, NULL), 0);
    assert_true(position > 0 && heard.n_segments > 0);
    before = position;
    await_progress(f, id, 50);
    assert_int_equal(jobs_heard(f->jobs, id, &position, &heard, NULL), 0);
    assert_true(position > before);
    transcript_untrimmed(&heard, &text);
    await(f, id, JOB_COMPLETED);
    struct job j = get(f, id);
    /* A segment's text begins with a blank, the whole does not. */
    assert_int_equal(strncmp(j.transcript_text, buf_cstr(&text) + 1, text.length - 1), 0);
    job_release(&j);
    buf_release(&text);
    transcript_release(&heard);
}

static void one_job_can_be_listened_to(void **state)
{
    struct fixture *f = *state;
    char first[ID_SIZE], second[ID_SIZE];
    jobs_unsubscribe(f->jobs, f->subscription);
    submit(f, "slow 10", first);
    int handle = jobs_subscribe(f->jobs, first, on_event, f);
    assert_true(handle > 0);
    submit(f, "windows 1", second);
    await(f, first, JOB_COMPLETED);
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n_events; i++)
        assert_string_equal(f->events[i].job_id, first);
    pthread_mutex_unlock(&f->lock);
    jobs_unsubscribe(f->jobs, handle);
    assert_true(jobs_subscribe(f->jobs, "no id", on_event, f) < 0);
    struct job j;
    assert_int_equal(jobs_get(f->jobs, "no id", &j, NULL), ERR_NOT_FOUND);
}

/* A complete upload of two requests, as its row is. */
static struct store_upload upload_in_two(struct fixture *f, char id[ID_SIZE])
{
    char caller[] = "key-a", params[] = "{}", metadata[] = "";
    const char bytes[] = "\1two halves";
    struct store_upload u = {
        .caller = caller, .params = params, .metadata = metadata, .length = 11};
    struct resumable *r, *other;
    struct err e;
    if (resumable_create(f->jobs, &u, &e))
        fail_msg("%s", e.message);
    memcpy(id, u.id, ID_SIZE);
    assert_int_equal(resumable_open(f->jobs, id, 0, false, &r, NULL), 0);
    /* As another service would: whoever comes last may write, the other is told. */
    assert_int_equal(resumable_open(f->jobs, id, 0, false, &other, NULL), 0);
    assert_int_equal(resumable_write(r, "nonsense", 8, NULL), 0);
    assert_int_equal(resumable_commit(r, NULL), ERR_STATE);
    resumable_close(r);
    r = other;
    assert_int_equal(resumable_write(r, bytes, 4, NULL), 0);
    assert_int_equal(resumable_commit(r, NULL), 0);
    assert_int_equal(resumable_write(r, "lost", 4, NULL), 0); /* never committed */
    resumable_close(r);
    assert_int_equal(resumable_open(f->jobs, id, 8, false, &r, NULL), ERR_EXISTS);
    assert_int_equal(resumable_open(f->jobs, id, 4, false, &r, NULL), 0);
    assert_int_equal(resumable_write(r, bytes + 4, 8, NULL), ERR_TOO_LARGE);
    assert_int_equal(resumable_write(r, bytes + 4, 7, NULL), 0);
    assert_int_equal(resumable_commit(r, NULL), 0);
    resumable_close(r);
    assert_int_equal(resumable_open(f->jobs, id, 11, false, &r, NULL), ERR_EXISTS);
    assert_int_equal(resumable_get(f->jobs, "key-b", id, &u, NULL), ERR_NOT_FOUND);
    assert_int_equal(resumable_get(f->jobs, "key-a", id, &u, NULL), 0);
    assert_int_equal(u.received, 11);
    return u;
}

static void an_upload_in_parts_is_its_creators_and_one_job(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    struct job j;
    struct job_request request = {.caller = "key-a", .original_filename = "a.wav"};
    struct store_upload u = upload_in_two(f, id);
    for (int i = 0; i < 3; i++) {
        struct err e;
        if (resumable_finish(f->jobs, &u, &request, &j, &e))
            fail_msg("%s", e.message);
        assert_string_equal(j.id, id);
        assert_string_equal(j.caller, "key-a");
        assert_int_equal(j.file_bytes, 11);
        job_release(&j);
    }
    store_upload_release(&u);
    struct job_list list;
    struct job_filter all = {.limit = 10};
    assert_int_equal(jobs_list(f->jobs, &all, &list, NULL), 0);
    assert_int_equal(list.total, 1);
    job_list_release(&list);
}

static void find_part(struct fixture *f, const char *id, char *out, size_t size)
{
    char pattern[PATH_MAX + 64];
    glob_t found;
    (void)snprintf(pattern, sizeof pattern, "%s/parts/%s.*", f->storage, id);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    *out = '\0';
    for (size_t i = 0; i < found.gl_pathc; i++) { /* one is of the overtaken writer */
        struct stat st;
        assert_int_equal(stat(found.gl_pathv[i], &st), 0);
        if (st.st_size == 11)
            (void)snprintf(out, size, "%s", found.gl_pathv[i]);
    }
    assert_true(*out);
    globfree(&found);
}

/* The service died when the part had its last name, and no job was written. */
static void an_upload_survives_between_file_and_row(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE], part[PATH_MAX + 64], whole[PATH_MAX + 64], ids[2][ID_SIZE];
    size_t count;
    struct job j;
    struct job_request request = {.caller = "key-a"};
    struct store_upload u = upload_in_two(f, id);
    stop(f);
    find_part(f, id, part, sizeof part);
    (void)snprintf(whole, sizeof whole, "%s/uploads/%s", f->storage, id);
    assert_int_equal(rename(part, whole), 0);
    start(f); /* and sweeps */
    assert_int_equal(resumable_unfinished(f->jobs, ids, 2, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(ids[0], id);
    assert_int_equal(resumable_finish(f->jobs, &u, &request, &j, NULL), 0);
    assert_int_equal(j.file_bytes, 11);
    job_release(&j);
    store_upload_release(&u);
    assert_int_equal(resumable_unfinished(f->jobs, ids, 2, &count, NULL), 0);
    assert_int_equal(count, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "worker"))
        return fake_worker(WORKER_SOCKET_FD);
    struct log_options quiet = {.level = LOG_ERROR, .role = "test"};
    (void)log_open(&quiet, NULL);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_job_runs_to_its_transcript),
        TEST(many_jobs_share_the_workers),
        TEST(a_crash_goes_on_from_the_last_window),
        TEST(three_crashes_fail_one_job_and_no_other),
        TEST(who_is_killed_from_outside_is_not_to_blame),
        TEST(a_worker_that_lies_is_not_believed),
        TEST(a_failure_says_why_and_can_be_retried),
        TEST(a_job_that_takes_too_long_is_ended),
        TEST(a_running_job_is_cancelled),
        TEST(a_running_job_is_deleted_with_all_it_has),
        TEST(a_restart_goes_on_with_everything),
        TEST(a_full_disk_delays_a_job_and_loses_nothing),
        TEST(a_leftover_upload_is_swept_at_the_start),
        TEST(the_retention_removes_what_is_old),
        TEST(a_long_reason_is_cut_at_a_character),
        TEST(a_recording_that_vanished_fails_its_job),
        TEST(bad_requests_are_refused_and_leave_nothing),
        TEST(a_file_beyond_the_limit_is_refused),
        TEST(names_and_languages_are_put_in_order),
        TEST(readiness_names_what_is_missing),
        TEST(what_comes_twice_is_one_job),
        TEST(a_running_job_is_overheard),
        TEST(one_job_can_be_listened_to),
        TEST(an_upload_in_parts_is_its_creators_and_one_job),
        TEST(an_upload_survives_between_file_and_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
