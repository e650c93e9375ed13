/* Real weights: every file in the models' folder loads; what the quantised ones hold is
 * close to the original; a Hugging Face folder gives the same model as the ggml file. */
#include "base/mem.h"
#include "engine/model.h"
#include "engine/model_source.h"
#include "ggml_to_folder.h"
#include "model_files.h"

#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

/* The path of a file in $WT_TEST_MODELS; the test is skipped when it is not there. */
static void model_path(const char *name, char *path, size_t size)
{
    const char *folder = getenv("WT_TEST_MODELS"), *root = getenv("WT_SOURCE_ROOT");
    if (folder)
        (void)snprintf(path, size, "%s/%s", folder, name);
    else
        (void)snprintf(path, size, "%s/models/%s", root ? root : ".", name);
    if (strchr(name, '*') || access(path, R_OK) == 0)
        return;
    print_message("skipped: there is no %s (set WT_TEST_MODELS)\n", path);
    skip();
}

static struct whisper_model *load(const char *path)
{
    struct err e;
    struct whisper_model *m = NULL;
    if (whisper_model_load(&m, path, WHISPER_WEIGHTS_AS_GIVEN, &e))
        fail_msg("%s", e.message);
    return m;
}

/* "ggml-base.en-q5_1.bin" is a base.en with q5_1 weights, "ggml-tiny.bin" f16. */
static void check_name(const char *path, const struct whisper_model_info *info)
{
    char expected[64];
    const char *name = strrchr(path, '/') + 1;
    (void)snprintf(expected, sizeof expected, "ggml-%s-%s.bin", info->type,
                   info->weights);
    if (!strcmp(info->weights, "f16"))
        (void)snprintf(expected, sizeof expected, "ggml-%s.bin", info->type);
    assert_string_equal(name, expected);
}

static void test_every_published_file_loads(void **state)
{
    (void)state;
    char pattern[512];
    glob_t found;
    model_path("ggml-*.bin", pattern, sizeof pattern);
    if (glob(pattern, 0, NULL, &found)) {
        print_message("skipped: there is no %s (set WT_TEST_MODELS)\n", pattern);
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        if (strstr(found.gl_pathv[i], "silero") || strstr(found.gl_pathv[i], "large-v"))
            continue;
        struct whisper_model *m = load(found.gl_pathv[i]);
        struct whisper_model_info info;
        whisper_model_describe(m, &info);
        check_name(found.gl_pathv[i], &info);
        whisper_model_free(m);
    }
    globfree(&found);
}

/* Root of mean squares of the difference, relative to the weights themselves. */
static double distance(const struct weight *a, const struct weight *b)
{
    double difference = 0, size = 0;
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->cols, b->cols);
    for (int row = 0; row < a->rows; row += 7)
        for (int column = 0; column < a->cols; column++) {
            double x = (double)weight_at(a, row, column);
            double y = (double)weight_at(b, row, column);
            difference += (x - y) * (x - y);
            size += x * x;
        }
    return sqrt(difference / size);
}

static void check_quantised(const struct whisper_model *original, const char *name,
                            double low, double high)
{
    char path[512];
    model_path(name, path, sizeof path);
    struct whisper_model *m = load(path);
    for (int i = 0; i < m->config.n_text_layer; i++) {
        double apart = distance(&original->decoder[i].mlp_up, &m->decoder[i].mlp_up);
        if (apart < low || apart > high)
            fail_msg("%s is %g away from the original", name, apart);
    }
    assert_true(distance(&original->conv1, &m->conv1) == 0);
    whisper_model_free(m);
}

/* Half a step of 8 bits, 5 bits and 4 bits, which the scale of a block spreads. */
static void test_quantised_weights_are_near_the_original(void **state)
{
    (void)state;
    char path[512];
    model_path("ggml-tiny.bin", path, sizeof path);
    struct whisper_model *m = load(path);
    check_quantised(m, "ggml-tiny-f32.bin", 0, 0);
    check_quantised(m, "ggml-tiny-q8_0.bin", 0.001, 0.01);
    check_quantised(m, "ggml-tiny-q5_0.bin", 0.01, 0.06);
    check_quantised(m, "ggml-tiny-q5_1.bin", 0.01, 0.06);
    check_quantised(m, "ggml-tiny-q4_0.bin", 0.03, 0.12);
    check_quantised(m, "ggml-tiny-q4_1.bin", 0.03, 0.12);
    whisper_model_free(m);
}

static void test_a_folder_gives_the_same_model(void **state)
{
    (void)state;
    char path[512], folder[128];
    model_path("ggml-tiny.bin", path, sizeof path);
    model_files_folder_new(folder, sizeof folder);
    ggml_to_folder(path, folder);
    struct whisper_model *a = load(path), *b = load(folder);
    model_files_folder_remove(folder);
    /* All but the mel filters, which are computed, byte for byte. */
    assert_int_equal(a->image_bytes, b->image_bytes);
    const uint8_t *x = a->image, *y = b->image;
    size_t filters = (size_t)((const uint8_t *)a->mel_filters - x);
    size_t n_filters = (size_t)a->config.n_mels * MEL_FILTER_BINS;
    size_t after = filters + n_filters * sizeof(float);
    assert_int_equal(memcmp(x, y, filters), 0);
    assert_int_equal(memcmp(x + after, y + after, a->image_bytes - after), 0);
    for (size_t i = 0; i < n_filters; i++) {
        float difference = fabsf(a->mel_filters[i] - b->mel_filters[i]);
        assert_true(difference <= 1e-7F + 1e-6F * fabsf(a->mel_filters[i]));
    }
    whisper_model_free(a);
    whisper_model_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_published_file_loads),
        cmocka_unit_test(test_quantised_weights_are_near_the_original),
        cmocka_unit_test(test_a_folder_gives_the_same_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
