/* As much of cmocka as the kernels' tests use, for builds for another processor, where
 * there is no library but libc: the first failure ends the program. */
#ifndef TESTS_SMALL_CMOCKA_H
#define TESTS_SMALL_CMOCKA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

#define cmocka_unit_test(function)                                                       \
    {                                                                                    \
#function, function                                                              \
    }

#define print_message(...) (void)printf(__VA_ARGS__)
#define fail_msg(...)                                                                    \
    (printf("%s:%d: ", __FILE__, __LINE__), printf(__VA_ARGS__), printf("\n"), exit(1))
#define assert_true(claim)                                                               \
    do {                                                                                 \
        if (!(claim))                                                                    \
            fail_msg("not true: %s", #claim);                                            \
    } while (0)
#define assert_null(p)               assert_true((p) == NULL)
#define assert_non_null(p)           assert_true((p) != NULL)
#define assert_int_equal(a, b)       assert_true((a) == (b))
#define assert_ptr_equal(a, b)       assert_true((a) == (b))
#define assert_string_equal(a, b)    assert_true(strcmp(a, b) == 0)
#define assert_memory_equal(a, b, n) assert_true(memcmp(a, b, n) == 0)

#define cmocka_run_group_tests(tests, set_up, tear_down)                                 \
    small_run(tests, sizeof(tests) / sizeof *(tests))

static inline int small_run(const struct CMUnitTest *tests, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        printf("%s\n", tests[i].name);
        fflush(stdout);
        tests[i].run(&(void *){NULL});
    }
    return 0;
}

#endif
