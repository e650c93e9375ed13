/* The storage folder: whole files or none, and nothing left lying about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "base/fs.h"
#include "store/blob.h"

#include <sys/stat.h>
#include <unistd.h>

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

static bool exists(struct fixture *f, const char *name)
{
    char path[PATH_MAX * 2];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/uploads/%s", f->folder, name);
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

static int is_kept(void *arg, const char *id)
{
    return !strcmp(arg, id);
}

static int cannot_say(void *arg, const char *id)
{
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

    assert_int_equal(blob_sweep(f->blobs, is_kept, kept, NULL), 2);
    assert_int_equal(access(probe, F_OK), -1);
    assert_true(exists(f, kept));
    assert_false(exists(f, orphan));
    assert_false(exists(f, dead));
    assert_true(exists(f, "README.txt"));
    assert_true(exists(f, live_part)); /* somebody is writing it */
    blob_abort(w);

    /* When the database cannot answer, nothing is removed. */
    assert_true(blob_sweep(f->blobs, cannot_say, NULL, NULL) < 0);
    assert_true(exists(f, kept));
}

static void a_part_goes_on_where_it_was_durable(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE], part[64];
    struct blob_writer *w, *other;
    struct blob_info info, again;
    (void)snprintf(part, sizeof part, "%s.part", id_new(id));
    assert_int_equal(blob_resume(f->blobs, id, false, &w, NULL), ERR_NOT_FOUND);
    CHECK(blob_resume(f->blobs, id, true, &w, e));
    assert_int_equal(blob_resume(f->blobs, id, true, &other, NULL), ERR_STATE);
    CHECK(blob_write(w, "hello, wor", 10, e));
    CHECK(blob_sync(w, e));
    blob_pause(w);
    assert_true(exists(f, part));

    CHECK(blob_resume(f->blobs, id, false, &w, e));
    assert_int_equal(blob_bytes(w), 10);
    assert_int_equal(blob_cut(w, 11, NULL), ERR_CORRUPT);
    CHECK(blob_cut(w, 7, e)); /* the rest was never promised */
    CHECK(blob_write(w, "world", 5, e));
    char head[5];
    assert_int_equal(blob_head(w, head, sizeof head, NULL), 5);
    assert_memory_equal(head, "hello", 5);
    CHECK(blob_finish(w, &info, e));
    assert_int_equal(info.bytes, 12);
    assert_string_equal(
        info.sha256, "09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b");
    CHECK(blob_look(f->blobs, id, &again, e));
    assert_string_equal(again.sha256, info.sha256);
    assert_int_equal(again.bytes, 12);
    assert_false(exists(f, part));
}

static void a_sweep_keeps_parts_that_are_wanted(void **state)
{
    struct fixture *f = *state;
    char kept[ID_SIZE], part[64];
    struct blob_writer *w;
    (void)snprintf(part, sizeof part, "%s.part", id_new(kept));
    CHECK(blob_resume(f->blobs, kept, true, &w, e));
    blob_pause(w);
    assert_int_equal(blob_sweep(f->blobs, is_kept, kept, NULL), 0);
    assert_true(exists(f, part));
    CHECK(blob_remove(f->blobs, kept, e));
    assert_false(exists(f, part));
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
        TEST(an_abandoned_upload_leaves_nothing),
        TEST(only_ids_become_paths),
        TEST(removing_twice_is_fine),
        TEST(a_sweep_takes_leftovers_only),
        TEST(a_part_goes_on_where_it_was_durable),
        TEST(a_sweep_keeps_parts_that_are_wanted),
        TEST(a_folder_that_is_a_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
