/* Encrypted files: back as they were, whatever their length and however they come; and
 * nothing comes of one that was changed or cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backup/seal.h"
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int add(void *arg, const void *bytes, size_t length, struct err *e)
{
    buf_add(arg, bytes, length);
    return buf_failed(arg) ? err_set(e, ERR_NOMEM, "full") : 0;
}

static struct seal *key_of(const char *text)
{
    char path[] = "/tmp/wt-seal-XXXXXX";
    struct seal *s = NULL;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    assert_int_equal(seal_open(&s, path, NULL), 0);
    unlink(path);
    return s;
}

static void seal_all(const struct seal *s, const unsigned char *bytes, size_t length,
                     size_t piece, struct buf *out)
{
    struct seal_writer w;
    buf_init(out, 16u << 20);
    assert_int_equal(seal_writer_begin(&w, s, add, out, NULL), 0);
    for (size_t at = 0; at < length; at += piece)
        assert_int_equal(
            seal_write(&w, bytes + at, length - at < piece ? length - at : piece, NULL),
            0);
    assert_int_equal(seal_writer_end(&w, NULL), 0);
    seal_writer_release(&w);
}

static int open_all(struct seal *s, const char *bytes, size_t length, size_t piece,
                    struct buf *out)
{
    struct seal_reader r;
    int status = 0;
    buf_init(out, 16u << 20);
    assert_int_equal(seal_reader_begin(&r, s, add, out, NULL), 0);
    for (size_t at = 0; !status && at < length; at += piece)
        status =
            seal_read(&r, bytes + at, length - at < piece ? length - at : piece, NULL);
    if (!status)
        status = seal_reader_end(&r, NULL);
    seal_reader_release(&r);
    return status;
}

static const size_t lengths[] = {
    0, 1, SEAL_CHUNK - 1, SEAL_CHUNK, SEAL_CHUNK + 1, 2 * SEAL_CHUNK, 200000};

static void comes_back(void **state)
{
    struct seal *s = key_of("a key of sixteen characters or more\n");
    unsigned char *bytes = malloc(200000);
    (void)state;
    assert_non_null(bytes);
    randombytes_buf(bytes, 200000);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct buf sealed, back;
        seal_all(s, bytes, lengths[i], 1000 + 7 * i, &sealed);
        assert_int_equal(open_all(s, sealed.data, sealed.length, 999, &back), 0);
        assert_int_equal(back.length, lengths[i]);
        assert_memory_equal(buf_cstr(&back), bytes, lengths[i]);
        buf_release(&back);
        /* Cut at every place where it could look whole, and a few others. */
        for (size_t cut = 0; cut < sealed.length; cut += 1 + sealed.length / 50) {
            assert_int_not_equal(open_all(s, sealed.data, cut, 4096, &back), 0);
            buf_release(&back);
        }
        size_t chunk =
            SEAL_HEAD + SEAL_CHUNK + crypto_secretstream_xchacha20poly1305_ABYTES;
        if (sealed.length > chunk) {
            assert_int_equal(open_all(s, sealed.data, chunk, 4096, &back), ERR_CORRUPT);
            buf_release(&back);
        }
        sealed.data[sealed.length / 2] ^= 4;
        assert_int_not_equal(open_all(s, sealed.data, sealed.length, 4096, &back), 0);
        buf_release(&back);
        buf_release(&sealed);
    }
    free(bytes);
    seal_close(s);
}

static void wants_the_key(void **state)
{
    struct seal *s = key_of("a key of sixteen characters or more");
    struct seal *other = key_of("another key of sixteen characters");
    struct buf sealed, back;
    (void)state;
    seal_all(s, (const unsigned char *)"hello", 5, 5, &sealed);
    assert_int_equal(open_all(other, sealed.data, sealed.length, 4096, &back),
                     ERR_DENIED);
    assert_int_equal(back.length, 0);
    buf_release(&back);
    assert_int_equal(open_all(s, sealed.data, sealed.length, 1, &back), 0);
    buf_release(&back);
    buf_release(&sealed);
    seal_close(s);
    seal_close(other);
}

/* Names are the same as long as key and salt are, and tell nothing of the hash. */
static void names(void **state)
{
    struct seal *s = key_of("a key of sixteen characters or more");
    unsigned char salt[SEAL_SALT] = {1};
    char hash[65], one[65], two[65];
    (void)state;
    memset(hash, 'a', 64);
    hash[64] = '\0';
    assert_int_equal(seal_salt(s, salt, NULL), 0);
    seal_name(s, hash, one);
    assert_int_equal(seal_salt(s, NULL, NULL), 0);
    seal_name(s, hash, two);
    assert_string_not_equal(one, two);
    assert_int_equal(seal_salt(s, salt, NULL), 0);
    seal_name(s, hash, two);
    assert_string_equal(one, two);
    assert_string_not_equal(one, hash);
    seal_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(wants_the_key),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
