/* What a disk can do to a database: damage, no rights, no space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "base/fs.h"
#include "store/blob.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
    char folder[PATH_MAX];
    char path[PATH_MAX + 16];
    char url[PATH_MAX + 32];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    test_folder_make(f->folder);
    (void)snprintf(f->path, sizeof f->path, "%s/app.db", f->folder);
    (void)snprintf(f->url, sizeof f->url, "sqlite:///%s", f->path);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

static int try_open(const char *url, struct err *e)
{
    struct store *s = NULL;
    struct store_options options = {.exclusive = true};
    int status = store_open(&s, url, &options, e);
    store_close(s);
    return status;
}

/* A database of several pages, closed, so that all is in the one file. */
static off_t make_database(struct fixture *f)
{
    struct store *s = test_store_open(f->folder);
    char id[ID_SIZE], name[250];
    for (int i = 0; i < 90; i++) {
        (void)snprintf(name, sizeof name, "%0240d.wav", i);
        test_store_add(s, i, name, id);
    }
    store_close(s);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_true(st.st_size > 8 * 4096);
    return st.st_size;
}

static void overwrite(const char *path, off_t from, size_t length, unsigned seed)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(lseek(fd, from, SEEK_SET), from);
    for (size_t i = 0; i < length; i++) {
        seed = seed * 1103515245u + 12345u;
        unsigned char byte = (unsigned char)(seed >> 16);
        assert_int_equal(write(fd, &byte, 1), 1);
    }
    close(fd);
}

static void assert_corrupt(struct fixture *f)
{
    struct err why = {0};
    assert_int_equal(try_open(f->url, &why), ERR_CORRUPT);
    assert_non_null(strstr(why.message, f->path));
    assert_non_null(strstr(why.message, "restore it from a backup"));
}

static void random_bytes_are_no_database(void **state)
{
    struct fixture *f = *state;
    int fd = open(f->path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(ftruncate(fd, 40000), 0);
    close(fd);
    overwrite(f->path, 0, 40000, 1);
    assert_corrupt(f);
}

static void a_text_file_is_no_database(void **state)
{
    struct fixture *f = *state;
    const char text[] =
        "This is a shopping list: milk, bread and a good deal of butter.\n";
    CHECK(fs_write_atomic(f->path, text, sizeof text - 1, e));
    assert_corrupt(f);
}

static void a_truncated_database_is_damaged(void **state)
{
    struct fixture *f = *state;
    off_t size = make_database(f);
    for (off_t left = size - 4096; left > 4096; left -= size / 4) {
        assert_int_equal(truncate(f->path, left), 0);
        assert_corrupt(f);
    }
}

/* Every page of the database in turn is overwritten; whatever holds structure must be
 * noticed. The bytes of the page come back afterwards. */
static void a_flipped_page_is_damaged(void **state)
{
    struct fixture *f = *state;
    off_t size = make_database(f);
    struct buf good;
    buf_init(&good, 1 << 24);
    CHECK(fs_read(f->path, &good, e));
    for (off_t page = 0; page < size; page += 4096) {
        overwrite(f->path, page, 4096, (unsigned)page + 7);
        assert_corrupt(f);
        CHECK(fs_write_atomic(f->path, good.data, good.length, e));
    }
    struct err why = {0};
    assert_int_equal(try_open(f->url, &why), 0);
    buf_release(&good);
}

static void a_second_service_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store *first = test_store_open(f->folder);
    struct err why = {0};
    assert_int_equal(try_open(f->url, &why), ERR_STATE);
    assert_non_null(strstr(why.message, "another running service"));
    store_close(first);
    assert_int_equal(try_open(f->url, &why), 0);
}

/* Run `check` as a user who is not root: root may write everywhere. 0: as expected. */
static int as_nobody(struct fixture *f, int (*check)(struct fixture *f))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
            _exit(99);
        _exit(check(f));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int expect_denied(struct fixture *f)
{
    struct err why = {0};
    return try_open(f->url, &why) == ERR_DENIED && strstr(why.message, f->folder) ? 0 : 1;
}

static int expect_no_storage(struct fixture *f)
{
    struct err why = {0};
    struct blob_store *b = NULL;
    int status = blob_store_open(&b, f->folder, 0, &why);
    blob_store_close(b);
    return status == ERR_DENIED && strstr(why.message, f->folder) ? 0 : 1;
}

static void a_read_only_folder_is_denied(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(chmod(f->folder, 0555), 0);
    assert_int_equal(as_nobody(f, expect_denied), 0);
    assert_int_equal(as_nobody(f, expect_no_storage), 0);
    assert_int_equal(chmod(f->folder, 0755), 0);
}

/* ---- a full disk ---- */

static bool mount_small(const char *folder, const char *size)
{
    char options[64];
    (void)snprintf(options, sizeof options, "size=%s", size);
    if (!mount("tmpfs", folder, "tmpfs", 0, options))
        return true;
    print_message("skipped: a small file system cannot be mounted here\n");
    return false;
}

static void fill_up(const char *folder)
{
    char path[PATH_MAX + 16], block[4096] = {0};
    (void)snprintf(path, sizeof path, "%s/ballast", folder);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    while (write(fd, block, sizeof block) > 0)
        ;
    close(fd);
}

static void a_full_disk_loses_nothing_that_was_accepted(void **state)
{
    struct fixture *f = *state;
    if (!mount_small(f->folder, "1m"))
        skip();
    struct store *s = test_store_open(f->folder);
    char accepted[ID_SIZE], refused[ID_SIZE];
    test_store_add(s, 1, "accepted.wav", accepted);
    fill_up(f->folder);

    struct job j;
    struct err why = {0};
    CHECK(store_get(s, accepted, &j, e));
    char *filler = malloc(100001);
    memset(filler, 'x', 100000);
    filler[100000] = '\0';
    free(j.original_filename);
    j.original_filename = filler;
    id_new(refused);
    memcpy(j.id, refused, ID_SIZE);
    assert_int_equal(store_insert(s, &j, "00", &why), ERR_FULL);
    assert_non_null(strstr(why.message, "full"));
    job_release(&j);

    /* Reading goes on, and so does writing once there is space again. */
    CHECK(store_get(s, accepted, &j, e));
    job_release(&j);
    assert_int_equal(store_get(s, refused, &j, NULL), ERR_NOT_FOUND);
    char ballast[PATH_MAX + 16];
    (void)snprintf(ballast, sizeof ballast, "%s/ballast", f->folder);
    assert_int_equal(unlink(ballast), 0);
    test_store_add(s, 2, "again.wav", refused);
    store_close(s);
    s = test_store_open(f->folder);
    CHECK(store_get(s, accepted, &j, e));
    job_release(&j);
    store_close(s);
    assert_int_equal(umount(f->folder), 0);
}

static void a_full_disk_refuses_an_upload(void **state)
{
    struct fixture *f = *state;
    if (!mount_small(f->folder, "4m"))
        skip();
    struct blob_store *b;
    struct blob_writer *w;
    struct err why = {0};
    char id[ID_SIZE], block[65536] = {1};
    CHECK(blob_store_open(&b, f->folder, 1 << 20, e));
    CHECK(blob_begin(b, id_new(id), &w, e));
    int status = 0;
    for (int i = 0; i < 200 && !status; i++)
        status = blob_write(w, block, sizeof block, &why);
    assert_int_equal(status, ERR_FULL);
    assert_non_null(strstr(why.message, "full"));
    assert_int_equal(blob_store_ready(b, &why), ERR_FULL);
    struct blob_writer *second;
    char other[ID_SIZE];
    assert_int_equal(blob_begin(b, id_new(other), &second, &why), ERR_FULL);
    blob_abort(w);
    assert_int_equal(blob_store_ready(b, &why), 0); /* its part is gone */
    blob_store_close(b);
    assert_int_equal(umount(f->folder), 0);
}

static void urls_that_name_no_database_are_refused(void **state)
{
    (void)state;
    struct err why;
    assert_int_equal(try_open("sqlite:///", &why), ERR_INVALID);
    assert_int_equal(try_open("sqlite:////tmp/", &why), ERR_INVALID);
    assert_int_equal(try_open("sqlite://data/app.db", &why), ERR_INVALID);
    assert_int_equal(try_open("mysql://user:secret@host/db", &why), ERR_INVALID);
    assert_null(strstr(why.message, "secret"));
    assert_int_equal(try_open("postgresql://user:secret%zz@host/db", &why), ERR_INVALID);
    assert_non_null(strstr(why.message, "PostgreSQL"));
    assert_null(strstr(why.message, "secret"));
    assert_int_equal(try_open("", &why), ERR_INVALID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(random_bytes_are_no_database),
        TEST(a_text_file_is_no_database),
        TEST(a_truncated_database_is_damaged),
        TEST(a_flipped_page_is_damaged),
        TEST(a_second_service_is_refused),
        TEST(a_read_only_folder_is_denied),
        TEST(a_full_disk_loses_nothing_that_was_accepted),
        TEST(a_full_disk_refuses_an_upload),
        cmocka_unit_test(urls_that_name_no_database_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
