/* The storage folder: whole files or none, and nothing left lying about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "base/fs.h"
#include "store/blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOUR_MS 3600000

struct fixture {
    char folder[PATH_MAX];
    struct blob_store *blobs;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    test_folder_make(f->folder);
    CHECK(blob_store_open(&f->blobs, f->folder, 0, e));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    blob_store_close(f->blobs);
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

static void path_of(struct fixture *f, const char *name, char *out, size_t size)
{
    (void)snprintf(out, size, "%s/uploads/%s", f->folder, name);
}

/* As if it had been written two hours ago. */
static void age(struct fixture *f, const char *name)
{
    char path[PATH_MAX * 2];
    struct timespec times[2];
    path_of(f, name, path, sizeof path);
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &times[0]), 0);
    times[0].tv_sec -= 7200;
    times[1] = times[0];
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool exists(struct fixture *f, const char *name)
{
    char path[PATH_MAX * 2];
    struct stat st;
    path_of(f, name, path, sizeof path);
    return !stat(path, &st);
}

static void write_file(struct fixture *f, const char *name)
{
    char path[PATH_MAX * 2];
    (void)snprintf(path, sizeof path, "%s/uploads/%s", f->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

static void put(struct fixture *f, const char *id, const char *text)
{
    struct blob_writer *w;
    struct blob_info info;
    CHECK(blob_begin(f->blobs, id, &w, e));
    CHECK(blob_write(w, text, strlen(text), e));
    CHECK(blob_finish(w, &info, e));
}

static void a_blob_is_hashed_and_appears_when_whole(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE], part[64], bytes[8] = {0};
    struct blob_writer *w;
    struct blob_info info;
    (void)snprintf(part, sizeof part, "%s.part", id_new(id));
    CHECK(blob_begin(f->blobs, id, &w, e));
    CHECK(blob_write(w, "ab", 2, e));
    assert_true(exists(f, part));
    assert_false(exists(f, id));
    CHECK(blob_write(w, "c", 1, e));
    CHECK(blob_finish(w, &info, e));
    assert_false(exists(f, part));
    assert_true(exists(f, id));
    assert_int_equal(info.bytes, 3);
    /* FIPS 180-2, appendix B.1 */
    assert_string_equal(
        info.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    int fd = blob_open(f->blobs, id, NULL);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, bytes, sizeof bytes), 3);
    assert_memory_equal(bytes, "abc", 3);
    close(fd);
}

/* Bytes that no two places have in common. */
static unsigned char *noise(size_t length)
{
    unsigned char *bytes = malloc(length);
    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)((i * 2654435761u) >> 13);
    return bytes;
}

/* Small pieces and those that are hashed while they are written, in turn. */
static void pieces_of_all_sizes_are_one_recording(void **state)
{
    static const size_t pieces[] = {1,      300000, 32767, 32768, 5,
                                    262144, 65536,  100,   262144};
    struct fixture *f = *state;
    char id[ID_SIZE];
    struct blob_writer *w;
    struct blob_info info, again;
    size_t length = 0, at = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        length += pieces[i];
    unsigned char *bytes = noise(length), *back = malloc(length);
    assert_non_null(back);
    CHECK(blob_begin(f->blobs, id_new(id), &w, e));
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; at += pieces[i++])
        CHECK(blob_write(w, bytes + at, pieces[i], e));
    CHECK(blob_finish(w, &info, e));
    assert_int_equal(info.bytes, length);
    CHECK(blob_look(f->blobs, id, &again, e)); /* hashed anew, from the file */
    assert_string_equal(again.sha256, info.sha256);
    int fd = blob_open(f->blobs, id, NULL);
    assert_int_equal(read(fd, back, length), length);
    assert_memory_equal(back, bytes, length);
    close(fd);
    free(bytes);
    free(back);
}

static void an_abandoned_upload_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE], part[64];
    struct blob_writer *w;
    (void)snprintf(part, sizeof part, "%s.part", id_new(id));
    CHECK(blob_begin(f->blobs, id, &w, e));
    CHECK(blob_write(w, "ab", 2, e));
    blob_abort(w);
    assert_false(exists(f, part));
    assert_false(exists(f, id));
    blob_abort(NULL);
}

static void only_ids_become_paths(void **state)
{
    struct fixture *f = *state;
    struct blob_writer *w;
    static const char *const names[] = {"../../../../../../../../../etc/passwd", "",
                                        "/etc/passwd", ".",
                                        "0190b5d0-aaaa-7bbb-8ccc-0123456789ab/../x"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(blob_begin(f->blobs, names[i], &w, NULL), ERR_INVALID);
        assert_int_equal(blob_open(f->blobs, names[i], NULL), ERR_INVALID);
        assert_int_equal(blob_remove(f->blobs, names[i], NULL), ERR_INVALID);
    }
}

static void removing_twice_is_fine(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    put(f, id_new(id), "x");
    CHECK(blob_remove(f->blobs, id, e));
    CHECK(blob_remove(f->blobs, id, e));
    assert_int_equal(blob_open(f->blobs, id, NULL), ERR_NOT_FOUND);
}

static int is_kept(void *arg, const char *id, bool is_part)
{
    (void)is_part;
    return !strcmp(arg, id);
}

static int cannot_say(void *arg, const char *id, bool is_part)
{
    (void)is_part;
    (void)arg;
    (void)id;
    return ERR_IO;
}

static void a_sweep_takes_leftovers_only(void **state)
{
    struct fixture *f = *state;
    char kept[ID_SIZE], orphan[ID_SIZE], dead[64], live[ID_SIZE], live_part[64];
    struct blob_writer *w;
    put(f, id_new(kept), "kept");
    put(f, id_new(orphan), "orphan");
    char id[ID_SIZE];
    (void)snprintf(dead, sizeof dead, "%s.part", id_new(id));
    write_file(f, dead);
    write_file(f, "README.txt"); /* not ours to remove */
    (void)snprintf(live_part, sizeof live_part, "%s.part", id_new(live));
    CHECK(blob_begin(f->blobs, live, &w, e));
    char probe[PATH_MAX + 16];
    (void)snprintf(probe, sizeof probe, "%s/.probe.1", blob_store_scratch(f->blobs));
    CHECK(fs_write_atomic(probe, "x", 1, e));

    /* Nobody is asked who is writing: what is young may be somebody's. */
    assert_int_equal(blob_sweep(f->blobs, HOUR_MS, is_kept, kept, NULL), 0);
    age(f, orphan);
    age(f, dead);
    assert_int_equal(blob_sweep(f->blobs, HOUR_MS, is_kept, kept, NULL), 2);
    assert_int_equal(access(probe, F_OK), -1);
    assert_true(exists(f, kept));
    assert_false(exists(f, orphan));
    assert_false(exists(f, dead));
    assert_true(exists(f, "README.txt"));
    assert_true(exists(f, live_part)); /* somebody is writing it */
    blob_abort(w);

    /* When the database cannot answer, nothing is removed. */
    assert_true(blob_sweep(f->blobs, 0, cannot_say, NULL, NULL) < 0);
    assert_true(exists(f, kept));
}

/* ---- several sittings ---- */

static int parts_of(struct fixture *f, const char *id)
{
    char path[PATH_MAX + 16];
    int n = 0;
    (void)snprintf(path, sizeof path, "%s/parts", f->folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    const struct dirent *entry;
    while ((entry = readdir(dir)))
        n += !strncmp(entry->d_name, id, ID_SIZE - 1);
    closedir(dir);
    return n;
}

static struct blob_writer *sit(struct fixture *f, const char *id, const char *state,
                               bool clean)
{
    const struct blob_sitting sitting = {.id = id, .state = state, .clean = clean};
    struct blob_writer *w = NULL;
    CHECK(blob_resume(f->blobs, &sitting, &w, e));
    return w;
}

/* What the database would keep; the caller frees it. */
static char *sync_all(struct blob_writer *w, int64_t expected)
{
    struct buf state;
    int64_t bytes = 0;
    buf_init(&state, 1 << 20);
    CHECK(blob_sync(w, true, &state, &bytes, e));
    assert_int_equal(bytes, expected);
    blob_kept(w);
    char *text = buf_take(&state);
    buf_release(&state);
    return text;
}

static void check_whole(struct fixture *f, const char *id, const struct blob_info *info)
{
    struct blob_info again;
    assert_int_equal(info->bytes, 12);
    assert_string_equal(
        info->sha256, "09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b");
    CHECK(blob_look(f->blobs, id, &again, e));
    assert_string_equal(again.sha256, info->sha256);
    assert_int_equal(again.bytes, 12);
    assert_int_equal(parts_of(f, id), 0);
}

static void a_part_goes_on_where_it_was_durable(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE], head[5];
    struct blob_info info;
    struct blob_writer *w = sit(f, id_new(id), NULL, true);
    CHECK(blob_write(w, "hello, ", 7, e));
    char *text = sync_all(w, 7);
    CHECK(blob_write(w, "wor", 3, e)); /* never promised */
    blob_pause(w);
    assert_int_equal(parts_of(f, id), 1);

    w = sit(f, id, text, true);
    assert_int_equal(blob_bytes(w), 7);
    CHECK(blob_write(w, "world", 5, e));
    assert_int_equal(blob_head(w, head, sizeof head), 5);
    assert_memory_equal(head, "hello", 5);
    assert_int_equal(parts_of(f, id), 1); /* the same file: nobody else has it */
    CHECK(blob_finish(w, &info, e));
    check_whole(f, id, &info);
    free(text);
}

/* A disk that is full in the middle of a piece: what came before counts, and its hash. */
static void what_could_not_be_written_is_not_hashed(void **state)
{
    const size_t piece = 262144;
    struct fixture *f = *state;
    char id[ID_SIZE];
    struct blob_info info, again;
    struct err why;
    struct rlimit before, small;
    unsigned char *bytes = noise(2 * piece);
    struct blob_writer *w = sit(f, id_new(id), NULL, true);
    CHECK(blob_write(w, bytes, piece, e));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = piece + 5000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int status = blob_write(w, bytes + piece, piece, &why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(status < 0);
    assert_string_equal(why.message,
                        "the recording cannot be stored: cannot write: File too large");
    char *text = sync_all(w, (int64_t)piece);
    blob_pause(w);
    w = sit(f, id, text, true);
    CHECK(blob_write(w, bytes + piece, piece, e));
    CHECK(blob_finish(w, &info, e));
    CHECK(blob_look(f->blobs, id, &again, e));
    assert_string_equal(again.sha256, info.sha256);
    assert_int_equal(again.bytes, 2 * piece);
    free(text);
    free(bytes);
}

/* It was overtaken, and does not know. */
static void a_late_writer_harms_nothing(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    struct blob_info info;
    struct blob_writer *late = sit(f, id_new(id), NULL, true);
    CHECK(blob_write(late, "hello, ", 7, e));
    char *text = sync_all(late, 7);
    struct blob_writer *w = sit(f, id, text, false);
    CHECK(blob_write(late, "WORSE", 5, e));
    CHECK(blob_write(w, "world", 5, e));
    CHECK(blob_write(late, "AND MORE", 8, e));
    CHECK(blob_finish(w, &info, e));
    CHECK(blob_write(late, "STILL", 5, e));
    check_whole(f, id, &info);
    blob_pause(late);
    free(text);
}

/* The same across processes, one of which is stopped in the middle of a write. */
static void a_late_process_harms_nothing(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE], byte;
    int there[2], go[2], status;
    struct blob_info info;
    assert_int_equal(pipe(there), 0);
    assert_int_equal(pipe(go), 0);
    struct blob_writer *w = sit(f, id_new(id), NULL, true);
    CHECK(blob_write(w, "hello, ", 7, e));
    char *text = sync_all(w, 7);
    pid_t pid = fork();
    if (!pid) { /* has the file open as its writer had */
        bool good = write(there[1], "x", 1) == 1 && read(go[0], &byte, 1) == 1 &&
                    !blob_write(w, "WORSE", 5, NULL);
        _exit(good ? 0 : 1);
    }
    assert_int_equal(read(there[0], &byte, 1), 1);
    blob_pause(w);
    w = sit(f, id, text, false);
    CHECK(blob_write(w, "world", 5, e));
    CHECK(blob_finish(w, &info, e));
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    check_whole(f, id, &info);
    for (int i = 0; i < 2; i++) {
        close(there[i]);
        close(go[i]);
    }
    free(text);
}

static void what_a_former_version_began_goes_on(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE], part[64], path[PATH_MAX * 2];
    struct blob_info info;
    struct blob_writer *w = NULL;
    (void)snprintf(part, sizeof part, "%s.part", id_new(id));
    path_of(f, part, path, sizeof path);
    CHECK(fs_write_atomic(path, "hello, rubbish", 14, e));
    const struct blob_sitting sitting = {.id = id, .received = 7};
    CHECK(blob_resume(f->blobs, &sitting, &w, e));
    assert_int_equal(blob_bytes(w), 7);
    CHECK(blob_write(w, "world", 5, e));
    CHECK(blob_finish(w, &info, e));
    check_whole(f, id, &info);
    assert_false(exists(f, part));
}

static void what_is_not_all_there_is_not_gone_on_with(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    struct blob_writer *w = sit(f, id_new(id), NULL, true), *none;
    CHECK(blob_write(w, "hello, ", 7, e));
    char *text = sync_all(w, 7);
    const struct blob_sitting clean = {.id = id, .state = text, .clean = true};
    const struct blob_sitting unclean = {.id = id, .state = text};
    const struct blob_sitting nonsense = {.id = id,
                                          .state = "{\"pieces\":[[\"../x\",1]]}"};
    assert_int_equal(blob_resume(f->blobs, &nonsense, &none, NULL), ERR_CORRUPT);
    blob_abort(w);
    assert_int_equal(parts_of(f, id), 0);
    assert_int_equal(blob_resume(f->blobs, &clean, &none, NULL), ERR_NOT_FOUND);
    assert_int_equal(blob_resume(f->blobs, &unclean, &none, NULL), ERR_NOT_FOUND);
    free(text);
}

static void a_sweep_keeps_parts_that_are_wanted(void **state)
{
    struct fixture *f = *state;
    char kept[ID_SIZE], other[ID_SIZE];
    struct blob_writer *w = sit(f, id_new(kept), NULL, true);
    CHECK(blob_write(w, "x", 1, e));
    blob_pause(w);
    w = sit(f, id_new(other), NULL, true);
    CHECK(blob_write(w, "x", 1, e));
    assert_int_equal(blob_sweep(f->blobs, HOUR_MS, is_kept, kept, NULL), 0); /* young */
    blob_pause(w);
    assert_int_equal(blob_sweep(f->blobs, 0, is_kept, kept, NULL), 1);
    assert_int_equal(parts_of(f, kept), 1);
    CHECK(blob_discard(f->blobs, kept, NULL, e));
    assert_int_equal(parts_of(f, kept), 0);
}

/* ---- a folder that other machines share ---- */

/* A client that remembers that a file was not there, or whose handle has gone stale,
 * until the folder is read. */
static const char *hidden;
static int hidden_errno;
static bool no_new_files; /* no descriptor is left for one */
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    if (no_new_files && (flags & O_CREAT)) {
        errno = EMFILE;
        return -1;
    }
    if (hidden && strstr(path, hidden) && !(flags & O_CREAT)) {
        errno = hidden_errno;
        return -1;
    }
    return __real_open64(path, flags, mode);
}

DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
    hidden = NULL; /* it is read anew */
    return __real_opendir(path);
}

static void a_file_that_is_seen_late_is_found(void **state)
{
    static const int reasons[] = {ENOENT, ESTALE};
    struct fixture *f = *state;
    char id[ID_SIZE];
    put(f, id_new(id), "abc");
    for (size_t i = 0; i < 2; i++) {
        hidden = id;
        hidden_errno = reasons[i];
        int fd = blob_open(f->blobs, id, NULL);
        assert_true(fd >= 0);
        assert_null(hidden);
        close(fd);
    }
    hidden = NULL;
}

/* What is then known of the upload names no file that is not there. */
static void a_part_that_cannot_be_made_is_made_later(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    struct blob_info info;
    for (int clean = 0; clean < 2; clean++) {
        struct blob_writer *w = sit(f, id_new(id), NULL, true);
        no_new_files = true;
        assert_int_equal(blob_write(w, "hello, ", 7, NULL), ERR_IO);
        no_new_files = false;
        char *text = sync_all(w, 0);
        blob_pause(w);
        w = sit(f, id, text, clean);
        free(text);
        CHECK(blob_write(w, "hello, world", 12, e));
        CHECK(blob_finish(w, &info, e));
        check_whole(f, id, &info);
    }
}

/* Allocations to go until one fails; 0: none does. */
static int allocations_until;
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    if (allocations_until > 0 && --allocations_until == 0) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_malloc(size);
}

/* Neither is less written down of an upload, nor is it taken for damaged. */
static void no_memory_is_no_damage(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    struct blob_writer *w = sit(f, id_new(id), NULL, true);
    CHECK(blob_write(w, "hello, world", 12, e));
    char *whole = sync_all(w, 12);
    int n = 0, failed = 0;
    for (bool any = true; any; n++) {
        struct buf text;
        int64_t bytes;
        buf_init(&text, 1 << 20);
        allocations_until = n + 1;
        int status = blob_sync(w, true, &text, &bytes, NULL);
        any = allocations_until == 0;
        if (status)
            assert_int_equal(status, ERR_NOMEM);
        else
            assert_string_equal(buf_cstr(&text), whole);
        failed += status != 0;
        buf_release(&text);
    }
    n = 0;
    for (bool any = true; any; n++) {
        const struct blob_sitting sitting = {.id = id, .state = whole};
        struct blob_writer *next = NULL;
        allocations_until = n + 1;
        int status = blob_resume(f->blobs, &sitting, &next, NULL);
        any = allocations_until == 0;
        if (status)
            assert_int_equal(status, ERR_NOMEM);
        else
            assert_int_equal(blob_bytes(next), 12);
        failed += status != 0;
        blob_pause(next);
    }
    allocations_until = 0;
    assert_true(failed > 20);
    free(whole);
    blob_abort(w);
}

static void a_folder_that_is_a_file_is_refused(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX + 16];
    struct err why;
    struct blob_store *b = NULL;
    (void)snprintf(path, sizeof path, "%s/file", f->folder);
    CHECK(fs_write_atomic(path, "x", 1, e));
    assert_true(blob_store_open(&b, path, 0, &why) < 0);
    assert_null(b);
    assert_non_null(strstr(why.message, path));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_blob_is_hashed_and_appears_when_whole),
        TEST(pieces_of_all_sizes_are_one_recording),
        TEST(an_abandoned_upload_leaves_nothing),
        TEST(only_ids_become_paths),
        TEST(removing_twice_is_fine),
        TEST(a_sweep_takes_leftovers_only),
        TEST(a_part_goes_on_where_it_was_durable),
        TEST(what_could_not_be_written_is_not_hashed),
        TEST(a_late_writer_harms_nothing),
        TEST(a_late_process_harms_nothing),
        TEST(what_a_former_version_began_goes_on),
        TEST(what_is_not_all_there_is_not_gone_on_with),
        TEST(a_sweep_keeps_parts_that_are_wanted),
        TEST(a_file_that_is_seen_late_is_found),
        TEST(a_part_that_cannot_be_made_is_made_later),
        TEST(no_memory_is_no_damage),
        TEST(a_folder_that_is_a_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
