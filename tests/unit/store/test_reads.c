/* A disk that cannot read now and then, or memory that is lacking: an error is told, and
 * nothing else comes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "base/mem.h"
#include "store/uploads.h"

#include <errno.h>
#include <sqlite3.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Reads to go until one fails with `why_not`; 0: none does. */
static int reads_until, why_not;

/* What SQLite reads its files with. */
ssize_t pread64(int fd, void *to, size_t length, off64_t at)
{
    if (reads_until > 0 && --reads_until == 0) {
        errno = why_not;
        return -1;
    }
    return syscall(SYS_pread64, fd, to, length, at);
}

static void use(struct store *s, const char *id, struct err *why, int *worst)
{
    char nothing[] = "";
    struct store_upload u = {
        .caller = nothing, .params = nothing, .metadata = nothing, .length = 9};
    char ids[8][ID_SIZE];
    struct job j;
    size_t count;
    id_new(u.id);
    struct err each[4] = {{0}};
    const int said[] = {
        store_upload_insert(s, &u, &each[0]),
        store_upload_find(s, STORE_UPLOADS_EXPIRED, 1, ids, 8, &count, &each[1]),
        store_probe(s, &each[2]), store_get(s, id, &j, &each[3])};
    if (!said[3])
        job_release(&j);
    for (size_t i = 0; i < ARRAY_LENGTH(said); i++)
        if (said[i]) {
            *worst = said[i];
            *why = each[i];
        }
}

/* Each of the reads of that work, once. */
static void fails_once_each(struct store_fixture *f, int number)
{
    char id[ID_SIZE], other[ID_SIZE], name[250];
    for (int i = 0; i < 60; i++) {
        (void)snprintf(name, sizeof name, "%0240d.wav", i);
        test_store_add(f->store, i, name, id);
    }
    int n = 0, failed = 0;
    for (bool any = true; any; n++) {
        struct err why = {0};
        int worst = 0;
        store_close(f->store);
        f->store = test_store_open(f->folder);
        why_not = number;
        reads_until = n + 1;
        use(f->store, id, &why, &worst);
        any = reads_until == 0;
        reads_until = 0;
        if (worst) {
            failed++;
            if (worst != ERR_IO || strstr(why.message, "damaged"))
                fail_msg("read %d: %d %s", n, worst, why.message);
        }
        test_store_add(f->store, 1000 + n, "after.wav", other);
        use(f->store, id, &why, &(int){0});
        assert_false(any && !worst);
    }
    assert_true(failed > 5);
}

static void a_read_that_fails_is_no_damage(void **state)
{
    fails_once_each(*state, EIO);
}

static void nor_is_a_device_that_went(void **state)
{
    fails_once_each(*state, ENXIO);
}

/* SQLite's allocations to go until all fail; 0: none does. */
static int allocations_until;
static sqlite3_mem_methods memory;

static bool lacks(void)
{
    if (allocations_until > 1)
        allocations_until--;
    return allocations_until == 1;
}

static void *lacking_malloc(int size)
{
    return lacks() ? NULL : memory.xMalloc(size);
}

static void *lacking_realloc(void *p, int size)
{
    return lacks() ? NULL : memory.xRealloc(p, size);
}

/* A transaction that can neither be ended nor taken back: what is told of later ones
 * holds all the same. */
static void memory_that_lacks_leaves_no_transaction_open(void **state)
{
    struct store_fixture *f = *state;
    char nothing[] = "";
    bool failed = true;
    for (int n = 2; failed; n++) {
        struct store_upload u = {.caller = nothing, .params = nothing, .length = 9};
        struct store_upload claimed = {0}, now;
        u.metadata = nothing;
        id_new(u.id);
        store_close(f->store);
        f->store = test_store_open(f->folder);
        CHECK(store_upload_insert(f->store, &u, e));
        allocations_until = n;
        failed = store_upload_claim(f->store, u.id, &claimed, NULL) != 0;
        allocations_until = 0;
        store_upload_release(&claimed);
        CHECK(store_upload_finish(f->store, u.id, e));
        CHECK(store_upload_get(f->store, u.id, &now, e));
        if (!now.done)
            fail_msg("after %d allocations what was written is not to be seen", n);
        store_upload_release(&now);
    }
}

int main(void)
{
    sqlite3_mem_methods own;
    (void)sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    own = memory;
    own.xMalloc = lacking_malloc;
    own.xRealloc = lacking_realloc;
    (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &own);
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_set_up, test_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_read_that_fails_is_no_damage),
        TEST(nor_is_a_device_that_went),
        TEST(memory_that_lacks_leaves_no_transaction_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
