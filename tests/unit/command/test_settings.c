/* The table of settings against what lies above it: the decoder and the written page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/config.h"
#include "base/fs.h"
#include "media/decode.h"

static void the_decoder_knows_every_format(void **state)
{
    (void)state;
    for (const char *const *name = config_audio_formats(); *name; name++) {
        struct err e = {0};
        if (media_formats_check(*name, &e))
            fail_msg("%s", e.message);
    }
    struct config c;
    struct err e = {0};
    clearenv();
    assert_int_equal(config_load(&c, NULL), 0);
    if (media_formats_check(c.allowed_formats, &e))
        fail_msg("%s", e.message);
    config_release(&c);
}

static void the_page_is_up_to_date(void **state)
{
    (void)state;
    const char *root = getenv("WT_SOURCE_ROOT");
    char path[4096], *made = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/docs/settings.md", root ? root : ".");
    struct buf written;
    buf_init(&written, 1 << 20);
    assert_int_equal(fs_read(path, &written, NULL), 0);
    FILE *out = open_memstream(&made, &size);
    config_markdown(out);
    fclose(out);
    if (strcmp(buf_cstr(&written), made) != 0)
        fail_msg(
            "run `whisper-transcriber doctor --settings-markdown >docs/settings.md`");
    free(made);
    buf_release(&written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_is_up_to_date), /* before clearenv */
        cmocka_unit_test(the_decoder_knows_every_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
