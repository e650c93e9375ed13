#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/digest.h"

static char folder[64];
static struct config config;

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/catalog.XXXXXX");
    config = (struct config){.model_dir = folder};
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    /* Only what these tests make is inside: at most one level of folders. */
    static const char *const names[] = {"ggml-tiny.bin",
                                        "ggml-base.en.bin",
                                        "ggml-small.bin",
                                        "ggml-tiny-q4_0.bin",
                                        "ggml-mine.bin",
                                        "ggml-large-v3.bin",
                                        "ggml-tiny-q5_1.bin",
                                        "mine/config.json",
                                        "ggml-a b.bin",
                                        "ggml-.bin",
                                        "README",
                                        "mine/w.safetensors",
                                        "tiny/config.json",
                                        "ggml-empty.bin",
                                        "ggml-silero-v6.2.0.bin",
                                        "silero_vad_16k_op15.onnx",
                                        "mine",
                                        "tiny"};
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
    return rmdir(folder);
}

static void put(const char *name, const char *bytes)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    mkdir(path, 0700);
    *slash = '/';
    assert_int_equal(fs_write_atomic(path, bytes, strlen(bytes), NULL), 0);
}

static void names_do_not_leave_the_folder(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     ".",   "..",     ".tiny",      "a/b",
                                      "../x", "a b", "tiny\n", "caf\xC3\xA9"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        char path[PATH_MAX];
        assert_false(catalog_name_valid(bad[i]));
        assert_int_equal(catalog_path(&config, bad[i], path, NULL), ERR_INVALID);
    }
    char longest[65];
    memset(longest, 'a', 64);
    longest[64] = '\0';
    assert_false(catalog_name_valid(longest));
    longest[63] = '\0';
    assert_true(catalog_name_valid(longest));
    assert_true(catalog_name_valid("large-v3-turbo-q5_0"));
}

static void every_entry_is_whole(void **state)
{
    (void)state;
    size_t count;
    const struct catalog_entry *entries = catalog_entries(&count);
    assert_int_equal(count, 33);
    for (size_t i = 0; i < count; i++) {
        const struct catalog_entry *x = &entries[i];
        assert_true(catalog_name_valid(x->name));
        assert_ptr_equal(catalog_find(x->name), x); /* no name twice */
        assert_true(x->bytes > 30000000);
        assert_int_equal(strlen(x->sha256), 64);
        assert_int_equal(strspn(x->sha256, "0123456789abcdef"), 64);
        assert_int_equal(!x->npm_package, !x->npm_path);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(x->sha256, entries[j].sha256);
    }
    assert_string_equal(catalog_find("large-v3-turbo")->file, "ggml-large-v3-turbo.bin");
    assert_null(catalog_find("large"));
}

static void a_missing_model_says_how_to_get_it(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct err e = {0};
    assert_int_equal(catalog_path(&config, "tiny", path, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "models pull tiny"));
    assert_int_equal(catalog_path(&config, "tinny", path, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "models list"));
    put("ggml-tiny.bin", "x");
    assert_int_equal(catalog_path(&config, "tiny", path, &e), 0);
    char wanted[PATH_MAX];
    snprintf(wanted, sizeof wanted, "%s/ggml-tiny.bin", folder);
    assert_string_equal(path, wanted);
}

static void present_models_are_listed_best_first(void **state)
{
    (void)state;
    static const char *const files[] = {
        "ggml-tiny-q4_0.bin", "ggml-tiny.bin", "ggml-base.en.bin", "ggml-mine.bin",
        "ggml-large-v3.bin",  "ggml-a b.bin",  "ggml-.bin",        "README",
        "tiny/config.json"};
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++)
        put(files[i], "xyz");
    put("ggml-empty.bin", "");
    struct catalog_present *list;
    size_t count;
    assert_int_equal(catalog_list(&config, &list, &count, NULL), 0);
    static const char *const wanted[] = {"large-v3", "base.en", "tiny", "tiny-q4_0",
                                         "mine"};
    assert_int_equal(count, ARRAY_LENGTH(wanted));
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(list[i].name, wanted[i]);
        assert_int_equal(list[i].bytes, 3);
    }
    free(list);
}

static void a_folder_of_safetensors_is_a_model(void **state)
{
    (void)state;
    char path[PATH_MAX];
    put("mine/config.json", "{}");
    assert_int_equal(catalog_path(&config, "mine", path, NULL), ERR_INVALID);
    put("mine/w.safetensors", "abcd");
    assert_int_equal(catalog_path(&config, "mine", path, NULL), 0);
    char wanted[PATH_MAX];
    snprintf(wanted, sizeof wanted, "%s/mine", folder);
    assert_string_equal(path, wanted);
    struct err e = {0};
    assert_int_equal(catalog_verify(&config, "mine", &e), ERR_UNSUPPORTED);
}

static void the_default_is_asked_for_or_small_or_the_best(void **state)
{
    (void)state;
    char name[64], asked[] = "tiny";
    struct err e = {0};
    assert_int_equal(catalog_default(&config, name, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "models pull small"));
    put("ggml-tiny.bin", "x");
    put("ggml-base.en.bin", "x");
    assert_int_equal(catalog_default(&config, name, &e), 0);
    assert_string_equal(name, "tiny"); /* base.en would not hear other languages */
    char english[] = "en";
    config.language = english;
    assert_int_equal(catalog_default(&config, name, &e), 0);
    assert_string_equal(name, "base.en");
    config.language = NULL;
    put("ggml-large-v3.bin", "x");
    put("ggml-small.bin", "x");
    assert_int_equal(catalog_default(&config, name, &e), 0);
    assert_string_equal(name, "small");
    config.default_model = asked;
    assert_int_equal(catalog_default(&config, name, &e), 0);
    assert_string_equal(name, "tiny");
}

/* A disk that does not answer for once. */
static int stat_errno;
int __real_stat64(const char *path, struct stat *st);
int __wrap_stat64(const char *path, struct stat *st);
int __wrap_stat64(const char *path, struct stat *st)
{
    errno = stat_errno;
    stat_errno = 0;
    return errno ? -1 : __real_stat64(path, st);
}

static void no_other_model_is_taken_while_the_disk_does_not_answer(void **state)
{
    (void)state;
    char name[64] = "", path[PATH_MAX], asked[] = "tiny";
    struct err e = {0};
    put("ggml-tiny.bin", "x");
    put("ggml-small.bin", "x");
    config.default_model = asked;
    stat_errno = EIO;
    assert_int_equal(catalog_default(&config, name, &e), ERR_IO);
    assert_non_null(strstr(e.message, "tiny"));
    assert_string_equal(name, "");
    stat_errno = EIO;
    assert_int_equal(catalog_path(&config, "tiny", path, &e), ERR_IO);
    assert_int_equal(catalog_default(&config, name, &e), 0);
    assert_string_equal(name, "tiny");
}

static void the_voice_detector_is_no_model(void **state)
{
    (void)state;
    char path[PATH_MAX], name[64], own[PATH_MAX];
    struct err e = {0};
    const struct catalog_entry *d = catalog_detector();
    assert_null(catalog_find(d->name));
    assert_int_equal(strlen(d->sha256), 64);
    assert_int_equal(catalog_detector_path(&config, path, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "models pull silero-vad"));
    put("silero_vad_16k_op15.onnx", "xyz");
    put("ggml-silero-v6.2.0.bin", "xyz");
    assert_int_equal(catalog_detector_path(&config, path, &e), 0);
    assert_int_equal(catalog_default(&config, name, &e), ERR_NOT_FOUND);
    assert_int_equal(catalog_path(&config, d->name, path, &e), ERR_INVALID);
    assert_int_equal(catalog_verify(&config, d->name, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.message, "3 bytes"));

    snprintf(own, sizeof own, "%s/README", folder);
    config.vad_model = own; /* VAD_MODEL, which is not there yet */
    assert_int_equal(catalog_detector_path(&config, path, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "VAD_MODEL"));
    put("README", "x");
    assert_int_equal(catalog_detector_path(&config, path, &e), 0);
    assert_string_equal(path, own);
}

static void a_missing_folder_is_named(void **state)
{
    (void)state;
    char missing[] = "/nonexistent/models";
    struct config c = {.model_dir = missing};
    char name[64];
    struct err e = {0};
    assert_int_equal(catalog_default(&c, name, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, missing));
}

static void damage_is_found(void **state)
{
    (void)state;
    struct err e = {0};
    put("ggml-tiny.bin", "not the model");
    assert_int_equal(catalog_verify(&config, "tiny", &e), ERR_CORRUPT);
    assert_non_null(strstr(e.message, "13 bytes"));
    char path[PATH_MAX], hex[DIGEST_HEX];
    put("README", "abc"); /* FIPS 180-4's example */
    snprintf(path, sizeof path, "%s/README", folder);
    assert_int_equal(digest_file(path, hex, &e), 0);
    assert_string_equal(
        hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(digest_check(path, 3, hex, &e), 0);
    hex[0] = 'c';
    assert_int_equal(digest_check(path, 3, hex, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.message, "SHA-256"));
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, drop_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(names_do_not_leave_the_folder),
        cmocka_unit_test(every_entry_is_whole),
        IN_FOLDER(a_missing_model_says_how_to_get_it),
        IN_FOLDER(present_models_are_listed_best_first),
        IN_FOLDER(a_folder_of_safetensors_is_a_model),
        IN_FOLDER(the_default_is_asked_for_or_small_or_the_best),
        IN_FOLDER(no_other_model_is_taken_while_the_disk_does_not_answer),
        IN_FOLDER(the_voice_detector_is_no_model),
        cmocka_unit_test(a_missing_folder_is_named),
        IN_FOLDER(damage_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
