/* What a worker sends as a waveform is copied if it can be one, and its end otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/run.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static int hear(struct run *r, int fd)
{
    struct message m = {.type = MESSAGE_DECODED, .seconds = 1, .fds = {fd}, .n_fds = 1};
    struct err e = {0};
    int status = run_hear(r, &m, &e);
    close(fd);
    return status;
}

static int file_of(const void *bytes, size_t length, off_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), length);
    assert_int_equal(ftruncate(fd, size), 0);
    return fd;
}

static void bytes_are_copied(void **state)
{
    static const unsigned char peaks[] = {1, 0, 255};
    struct run r = {0};
    (void)state;
    assert_int_equal(hear(&r, file_of(peaks, 3, 3)), 0);
    assert_true(r.decoded_unsaved);
    assert_int_equal(r.waveform.length, 3);
    assert_memory_equal(r.waveform.data, peaks, 3);
    /* A second one takes the place of the first. */
    assert_int_equal(hear(&r, file_of(peaks, 2, 2)), 0);
    assert_int_equal(r.waveform.length, 2);
    buf_release(&r.waveform);
}

static void none_is_fine(void **state)
{
    struct message m = {.type = MESSAGE_DECODED, .seconds = 1};
    struct run r = {0};
    struct err e;
    (void)state;
    assert_int_equal(run_hear(&r, &m, &e), 0);
    assert_int_equal(r.waveform.length, 0);
}

static void what_is_none_ends_the_worker(void **state)
{
    struct run r = {0};
    int ends[2];
    (void)state;
    assert_int_equal(hear(&r, file_of("", 0, 0)), ERR_CORRUPT);
    assert_int_equal(hear(&r, file_of("x", 1, WAVEFORM_MAX_BYTES + 1)), ERR_CORRUPT);
    /* One that would keep the service waiting. */
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(hear(&r, ends[0]), ERR_CORRUPT);
    close(ends[1]);
    assert_int_equal(hear(&r, open("/dev/zero", O_RDONLY | O_CLOEXEC)), ERR_CORRUPT);
    int write_only = open("/proc/self/comm", O_WRONLY | O_CLOEXEC);
    assert_int_equal(hear(&r, write_only), ERR_CORRUPT);
    assert_int_equal(r.waveform.length, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_copied),
        cmocka_unit_test(none_is_fine),
        cmocka_unit_test(what_is_none_ends_the_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
