#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "base/err.h"

static void full_disk_has_its_own_code(void **state)
{
    (void)state;
    struct err e = {0};
    errno = ENOSPC;
    assert_int_equal(err_errno(&e, "cannot write %s", "x"), ERR_FULL);
    assert_string_equal(e.message, "cannot write x: No space left on device");
    assert_int_equal(err_prefix(&e, "storage"), ERR_FULL);
    assert_string_equal(e.message, "storage: cannot write x: No space left on device");
}

static void long_messages_end_at_a_character(void **state)
{
    (void)state;
    struct err e = {0};
    char text[1200];
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xC3\xA9", 2);
    text[1198] = '\0';
    err_set(&e, ERR_INVALID, "x%s", text);
    size_t length = strlen(e.message);
    assert_true(length < sizeof e.message);
    assert_int_equal(length % 2, 1); /* "x" and whole two-byte characters */
}

static void null_is_accepted(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_STATE, "no"), ERR_STATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_disk_has_its_own_code),
        cmocka_unit_test(long_messages_end_at_a_character),
        cmocka_unit_test(null_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
