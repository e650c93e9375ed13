/* Files that are damaged or made to harm: each is refused with a sentence that names what
 * is wrong, and none is believed before it is checked. */
#include "base/mem.h"
#include "engine/model.h"
#include "model_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* One file in memory that the tests damage and mend. */
struct damage {
    struct model_files files;
    char path[64];
    int fd;
};

static int set_up(void **state)
{
    struct damage *d = calloc(1, sizeof *d);
    model_files_init(&d->files, TENSOR_F16, false);
    model_files_ggml(&d->files);
    d->fd = model_files_memory(d->files.bytes.data, d->files.bytes.length, d->path,
                               sizeof d->path);
    *state = d;
    return 0;
}

static int tear_down(void **state)
{
    struct damage *d = *state;
    close(d->fd);
    model_files_release(&d->files);
    free(d);
    return 0;
}

static int load(const struct damage *d, struct err *e)
{
    struct whisper_model *m = NULL;
    *e = (struct err){0};
    int status = whisper_model_load(&m, d->path, WHISPER_WEIGHTS_AS_GIVEN, e);
    whisper_model_free(m);
    return status;
}

static void write_at(const struct damage *d, size_t at, const void *bytes, size_t n)
{
    assert_int_equal(pwrite(d->fd, bytes, n, (off_t)at), (ssize_t)n);
}

static void mend(const struct damage *d, size_t at, size_t n)
{
    write_at(d, at, d->files.bytes.data + at, n);
}

/* The file with other bytes at `at` must be refused, with these words. */
static void refused(const struct damage *d, size_t at, const void *bytes, size_t n,
                    const char *words)
{
    struct err e;
    write_at(d, at, bytes, n);
    int status = load(d, &e);
    mend(d, at, n);
    if (status >= 0)
        fail_msg("bytes %zu to %zu were changed and the file was taken", at, at + n);
    if (!strstr(e.message, words))
        fail_msg("\"%s\" does not say \"%s\"", e.message, words);
}

static void refused_i32(const struct damage *d, size_t at, int32_t value,
                        const char *words)
{
    refused(d, at, &value, sizeof value, words);
}

static void flip_every_bit(const struct damage *d, size_t at, size_t n, int step)
{
    for (size_t bit = 0; bit < n * 8; bit += (size_t)step) {
        uint8_t byte = (uint8_t)d->files.bytes.data[at + bit / 8];
        byte ^= (uint8_t)(1 << bit % 8);
        refused(d, at + bit / 8, &byte, 1, "");
    }
}

static void test_the_undamaged_file_loads(void **state)
{
    struct err e;
    assert_int_equal(load(*state, &e), 0);
}

static void test_every_flipped_bit_of_the_header(void **state)
{
    flip_every_bit(*state, 0, 48, 1);
}

static void test_flipped_bits_of_sections(void **state)
{
    struct damage *d = *state;
    flip_every_bit(d, d->files.filters_at, 8, 1);
    flip_every_bit(d, d->files.vocab_at, 4 + 5 * 10, 1);
    flip_every_bit(d, d->files.vocab_at + 4 + 5 * 256, 6 * 4, 1);
    /* Of the last token only the length: with other bytes it would be as good. */
    flip_every_bit(d, d->files.tensors_at - 6, 4, 1);
}

static void test_flipped_bits_of_tensor_headers(void **state)
{
    struct damage *d = *state;
    for (int part = 0; part < d->files.plan->n_parts; part++) {
        size_t at = d->files.head_at[part];
        bool all = part == 0 || part == d->files.plan->n_parts - 1;
        flip_every_bit(d, at, d->files.data_at[part] - at, all ? 1 : 29);
    }
}

static void cut_at(const struct damage *d, size_t length)
{
    struct err e;
    size_t whole = d->files.bytes.length;
    assert_int_equal(ftruncate(d->fd, (off_t)length), 0);
    int status = load(d, &e);
    assert_int_equal(ftruncate(d->fd, (off_t)whole), 0);
    mend(d, length, whole - length);
    if (status >= 0)
        fail_msg("the file was cut after %zu of %zu bytes and taken", length, whole);
}

static void cut_around(const struct damage *d, size_t boundary)
{
    size_t whole = d->files.bytes.length;
    for (size_t at = boundary ? boundary - 1 : 0; at <= boundary + 1; at++)
        if (at < whole)
            cut_at(d, at);
}

/* From the end to the beginning, so that mending copies little each time. */
static void test_cut_off_anywhere(void **state)
{
    struct damage *d = *state;
    const struct model_files *f = &d->files;
    cut_at(d, f->bytes.length - 1);
    for (int part = f->plan->n_parts - 1; part >= 0; part--) {
        cut_around(d, f->data_at[part]);
        cut_around(d, f->head_at[part]);
    }
    for (size_t field = 0; field < 12; field++)
        cut_around(d, 4 * field);
    cut_around(d, f->filters_at);
    cut_around(d, f->filters_at + 8);
    cut_around(d, f->vocab_at);
    cut_around(d, f->vocab_at + 4 + 5 * 256);
    uint32_t random = 1;
    for (int i = 0; i < 40; i++) {
        random = random * 1664525 + 1013904223;
        cut_at(d, random % f->bytes.length);
    }
}

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif

/* The sanitizer's own memory does not fit into any limit. */
static void limit_memory(rlim_t bytes)
{
#ifdef ADDRESS_SANITIZER
    (void)bytes;
#else
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
#endif
}

/* A size that a file claims must not be asked of the system: with a limit on memory, the
 * message would be another one. */
static void test_hostile_counts(void **state)
{
    struct damage *d = *state;
    const struct model_files *f = &d->files;
    static const int32_t values[] = {INT32_MIN, -1, 0, 4097, 0x7FFFFFFF};
    limit_memory(1 << 30);
    for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
        for (size_t field = 1; field < 12; field++)
            refused_i32(d, 4 * field, values[i], "");
        refused_i32(d, f->filters_at, values[i], "mel filters");
        refused_i32(d, f->filters_at + 4, values[i], "mel filters");
        refused_i32(d, f->vocab_at, values[i], "vocabulary");
        refused_i32(d, f->head_at[2], values[i], "dimensions");
        refused_i32(d, f->head_at[2] + 4, values[i], "dimensions");
        refused_i32(d, f->head_at[2] + 12, values[i], "instead of");
        refused_i32(d, f->head_at[2] + 16, values[i], "instead of");
    }
    refused_i32(d, f->vocab_at + 4, INT32_MAX, "token 0");
    refused_i32(d, f->vocab_at + 4, -5, "token 0");
    limit_memory(RLIM_INFINITY);
}

static void test_each_dimension_has_its_sentence(void **state)
{
    struct damage *d = *state;
    refused_i32(d, 4, 51000, "51000 tokens");
    refused_i32(d, 8, 1499, "1499 positions");
    refused_i32(d, 12, 128, "heads");
    refused_i32(d, 12, 100000, "width is 100000");
    refused_i32(d, 16, 2, "a head must be 64");
    refused_i32(d, 20, 65, "65 layers");
    refused_i32(d, 24, 9, "9 positions");
    refused_i32(d, 40, 81, "81 mel bins");
    refused_i32(d, 44, 0, "f32");
    refused_i32(d, 44, 17, "unknown type");
    refused_i32(d, 44, 1002, "old format");
    refused_i32(d, 44, 7, "old format");
    const int32_t wide[] = {128, 2};
    refused(d, 12, wide, sizeof wide, "they must be equal");
}

static int part_of(const struct damage *d, const char *name)
{
    int part = plan_find_ggml(d->files.plan, name, strlen(name));
    assert_true(part >= 0);
    return part;
}

static void test_values_that_are_not_finite_name_their_tensor(void **state)
{
    struct damage *d = *state;
    static const char *const halves[] = {"encoder.conv1.weight",
                                         "decoder.token_embedding.weight",
                                         "decoder.blocks.0.cross_attn.value.weight"};
    static const char *const floats[] = {"encoder.conv2.bias", "decoder.ln.weight",
                                         "encoder.positional_embedding",
                                         "encoder.blocks.0.attn.value.bias"};
    const uint16_t infinity = 0xFC00, nan = 0x7C01;
    const uint32_t nan32 = 0xFFC00000, infinity32 = 0x7F800000;
    for (size_t i = 0; i < ARRAY_LENGTH(halves); i++) {
        int part = part_of(d, halves[i]);
        size_t n = plan_part_elements(&d->files.plan->parts[part]);
        size_t at = d->files.data_at[part];
        refused(d, at, &nan, 2, halves[i]);
        refused(d, at + (n - 1) * 2, &infinity, 2, halves[i]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(floats); i++) {
        int part = part_of(d, floats[i]);
        size_t n = plan_part_elements(&d->files.plan->parts[part]);
        size_t at = d->files.data_at[part];
        refused(d, at, &nan32, 4, floats[i]);
        refused(d, at + (n - 1) * 4, &infinity32, 4, floats[i]);
    }
    refused(d, d->files.filters_at + 8, &nan32, 4, "mel filters");
}

/* Two bad tensors: whichever thread finds one first, the first is named. */
static void test_the_first_bad_tensor_is_named(void **state)
{
    struct damage *d = *state;
    const uint32_t nan32 = 0x7FC00000;
    size_t first = d->files.data_at[part_of(d, "encoder.conv1.bias")];
    write_at(d, first, &nan32, 4);
    for (int i = 0; i < 5; i++)
        refused(d, d->files.data_at[part_of(d, "decoder.blocks.0.mlp.2.bias")], &nan32, 4,
                "encoder.conv1.bias");
    mend(d, first, 4);
}

/* A file with the tensors in `order` only. */
static int load_tensors(const int *order, int n, struct err *e)
{
    struct damage d = {0};
    model_files_init(&d.files, TENSOR_F16, false);
    model_files_ggml(&d.files);
    d.files.bytes.length = d.files.tensors_at;
    for (int i = 0; i < n; i++)
        model_files_ggml_tensor(&d.files, order[i]);
    d.fd = model_files_memory(d.files.bytes.data, d.files.bytes.length, d.path,
                              sizeof d.path);
    int status = load(&d, e);
    close(d.fd);
    model_files_release(&d.files);
    return status;
}

static void test_missing_double_and_reordered_tensors(void **state)
{
    struct damage *d = *state;
    int n = d->files.plan->n_parts, order[MODEL_MAX_PARTS + 1];
    struct err e;
    for (int i = 0; i < n; i++)
        order[i] = n - 1 - i;
    assert_int_equal(load_tensors(order, n, &e), 0);
    assert_int_equal(load_tensors(order, n - 1, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.message, "1 of 50 tensors are missing"));
    assert_non_null(strstr(e.message, "encoder.conv1.weight"));
    assert_int_equal(load_tensors(order, 0, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.message, "50 of 50"));
    order[n] = 7;
    assert_int_equal(load_tensors(order, n + 1, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.message, "twice"));
    assert_non_null(strstr(e.message, d->files.plan->parts[7].ggml));
}

static void test_wrong_shapes_and_types(void **state)
{
    struct damage *d = *state;
    int query = part_of(d, "decoder.blocks.0.attn.query.weight");
    int conv = part_of(d, "encoder.conv1.weight");
    refused_i32(d, d->files.head_at[query] + 12, 128, "[64][128] instead of [64][64]");
    refused_i32(d, d->files.head_at[conv] + 12, 80,
                "[64][80][80] instead of [64][80][3]");
    refused_i32(d, d->files.head_at[query] + 8, 14, "type that is not read here (14)");
    refused_i32(d, d->files.head_at[conv] + 8, 8, "no whole blocks");
}

static void test_bytes_after_the_last_tensor(void **state)
{
    struct damage *d = *state;
    struct err e;
    static const char rubbish[] = "more bytes than a tensor's header has, and no tensor";
    for (size_t n = 1; n < sizeof rubbish; n += 10) {
        write_at(d, d->files.bytes.length, rubbish, n);
        assert_int_equal(load(d, &e), ERR_CORRUPT);
        assert_int_equal(ftruncate(d->fd, (off_t)d->files.bytes.length), 0);
    }
}

static void test_vocabularies_that_are_no_byte_pairs(void **state)
{
    struct damage *d = *state;
    size_t first = d->files.vocab_at + 4, pairs = first + 5 * 256;
    refused(d, first + 4, "B", 1, "are the same");
    refused(d, pairs + 4, "BB", 2, "are the same");
    /* The first pair becomes three bytes, of which no two are a token yet. */
    struct err e;
    struct damage other = {0};
    model_files_init(&other.files, TENSOR_F16, false);
    const int32_t length = 3;
    buf_add(&other.files.bytes, d->files.bytes.data, pairs);
    buf_add(&other.files.bytes, &length, 4);
    buf_str(&other.files.bytes, "xyz");
    buf_add(&other.files.bytes, d->files.bytes.data + pairs + 6,
            d->files.bytes.length - pairs - 6);
    other.fd = model_files_memory(other.files.bytes.data, other.files.bytes.length,
                                  other.path, sizeof other.path);
    assert_int_equal(load(&other, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.message, "token 256"));
    close(other.fd);
    model_files_release(&other.files);
}

static void refused_file(const void *bytes, size_t n, int code, const char *words)
{
    struct damage d = {0};
    struct err e;
    d.fd = model_files_memory(bytes, n, d.path, sizeof d.path);
    assert_int_equal(load(&d, &e), code);
    if (!strstr(e.message, words))
        fail_msg("\"%s\" does not say \"%s\"", e.message, words);
    close(d.fd);
}

static void test_what_is_no_model_is_called_by_its_name(void **state)
{
    (void)state;
    refused_file("", 0, ERR_CORRUPT, "is empty");
    refused_file("l", 1, ERR_UNSUPPORTED, "text file");
    refused_file("lmgg", 4, ERR_CORRUPT, "cut off");
    refused_file("Hello, I am a poem.\n", 20, ERR_UNSUPPORTED, "text file");
    refused_file("<!DOCTYPE html><html>", 21, ERR_UNSUPPORTED, "text file");
    refused_file("GGUF\3\0\0\0\0", 9, ERR_UNSUPPORTED, "GGUF");
    refused_file("PK\3\4zzzz", 8, ERR_UNSUPPORTED, "PyTorch");
    refused_file("\x10\0\0\0\0\0\0\0{\"a\":{}}", 16, ERR_UNSUPPORTED, "safetensors");
    refused_file("version https://git-lfs.github.com/spec/v1\n", 43, ERR_UNSUPPORTED,
                 "LFS");
    refused_file("\x7F"
                 "ELF\2\1\1\0\0",
                 9, ERR_UNSUPPORTED, "not a Whisper model");
    static const uint8_t zeros[5000];
    refused_file(zeros, sizeof zeros, ERR_UNSUPPORTED, "not a Whisper model");
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    struct whisper_model *m = NULL;
    struct err e;
    char folder[128], path[160];
    assert_int_equal(
        whisper_model_load(&m, "/nonexistent/model.bin", WHISPER_WEIGHTS_AS_GIVEN, &e),
        ERR_NOT_FOUND);
    assert_int_equal(whisper_model_load(&m, "/dev/zero", WHISPER_WEIGHTS_AS_GIVEN, &e),
                     ERR_INVALID);
    assert_non_null(strstr(e.message, "not a regular file"));
    assert_int_equal(whisper_model_load(&m, "", WHISPER_WEIGHTS_AS_GIVEN, &e),
                     ERR_NOT_FOUND);
    model_files_folder_new(folder, sizeof folder);
    assert_int_equal(whisper_model_load(&m, folder, WHISPER_WEIGHTS_AS_GIVEN, &e),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "without config.json"));
    /* A pipe nobody writes into: no waiting for it. */
    (void)snprintf(path, sizeof path, "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(whisper_model_load(&m, path, WHISPER_WEIGHTS_AS_GIVEN, &e),
                     ERR_INVALID);
    model_files_folder_remove(folder);
    assert_null(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_undamaged_file_loads),
        cmocka_unit_test(test_every_flipped_bit_of_the_header),
        cmocka_unit_test(test_flipped_bits_of_sections),
        cmocka_unit_test(test_flipped_bits_of_tensor_headers),
        cmocka_unit_test(test_cut_off_anywhere),
        cmocka_unit_test(test_hostile_counts),
        cmocka_unit_test(test_each_dimension_has_its_sentence),
        cmocka_unit_test(test_values_that_are_not_finite_name_their_tensor),
        cmocka_unit_test(test_the_first_bad_tensor_is_named),
        cmocka_unit_test(test_missing_double_and_reordered_tensors),
        cmocka_unit_test(test_wrong_shapes_and_types),
        cmocka_unit_test(test_bytes_after_the_last_tensor),
        cmocka_unit_test(test_vocabularies_that_are_no_byte_pairs),
        cmocka_unit_test(test_what_is_no_model_is_called_by_its_name),
        cmocka_unit_test(test_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
