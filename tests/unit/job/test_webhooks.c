/* The signature of a webhook, against values from elsewhere, and the pauses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/webhooks.h"

static const char body[] = "{\"event\":\"job.completed\"}";

static void signatures_are_those_of_the_standard(void **state)
{
    (void)state;
    char out[WEBHOOK_SIGNATURE_SIZE];
    webhook_sign("a-plain-secret", "msg_1", 1700000000, body, strlen(body), out);
    assert_string_equal(out, "dpXyQSrrFa7HF8mg1ZJHH2cTo6/zFwpBmhi0skXcUGg=");
    webhook_sign("whsec_YSBrZXkgb2YgdHdlbnR5LWZvdXIgYnl0", "msg_1", 1700000000, body,
                 strlen(body), out);
    assert_string_equal(out, "LWwQRJ0pj3oCVGgr0xACzbIDel3aSgACoO95Z9fymrs=");
    /* What is no base64 behind the prefix stands for itself, and does not fail. */
    webhook_sign("whsec_***", "msg_1", 1700000000, body, strlen(body), out);
    assert_int_equal(strlen(out), 44);
}

static void pauses_grow_up_to_hours_and_differ(void **state)
{
    (void)state;
    for (int i = 1; i < 40; i++) {
        int64_t low = webhook_pause_ms(i, 0), high = webhook_pause_ms(i, UINT32_MAX);
        assert_true(low >= 1000 && low <= INT64_C(7200000));
        assert_true(high <= INT64_C(21600000));
        if (i > 1)
            assert_true(low >= webhook_pause_ms(i - 1, 0));
    }
    assert_int_equal(webhook_pause_ms(1, 0), 1000);
    assert_int_equal(webhook_pause_ms(1, 2000), 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_those_of_the_standard),
        cmocka_unit_test(pauses_grow_up_to_hours_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
