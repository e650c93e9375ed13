/* Events, cut in every way that a network can cut them, and those that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "wyoming/protocol.h"

/* What the parser told, as one text: "type{data}payload;" for each event. */
static struct buf told;

static int set_up(void **state)
{
    (void)state;
    buf_init(&told, 1 << 24);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_release(&told);
    return 0;
}

static void tell(const struct wyoming_event *event)
{
    char *data = json_dumps(event->data, JSON_COMPACT | JSON_SORT_KEYS);
    buf_printf(&told, "%s%s", event->type, data);
    buf_add(&told, event->payload, event->payload_length);
    buf_char(&told, ';');
    free(data);
}

/* Feed in pieces, each a copy of its own size, so that a sanitizer sees every read past
 * its end. Returns the last status. */
static int feed(const void *bytes, size_t length, size_t piece, struct err *e)
{
    struct wyoming_parser p;
    struct wyoming_event event;
    int status = 0;
    buf_reset(&told);
    wyoming_parser_init(&p);
    for (size_t at = 0; status >= 0 && at < length; at += piece) {
        size_t n = length - at < piece ? length - at : piece, used = 0;
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, (const char *)bytes + at, n);
        for (size_t from = 0; from < n || status == 1; from += used) {
            status = wyoming_parser_feed(&p, copy + from, n - from, &used, &event, e);
            if (status == 1) {
                tell(&event);
                wyoming_event_release(&event);
            }
            if (status < 0 || (!status && from + used == n))
                break;
        }
        free(copy);
    }
    wyoming_parser_release(&p);
    return status;
}

static void check(const char *bytes, size_t length, const char *expected)
{
    for (size_t piece = 1; piece <= length; piece++) {
        struct err e = {0};
        if (feed(bytes, length, piece, &e) < 0)
            fail_msg("pieces of %zu: %s", piece, e.message);
        assert_string_equal(buf_cstr(&told), expected);
    }
}

#define CHECK(bytes, expected) check(bytes, sizeof(bytes) - 1, expected)

static void events_are_read_however_they_are_cut(void **state)
{
    (void)state;
    CHECK("{\"type\":\"describe\"}\n", "describe{};");
    CHECK("{\"type\": \"transcribe\", \"version\": \"1.7.2\", \"data_length\": 18}\n"
          "{\"language\": \"en\"}{\"type\":\"ping\",\"data\":{\"text\":\"x\"}}\n",
          "transcribe{\"language\":\"en\"};ping{\"text\":\"x\"};");
    /* The data behind the line wins over that in it. */
    CHECK("{\"type\":\"a\",\"data\":{\"x\":1,\"y\":2},\"data_length\":7}\n{\"x\":3}",
          "a{\"x\":3,\"y\":2};");
    CHECK("{\"type\":\"audio-chunk\",\"data\":null,\"data_length\":null,"
          "\"payload_length\":4}\na\nb{{\"type\":\"audio-stop\",\"payload_length\":0}\n",
          "audio-chunk{}a\nb{;audio-stop{};");
    CHECK("{\"type\":\"a\",\"data_length\":2,\"payload_length\":3}\n{}xyz", "a{}xyz;");
}

static void refuse(const char *bytes, int code)
{
    for (size_t piece = 1; piece <= 4; piece++) {
        struct err e = {0};
        assert_int_equal(feed(bytes, strlen(bytes), piece, &e), code);
        assert_int_equal(e.code, code);
        assert_true(strlen(e.message) > 10);
    }
}

static void what_is_no_event_is_refused(void **state)
{
    (void)state;
    refuse("\n", ERR_CORRUPT);
    refuse("GET / HTTP/1.1\n", ERR_CORRUPT);
    refuse("[]\n", ERR_CORRUPT);
    refuse("{\"type\":5}\n", ERR_CORRUPT);
    refuse("{\"type\":\"a\",\"type\":\"b\"}\n", ERR_CORRUPT);
    refuse("{\"type\":\"a\",\"data\":[]}\n", ERR_CORRUPT);
    refuse("{\"type\":\"a\",\"data_length\":-1}\n", ERR_CORRUPT);
    refuse("{\"type\":\"a\",\"data_length\":1.5}\n", ERR_CORRUPT);
    refuse("{\"type\":\"a\",\"payload_length\":true}\n", ERR_CORRUPT);
    refuse("{\"type\":\"a\",\"data_length\":3}\n[1]", ERR_CORRUPT);
    refuse("{\"type\":\"a\",\"data_length\":1048577}\n", ERR_TOO_LARGE);
    refuse("{\"type\":\"a\",\"payload_length\":1048577}\n", ERR_TOO_LARGE);
    refuse("{\"type\":\"a\",\"payload_length\":9223372036854775807}\n", ERR_TOO_LARGE);
}

static void limits_are_held_to_the_byte(void **state)
{
    (void)state;
    struct err e = {0};
    char *line = malloc(WYOMING_LINE_MAX + 2);
    assert_non_null(line);
    memset(line, ' ', WYOMING_LINE_MAX + 2);
    memcpy(line, "{\"type\":\"a\"}", 12);
    line[WYOMING_LINE_MAX] = '\n';
    assert_true(feed(line, WYOMING_LINE_MAX + 1, 1000, &e) >= 0);
    assert_string_equal(buf_cstr(&told), "a{};");
    line[WYOMING_LINE_MAX] = ' ';
    line[WYOMING_LINE_MAX + 1] = '\n';
    assert_int_equal(feed(line, WYOMING_LINE_MAX + 2, 1000, &e), ERR_TOO_LARGE);
    free(line);
    size_t length = 42 + WYOMING_PAYLOAD_MAX;
    char *chunk = calloc(1, length);
    assert_non_null(chunk);
    int n = snprintf(chunk, 64, "{\"type\":\"a\",\"payload_length\":%zu}\n",
                     WYOMING_PAYLOAD_MAX);
    assert_true(feed(chunk, (size_t)n + WYOMING_PAYLOAD_MAX, 65536, &e) >= 0);
    assert_int_equal(told.length, 4 + WYOMING_PAYLOAD_MAX);
    free(chunk);
}

static void what_is_written_can_be_read(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(wyoming_event_write(&out, "transcript-stop", NULL), 0);
    assert_int_equal(
        wyoming_event_write(&out, "transcript", json_pack("{s:s}", "text", "süß\n")), 0);
    check(out.data, out.length,
          "transcript-stop{};transcript{\"text\":\"s\xc3\xbc\xc3\x9f\\n\"};");
    buf_release(&out);
    buf_init(&out, 10);
    assert_int_equal(wyoming_event_write(&out, "transcript-stop", NULL), ERR_NOMEM);
    buf_release(&out);
}

static int format(const char *json, struct wyoming_format *f)
{
    json_t *data = json_loads(json, 0, NULL);
    int status = wyoming_format_read(f, data, NULL);
    json_decref(data);
    return status;
}

static void formats_are_read_and_written(void **state)
{
    (void)state;
    struct wyoming_format f;
    uint8_t head[WYOMING_WAV_SIZE];
    assert_int_equal(format("{\"rate\":48000,\"width\":4,\"channels\":2}", &f), 0);
    wyoming_wav_head(&f, 80, head);
    static const uint8_t expected[WYOMING_WAV_SIZE] =
        "RIFF\x74\0\0\0WAVEfmt \x10\0\0\0\1\0\2\0\x80\xBB\0\0\0\xDC\5\0\x8\0\x20\0"
        "data\x50\0\0";
    assert_memory_equal(head, expected, sizeof head);
    wyoming_wav_head(&f, WYOMING_WAV_OPEN, head);
    assert_memory_equal(head + 4, "\xFF\xFF\xFF\xFF", 4);
    assert_memory_equal(head + 40, "\xFF\xFF\xFF\xFF", 4);
    assert_int_equal(format("{\"rate\":48000,\"width\":0,\"channels\":2}", &f),
                     ERR_INVALID);
    assert_int_equal(format("{\"rate\":48000.5,\"width\":2,\"channels\":2}", &f),
                     ERR_INVALID);
    assert_int_equal(format("{\"rate\":48000,\"width\":2,\"channels\":33}", &f),
                     ERR_INVALID);
    assert_int_equal(format("{\"width\":2,\"channels\":1}", &f), ERR_INVALID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(events_are_read_however_they_are_cut), TEST(what_is_no_event_is_refused),
        TEST(limits_are_held_to_the_byte),          TEST(what_is_written_can_be_read),
        TEST(formats_are_read_and_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
