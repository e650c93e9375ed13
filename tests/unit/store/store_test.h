/* What the tests of the store share: a folder of their own, and jobs to put in. The same
 * tests run on SQLite and, with WT_TEST_STORE=postgresql, on PostgreSQL. */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include "store/store.h"

#include <limits.h>

#define CHECK(call)                                                                      \
    do {                                                                                 \
        struct err check_err = {0};                                                      \
        struct err *e = &check_err;                                                      \
        int check_status = (call);                                                       \
        if (check_status < 0)                                                            \
            fail_msg("%s: %d %s", #call, check_status, e->message);                      \
    } while (0)

/* Make, and remove with all that is in it, a folder below the temporary folder. */
void test_folder_make(char folder[PATH_MAX]);
void test_folder_remove(const char *folder);

/* Whether the bytes of a text are anywhere in a file. */
bool test_file_holds(const char *path, const char *text);

/* A store in a folder of its own: *state of a test between these two. */
struct store_fixture {
    char folder[PATH_MAX];
    struct store *store;
};
int test_set_up(void **state);
int test_tear_down(void **state);
/* Whether the tests run on PostgreSQL. */
bool test_on_postgres(void);
/* The URL of a folder's database, which is made when it is not there. */
void test_store_url(const char *folder, char *url, size_t size);

/* Open the store of a folder. */
struct store *test_store_open(const char *folder);

/* Insert a pending job made at `created_ms`; its id goes to `id`. */
void test_store_add(struct store *s, int64_t created_ms, const char *filename,
                    char id[ID_SIZE]);

#endif
