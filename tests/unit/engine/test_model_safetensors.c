/* Hugging Face folders: the same model as in a ggml file, and what is refused. */
#include "base/fs.h"
#include "base/mem.h"
#include "engine/model.h"
#include "engine/model_source.h"
#include "model_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct folder {
    struct model_files files;
    char path[128];
};

static int set_up(void **state)
{
    struct folder *d = calloc(1, sizeof *d);
    model_files_folder_new(d->path, sizeof d->path);
    model_files_init(&d->files, TENSOR_F16, true);
    model_files_folder(&d->files, d->path, 1);
    *state = d;
    return 0;
}

static int tear_down(void **state)
{
    struct folder *d = *state;
    model_files_folder_remove(d->path);
    model_files_release(&d->files);
    free(d);
    return 0;
}

static int load(const char *path, struct err *e)
{
    struct whisper_model *m = NULL;
    *e = (struct err){0};
    int status = whisper_model_load(&m, path, WHISPER_WEIGHTS_AS_GIVEN, e);
    whisper_model_free(m);
    return status;
}

static void refused(const struct folder *d, const char *words)
{
    struct err e;
    if (load(d->path, &e) >= 0)
        fail_msg("a folder was taken that must be refused with \"%s\"", words);
    if (!strstr(e.message, words))
        fail_msg("\"%s\" does not say \"%s\"", e.message, words);
}

static char *read_file(const struct folder *d, const char *name, size_t *length)
{
    char path[256];
    struct buf text;
    buf_init(&text, 64 << 20);
    (void)snprintf(path, sizeof path, "%s/%s", d->path, name);
    assert_int_equal(fs_read(path, &text, NULL), 0);
    *length = text.length;
    return buf_take(&text);
}

/* Write the file with `old`, which must be in it, replaced by `new`; then it must be
 * refused; then mend it. */
static void refused_with(const struct folder *d, const char *name, const char *old,
                         const char *new, const char *words)
{
    size_t length;
    char *text = read_file(d, name, &length);
    const char *at = memmem(text, length, old, strlen(old));
    assert_non_null(at);
    struct buf changed;
    buf_init(&changed, 64 << 20);
    buf_add(&changed, text, (size_t)(at - text));
    buf_str(&changed, new);
    buf_add(&changed, at + strlen(old), length - (size_t)(at - text) - strlen(old));
    model_files_write(d->path, name, changed.data, changed.length);
    refused(d, words);
    model_files_write(d->path, name, text, length);
    buf_release(&changed);
    free(text);
}

/* ---- what is read ----------------------------------------------------------------- */

/* The ggml reader is checked element by element: what both give must be the same. The
 * mel filters, which a folder does not have, are not compared. */
static void check_same_as_ggml(enum tensor_type type, int n_shards)
{
    struct folder d;
    char path[64];
    struct err e;
    struct whisper_model *a = NULL, *b = NULL;
    model_files_folder_new(d.path, sizeof d.path);
    model_files_init(&d.files, type, true);
    model_files_folder(&d.files, d.path, n_shards);
    if (whisper_model_load(&a, d.path, WHISPER_WEIGHTS_AS_GIVEN, &e))
        fail_msg("%s", e.message);
    buf_reset(&d.files.bytes);
    model_files_ggml(&d.files);
    int fd =
        model_files_memory(d.files.bytes.data, d.files.bytes.length, path, sizeof path);
    assert_int_equal(whisper_model_load(&b, path, WHISPER_WEIGHTS_AS_GIVEN, &e), 0);
    assert_string_equal(a->weights_name, b->weights_name);
    assert_int_equal(a->image_bytes, b->image_bytes);
    size_t filters =
        (size_t)((const uint8_t *)a->mel_filters - (const uint8_t *)a->image);
    size_t after = filters + 80 * MEL_FILTER_BINS * sizeof(float);
    assert_memory_equal(a->image, b->image, filters);
    const uint8_t *rest_a = (const uint8_t *)a->image + after;
    const uint8_t *rest_b = (const uint8_t *)b->image + after;
    assert_int_equal(memcmp(rest_a, rest_b, a->image_bytes - after), 0);
    whisper_model_free(a);
    whisper_model_free(b);
    close(fd);
    model_files_folder_remove(d.path);
    model_files_release(&d.files);
}

static void test_gives_what_a_ggml_file_gives(void **state)
{
    (void)state;
    check_same_as_ggml(TENSOR_F32, 1);
    check_same_as_ggml(TENSOR_F16, 1);
    check_same_as_ggml(TENSOR_BF16, 1);
    check_same_as_ggml(TENSOR_F16, 3);
}

/* Written by an independent program, at six places of the two tables. */
static void test_mel_filters_are_slaneys(void **state)
{
    (void)state;
    static float filters[128 * MEL_FILTER_BINS];
    mel_filters_compute(80, filters);
    for (int m = 0; m < 80; m++) {
        double area = 0;
        for (int bin = 0; bin < MEL_FILTER_BINS; bin++)
            area += (double)filters[m * MEL_FILTER_BINS + bin] * 40;
        /* Unit area, as far as a triangle over bins of 40 Hz can tell. */
        assert_true(area > 0.6 && area < 1.4);
    }
    assert_true(filters[0] == 0);
    assert_true(filters[1] > 0.0248F && filters[1] < 0.0249F);
    assert_true(filters[79 * MEL_FILTER_BINS + 200] < 1e-9F);
    mel_filters_compute(128, filters);
    assert_true(filters[1] > 0.0123F && filters[1] < 0.0125F);
}

static void test_takes_the_old_tokenizer_files(void **state)
{
    struct folder *d = *state;
    size_t length;
    struct err e;
    char *text = read_file(d, "tokenizer.json", &length);
    char *begin = strstr(text, "\"vocab\":") + strlen("\"vocab\":");
    char *end = strstr(begin, ",\"merges\"");
    model_files_write(d->path, "vocab.json", begin, (size_t)(end - begin));
    static const char added[] = "{\"<|startoftranscript|>\":50258,\"<|yo|>\":50325,"
                                "\"<|transcribe|>\":50359,\"<|notimestamps|>\":50363}";
    model_files_write(d->path, "added_tokens.json", added, sizeof added - 1);
    char path[256];
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", d->path);
    assert_int_equal(unlink(path), 0);
    if (load(d->path, &e))
        fail_msg("%s", e.message);
    refused_with(d, "added_tokens.json", "50325", "50326", "<|so|>");
    free(text);
}

/* Models of the inner class have no "model." before their names; some files have the last
 * layer as well, which is the embedding again. */
static void heads_told(const struct folder *d, const char *json, int n)
{
    struct whisper_model *m = NULL;
    struct err e;
    model_files_write(d->path, "generation_config.json", json, strlen(json));
    if (whisper_model_load(&m, d->path, WHISPER_WEIGHTS_AS_GIVEN, &e))
        fail_msg("%s", e.message);
    assert_int_equal(m->config.n_align_heads, n);
    if (n)
        assert_int_equal(m->config.align_heads[0][0] + m->config.align_heads[0][1], 0);
    whisper_model_free(m);
}

/* Of a model of one layer and one head. */
static void test_alignment_heads(void **state)
{
    const struct folder *d = *state;
    heads_told(d, "{\"alignment_heads\": [[0, 0], [0, 0]]}", 1);
    heads_told(d, "{\"alignment_heads\": [[0, 0], [1, 0]]}", 0);
    heads_told(d, "{\"alignment_heads\": [[0, -1]]}", 0);
    heads_told(d, "{\"alignment_heads\": [[0]]}", 0);
    heads_told(d, "{\"alignment_heads\": 3}", 0);
    heads_told(d, "{}", 0);
    model_files_write(d->path, "generation_config.json", "{", 1);
    refused(d, "generation_config.json");
}

static void test_names_without_prefix_and_the_tied_layer(void **state)
{
    struct folder *d = *state;
    size_t length;
    uint64_t header;
    struct err e;
    char *bytes = read_file(d, "model.safetensors", &length);
    memcpy(&header, bytes, sizeof header);
    struct buf file, text;
    buf_init(&text, 1 << 20);
    for (uint64_t i = 8; i < 8 + header;) {
        bool prefix = bytes[i] == 'm' && !strncmp(bytes + i, "model.", 6);
        i += prefix ? 6 : 0;
        buf_char(&text, bytes[i++]);
    }
    size_t data = length - 8 - (size_t)header;
    text.length--;
    buf_printf(&text,
               ",\"proj_out.weight\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":"
               "[%zu,%zu]}}",
               data, data + 4);
    header = text.length;
    buf_init(&file, 64 << 20);
    buf_add(&file, &header, sizeof header);
    buf_add(&file, text.data, text.length);
    buf_add(&file, bytes + length - data, data);
    buf_add(&file, "\0\0\0\0", 4);
    model_files_write(d->path, "model.safetensors", file.data, file.length);
    if (load(d->path, &e))
        fail_msg("%s", e.message);
    buf_release(&file);
    buf_release(&text);
    free(bytes);
}

/* ---- what is refused --------------------------------------------------------------- */

static void test_configs_of_other_models(void **state)
{
    static const char name[] = "config.json";
    struct folder *d = *state;
    refused_with(d, name, "\"whisper\"", "\"bert\"", "\"bert\", not whisper");
    refused_with(d, name, "\"gelu\"", "\"relu\"", "relu");
    refused_with(d, name, "\"encoder_ffn_dim\":256", "\"encoder_ffn_dim\":255",
                 "encoder_ffn_dim");
    refused_with(d, name, "\"model_type\"", "\"scale_embedding\":true,\"model_type\"",
                 "scale_embedding");
    refused_with(d, name, "\"model_type\"",
                 "\"tie_word_embeddings\":false,\"model_type\"", "tie_word_embeddings");
    refused_with(d, name, "\"d_model\":64", "\"d_model\":640", "heads");
    refused_with(d, name, "\"d_model\":64", "\"d_model\":-64", "\"d_model\" is -64");
    refused_with(d, name, "\"d_model\":64", "\"d_model\":99999999999", "99999999999");
    refused_with(d, name, "\"d_model\":64", "\"d_model\":64.5", "no whole number");
    refused_with(d, name, "\"d_model\":64,", "", "no whole number \"d_model\"");
    refused_with(d, name, "\"encoder_layers\":1", "\"encoder_layers\":2", "15 of 65");
    refused_with(d, name, "{", "{{", "not valid JSON");
    refused_with(d, name, "{", "{\"d_model\":64,", "not valid JSON");
    model_files_write(d->path, name, "[]", 2);
    refused(d, "not a JSON object");
    model_files_write(d->path, name, "", 0);
    refused(d, "not valid JSON");
    char *deep = malloc(1 << 20);
    memset(deep, '[', 1 << 20);
    model_files_write(d->path, name, deep, 1 << 20);
    refused(d, "not valid JSON");
    char path[256];
    (void)snprintf(path, sizeof path, "%s/config.json", d->path);
    assert_int_equal(truncate(path, (1 << 20) + 1), 0);
    refused(d, "plausible");
    free(deep);
}

static void test_tokenizers_of_other_models(void **state)
{
    static const char name[] = "tokenizer.json";
    struct folder *d = *state;
    refused_with(d, name, "\"<|de|>\"", "\"<|fr|>\"", "<|de|>");
    refused_with(d, name, "\"<|transcribe|>\"", "\"<|translate|>\"", "<|transcribe|>");
    refused_with(d, name, "{\"id\":50359,\"content\":\"<|transcribe|>\"},", "",
                 "no token <|transcribe|>");
    refused_with(d, name, "50258", "58", "id 58");
    refused_with(d, name, "50258", "51865", "id 51865");
    refused_with(d, name, "\"<|endoftext|>\":50257", "\"<|endoftext|>\":50256",
                 "no token <|endoftext|>");
    refused_with(d, name, "\"BPE\"", "\"Unigram\"", "byte pairs");
    refused_with(d, name, "\"\\u0100\":0,", "", "no token has the id 0");
    refused_with(d, name, "\"\\u0100\":0,", "\"\\u0100\":1,", "two tokens have the id 1");
    refused_with(d, name, "\"\\u0100\":0,", "\"\\u0144\":0,", "stands for no byte");
    refused_with(d, name, "\"\\u0100\":0,", "\"\\u4e00\":0,", "stands for no byte");
    refused_with(d, name, "\"\\u0100\":0,", "\"\\u0100\":\"0\",", "no id from 0");
    refused_with(d, name, "\"merges\":[\"\\u0100 \\u0100\"",
                 "\"merges\":[\"\\u0100 \\u0101\"",
                 "merge 0 does not make the token 256");
    refused_with(d, name, "\"merges\":[\"\\u0100 \\u0100\"", "\"merges\":[\"\\u0100\"",
                 "merge 0 is not a pair");
    refused_with(d, name, "\"model\":", "\"modem\":", "byte pairs");
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", d->path, name);
    unlink(path);
    refused(d, "tokenizer.json");
}

static void test_damaged_weights(void **state)
{
    static const char name[] = "model.safetensors";
    struct folder *d = *state;
    refused_with(d, name, "\"dtype\":\"F16\"", "\"dtype\":\"I64\"", "\"I64\"");
    refused_with(d, name, "\"shape\":[64,80,3]", "\"shape\":[64,3,80]",
                 "[64][3][80] instead of [64][80][3]");
    refused_with(d, name, "\"shape\":[64,80,3]", "\"shape\":[15360  ]",
                 "[15360] instead of [64][80][3]");
    refused_with(d, name, "\"data_offsets\":[0,", "\"data_offsets\":[2,",
                 "bytes instead");
    refused_with(d, name, "\"data_offsets\":[0,", "\"data_offsets\":[-,", "JSON");
    refused_with(d, name, "conv1.weight", "conv3.weight", "conv3.weight is none");
    refused_with(d, name, "encoder.conv1.bias", "encoder.conv2.bias", "not valid JSON");
    refused_with(d, name, "model.encoder.conv1.bias\"", "encoder.conv2.bias\"      ",
                 "twice");
    refused_with(d, name, "\"__metadata__\"", "\"__metadatum_\"", "no data_offsets");
    size_t length;
    char *bytes = read_file(d, name, &length);
    static const uint64_t headers[] = {0,        1,          1 << 20,
                                       17 << 20, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < ARRAY_LENGTH(headers); i++) {
        memcpy(bytes, &headers[i], sizeof headers[i]);
        model_files_write(d->path, name, bytes, length);
        refused(d, "model.safetensors");
    }
    free(bytes);
}

static void test_cut_and_lengthened_weights(void **state)
{
    struct folder *d = *state;
    char path[256];
    size_t length;
    char *bytes = read_file(d, "model.safetensors", &length);
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    const size_t cuts[] = {
        length - 1, length / 2, 8 + (size_t)header, 7 + (size_t)header, 100, 8, 7, 0};
    (void)snprintf(path, sizeof path, "%s/model.safetensors", d->path);
    assert_int_equal(truncate(path, (off_t)length + 1), 0);
    refused(d, "1 bytes follow");
    for (size_t i = 0; i < ARRAY_LENGTH(cuts); i++) {
        assert_int_equal(truncate(path, (off_t)cuts[i]), 0);
        refused(d, "model.safetensors");
    }
    const uint16_t nan = 0x7E00;
    memcpy(bytes + 8 + header, &nan, sizeof nan);
    model_files_write(d->path, "model.safetensors", bytes, length);
    refused(d, "encoder.conv1.weight holds a value that is not a finite number");
    unlink(path);
    refused(d, "has no model.safetensors");
    model_files_write(d->path, "pytorch_model.bin", "PK", 2);
    refused(d, "safe_serialization");
    free(bytes);
}

static void test_overlapping_tensors(void **state)
{
    struct folder *d = *state;
    size_t length;
    char *bytes = read_file(d, "model.safetensors", &length);
    /* The two vectors of the encoder's last norm at the same place. */
    char *gain = strstr(bytes + 8, "encoder.layer_norm.weight");
    char *offsets = strstr(gain, "offsets\":[") + 10, *end = strchr(offsets, ']');
    char *bias = strstr(bytes + 8, "encoder.layer_norm.bias");
    char *other = strstr(bias, "offsets\":[") + 10, *other_end = strchr(other, ']');
    assert_int_equal(end - offsets, other_end - other);
    memcpy(other, offsets, (size_t)(end - offsets));
    model_files_write(d->path, "model.safetensors", bytes, length);
    refused(d, "overlap");
    free(bytes);
}

static void test_indexes_that_lie(void **state)
{
    static const char name[] = "model.safetensors.index.json";
    struct folder *d = *state;
    struct err e;
    char path[256];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", d->path);
    unlink(path);
    model_files_folder(&d->files, d->path, 2);
    assert_int_equal(load(d->path, &e), 0);
    static const char first[] = "\"model-00001-of-00002.safetensors\"";
    static const char *const tricks[] = {
        "\"../model-00001-of-00002.safetensors\"",
        "\"/etc/passwd\"",
        "\"./model-00001-of-00002.safetensors\"",
        "\"x/../model-00001-of-00002.safetensors\"",
        "\"..\"",
        "\"\"",
        "\".safetensors\"",
        "\"config.json\"",
        "\"model-00001-of-00002.safetensors/\"",
        "7",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(tricks); i++)
        refused_with(d, name, first, tricks[i], "which is not the name");
    refused_with(d, name, first, "\"model-00003-of-00002.safetensors\"", "model-00003");
    refused_with(d, name, first, "\"model-00002-of-00002.safetensors\"",
                 "does not place the tensor model.encoder.conv1.weight here");
    refused_with(d, name, "model.encoder.conv1.weight", "model.encoder.conv9.weight",
                 "does not place");
    refused_with(d, name, "weight_map", "weight_maq", "no weight_map");
    model_files_write(d->path, name, "{\"weight_map\":{}}", 17);
    refused(d, "50 of 50 tensors are missing");
}

int main(void)
{
#define FOLDER_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gives_what_a_ggml_file_gives),
        cmocka_unit_test(test_mel_filters_are_slaneys),
        FOLDER_TEST(test_alignment_heads),
        FOLDER_TEST(test_takes_the_old_tokenizer_files),
        FOLDER_TEST(test_names_without_prefix_and_the_tied_layer),
        FOLDER_TEST(test_configs_of_other_models),
        FOLDER_TEST(test_tokenizers_of_other_models),
        FOLDER_TEST(test_damaged_weights),
        FOLDER_TEST(test_cut_and_lengthened_weights),
        FOLDER_TEST(test_overlapping_tensors),
        FOLDER_TEST(test_indexes_that_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
