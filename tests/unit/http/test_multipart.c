#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/multipart.h"

#include "base/buf.h"

/* What the parser told, as one text: "[name|filename|type]bytes;" for each part. */
static struct buf told;
static int refuse_at; /* bytes of data after which the callback refuses; -1: never */
static int pieces;    /* in which data came */

static int on_begin(void *arg, const struct multipart_part *part, struct err *e)
{
    (void)arg;
    (void)e;
    buf_printf(&told, "[%s|%s|%s]", part->name, part->filename ? part->filename : "-",
               part->content_type);
    return 0;
}

static int on_data(void *arg, const void *bytes, size_t length, struct err *e)
{
    (void)arg;
    pieces++;
    buf_add(&told, bytes, length);
    return refuse_at >= 0 ? err_set(e, ERR_FULL, "refused") : 0;
}

static int on_end(void *arg, struct err *e)
{
    (void)arg;
    (void)e;
    buf_char(&told, ';');
    return 0;
}

static const struct multipart_callbacks callbacks = {NULL, on_begin, on_data, on_end};

/* Feed the body in pieces of `piece` bytes. */
static int parse(const char *type, const char *body, size_t length, size_t piece)
{
    struct multipart *m = NULL;
    struct err e;
    buf_reset(&told);
    int status = multipart_new(&m, type, &callbacks, &e);
    for (size_t at = 0; !status && at < length; at += piece) {
        /* A copy of its own size, so that a sanitizer sees every read past its end. */
        size_t n = length - at < piece ? length - at : piece;
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, body + at, n);
        status = multipart_feed(m, copy, n, &e);
        free(copy);
    }
    if (!status)
        status = multipart_finish(m, &e);
    multipart_free(m);
    return status;
}

#define TYPE "multipart/form-data; boundary=XX"

static void check(const char *body, size_t length, int status, const char *expected)
{
    for (size_t piece = 1; piece <= length; piece++) {
        assert_int_equal(parse(TYPE, body, length, piece), status);
        if (expected)
            assert_string_equal(buf_cstr(&told), expected);
    }
}
#define CHECK(body, status, expected) check(body, sizeof(body) - 1, status, expected)

static void reads_parts_however_they_are_cut(void **state)
{
    (void)state;
    CHECK("--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n"
          "--XX\r\ncontent-disposition:form-data;name=file;filename=\"x.mp3\"\r\n"
          "Content-Type: audio/mpeg \r\n\r\nab\r\ncd\r\n--X\r\n\r\n--XX--\r\n",
          0, "[a|-|]1;[file|x.mp3|audio/mpeg]ab\r\ncd\r\n--X\r\n;");
}

static void accepts_preamble_padding_and_empty_parts(void **state)
{
    (void)state;
    CHECK("preamble --XX not yet\r\n--XX \t\r\nContent-Disposition: form-data; name=a\r\n"
          "\r\n\r\n--XX\r\nContent-Disposition: form-data; name=b\r\n\r\n--XX--epilogue",
          0, "[a|-|];[b|-|];");
    CHECK("--XX--", 0, "");
}

static void is_not_fooled_by_near_boundaries(void **state)
{
    (void)state;
    CHECK("--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n"
          "\r\r\n\r\n-\r\n--\r\n--X\r\r\n--XY--XX\n--XX\r\n--XX--",
          0, "[a|-|]\r\r\n\r\n-\r\n--\r\n--X\r\r\n--XY--XX\n--XX;");
}

/* Each piece costs a write to the disk, and every 256th byte of a recording is a carriage
 * return. */
static void hands_on_what_comes_in_one_piece(void **state)
{
    (void)state;
    struct buf body;
    buf_init(&body, 1 << 20);
    buf_printf(&body, "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n.");
    for (int i = 0; i < 1000; i++)
        buf_printf(&body, "%d\r\n-\r", i);
    buf_printf(&body, "\r\n--XX--");
    pieces = 0;
    assert_int_equal(parse(TYPE, buf_cstr(&body), body.length, body.length), 0);
    assert_int_equal(pieces, 1);
    pieces = 0;
    assert_int_equal(parse(TYPE, buf_cstr(&body), body.length, body.length / 2), 0);
    assert_in_range(pieces, 1, 4);
    buf_release(&body);
}

static void refuses_bodies_that_end_early(void **state)
{
    (void)state;
    static const char body[] = "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n"
                               "data\r\n--XX--";
    for (size_t length = 0; length < sizeof body - 1; length++)
        assert_int_equal(parse(TYPE, body, length, 7), ERR_INVALID);
    assert_int_equal(parse(TYPE, body, sizeof body - 1, 7), 0);
}

static void refuses_malformed_forms(void **state)
{
    (void)state;
    CHECK("--XXjunk", ERR_INVALID, NULL);
    CHECK("--XX\r\n\r\nno header\r\n--XX--", ERR_INVALID, NULL);
    CHECK("--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n--XX--", ERR_INVALID, NULL);
    CHECK("--XX\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--XX--",
          ERR_INVALID, NULL);
    CHECK("--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--", ERR_INVALID, NULL);
    CHECK("--XX\r\nContent-Disposition: form-data; name=a\0b\r\n\r\nx\r\n--XX--",
          ERR_INVALID, NULL);
}

static void refuses_bad_types(void **state)
{
    (void)state;
    assert_int_equal(parse("application/json", "", 0, 1), ERR_UNSUPPORTED);
    assert_int_equal(parse("multipart/form-datax; boundary=XX", "", 0, 1),
                     ERR_UNSUPPORTED);
    assert_int_equal(parse("multipart/form-data", "", 0, 1), ERR_INVALID);
    assert_int_equal(parse("multipart/form-data; boundary=\"\"", "", 0, 1), ERR_INVALID);
    assert_int_equal(parse("multipart/form-data; boundary=\"", "", 0, 1), ERR_INVALID);
    assert_int_equal(parse("multipart/form-data; boundary=\"a\rb\"", "", 0, 1),
                     ERR_INVALID);
    char type[200] = "multipart/form-data; boundary=";
    memset(type + 30, 'a', 71);
    assert_int_equal(parse(type, "", 0, 1), ERR_INVALID);
    struct multipart *m = NULL;
    assert_int_equal(multipart_new(&m, NULL, &callbacks, NULL), ERR_UNSUPPORTED);
    assert_int_equal(parse("Multipart/Form-Data;boundary=\"X X\"", "--X X--", 7, 2), 0);
}

static void limits_heads_and_parts(void **state)
{
    (void)state;
    struct buf body;
    buf_init(&body, 1 << 20);
    buf_str(&body, "--XX\r\nX: ");
    for (int i = 0; i < MULTIPART_HEAD_MAX; i++)
        buf_char(&body, 'a');
    assert_int_equal(parse(TYPE, body.data, body.length, 1000), ERR_TOO_LARGE);
    buf_reset(&body);
    for (int i = 0; i < MULTIPART_PARTS_MAX + 1; i++)
        buf_str(&body, "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n");
    assert_int_equal(parse(TYPE, body.data, body.length, 1000), ERR_TOO_LARGE);
    buf_release(&body);
}

static void carries_a_refusal_through(void **state)
{
    (void)state;
    static const char body[] = "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n"
                               "x\r\n--XX--";
    refuse_at = 0;
    assert_int_equal(parse(TYPE, body, sizeof body - 1, sizeof body - 1), ERR_FULL);
    refuse_at = -1;
}

int main(void)
{
    refuse_at = -1;
    buf_init(&told, 1 << 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_parts_however_they_are_cut),
        cmocka_unit_test(accepts_preamble_padding_and_empty_parts),
        cmocka_unit_test(is_not_fooled_by_near_boundaries),
        cmocka_unit_test(hands_on_what_comes_in_one_piece),
        cmocka_unit_test(refuses_bodies_that_end_early),
        cmocka_unit_test(refuses_malformed_forms),
        cmocka_unit_test(refuses_bad_types),
        cmocka_unit_test(limits_heads_and_parts),
        cmocka_unit_test(carries_a_refusal_through),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_release(&told);
    return failed;
}
