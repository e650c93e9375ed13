/* Packed weights on disk: what is kept, when it holds, and that nothing depends on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "engine/model_cache.h"
#include "model_files.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    struct model_files files;
    char folder[64], model[PATH_MAX], kept[PATH_MAX];
};

static int begin(void **state)
{
    struct place *p = mem_array(1, sizeof *p);
    assert_non_null(p);
    model_files_init(&p->files, TENSOR_F16, false);
    model_files_ggml(&p->files);
    model_files_folder_new(p->folder, sizeof p->folder);
    model_files_write(p->folder, "ggml-x.bin", p->files.bytes.data,
                      p->files.bytes.length);
    snprintf(p->model, sizeof p->model, "%s/ggml-x.bin", p->folder);
    snprintf(p->kept, sizeof p->kept, "%s/.ggml-x.bin.packed-8", p->folder);
    *state = p;
    return 0;
}

static int end(void **state)
{
    struct place *p = *state;
    unlink(p->kept);
    model_files_folder_remove(p->folder);
    model_files_release(&p->files);
    free(p);
    return 0;
}

/* Load the model, and compare its image with `wanted`, when there is one. Owned by the
 * caller. */
static struct whisper_model *load(const char *path, const struct whisper_model *wanted)
{
    struct whisper_model *m;
    struct err e = {0};
    if (whisper_model_load(&m, path, WHISPER_WEIGHTS_8_BITS, &e))
        fail_msg("%s", e.message);
    if (wanted) {
        assert_int_equal(m->image_bytes, wanted->image_bytes);
        assert_memory_equal(m->image, wanted->image, m->image_bytes);
    }
    return m;
}

static bool is_kept(const struct place *p, enum whisper_weights weights)
{
    int fd;
    if (model_cache_read(p->model, weights, &fd))
        return false;
    close(fd);
    return true;
}

static void what_was_packed_is_read_again(void **state)
{
    const struct place *p = *state;
    assert_false(is_kept(p, WHISPER_WEIGHTS_8_BITS));
    struct whisper_model *first = load(p->model, NULL);
    assert_true(is_kept(p, WHISPER_WEIGHTS_8_BITS));
    assert_false(is_kept(p, WHISPER_WEIGHTS_AS_GIVEN)); /* that is another image */
    whisper_model_free(load(p->model, first));
    /* It was this file: another one that is in order is believed. */
    struct stat before, after;
    assert_int_equal(stat(p->kept, &before), 0);
    whisper_model_free(load(p->model, first));
    assert_int_equal(stat(p->kept, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    whisper_model_free(first);
}

static void another_model_is_packed_anew(void **state)
{
    const struct place *p = *state;
    struct whisper_model *first = load(p->model, NULL);
    const struct timespec times[] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, p->model, times, 0), 0);
    assert_false(is_kept(p, WHISPER_WEIGHTS_8_BITS));
    whisper_model_free(load(p->model, first));
    assert_true(is_kept(p, WHISPER_WEIGHTS_8_BITS));
    assert_int_equal(truncate(p->model, 1000), 0);
    assert_false(is_kept(p, WHISPER_WEIGHTS_8_BITS));
    struct whisper_model *m;
    struct err e = {0};
    assert_true(whisper_model_load(&m, p->model, WHISPER_WEIGHTS_8_BITS, &e) < 0);
    whisper_model_free(first);
}

/* Every kind of damage is seen, and mended. */
static void damage_is_mended(void **state)
{
    const struct place *p = *state;
    struct whisper_model *first = load(p->model, NULL);
    struct buf good = {.maximum = 1 << 30};
    struct err e = {0};
    assert_int_equal(fs_read(p->kept, &good, &e), 0);
    size_t n = good.length;
    const size_t places[] = {0,      20,     n / 2,  n - 100, n - 56,
                             n - 48, n - 40, n - 32, n - 1};
    for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
        int fd = open(p->kept, O_WRONLY);
        char other = (char)(good.data[places[i]] ^ 1);
        assert_int_equal(pwrite(fd, &other, 1, (off_t)places[i]), 1);
        close(fd);
        assert_false(is_kept(p, WHISPER_WEIGHTS_8_BITS));
        whisper_model_free(load(p->model, first));
        assert_true(is_kept(p, WHISPER_WEIGHTS_8_BITS));
    }
    const size_t lengths[] = {0, 1, 55, 56, 57, n / 2, n - 1};
    for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
        assert_int_equal(truncate(p->kept, (off_t)lengths[i]), 0);
        assert_false(is_kept(p, WHISPER_WEIGHTS_8_BITS));
        whisper_model_free(load(p->model, first));
        assert_true(is_kept(p, WHISPER_WEIGHTS_8_BITS));
    }
    buf_release(&good);
    whisper_model_free(first);
}

/* A whole image of something else, with a trailer that is in order, must still be refused
 * by what looks into it. */
static void a_wrong_image_is_not_believed(void **state)
{
    const struct place *p = *state;
    struct whisper_model *first = load(p->model, NULL);
    int fd = memfd_create("x", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 4096), 0);
    model_cache_write(p->model, WHISPER_WEIGHTS_8_BITS, fd);
    close(fd);
    assert_true(is_kept(p, WHISPER_WEIGHTS_8_BITS));
    whisper_model_free(load(p->model, first));
    whisper_model_free(first);
}

/* Neither an unfinished file of one who was killed nor ours stays. */
static void nothing_half_made_stays(void **state)
{
    const struct place *p = *state;
    char part[PATH_MAX + 8];
    snprintf(part, sizeof part, "%s.part", p->kept);
    int fd = open(part, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "half", 4), 4);
    close(fd);
    whisper_model_free(load(p->model, NULL));
    assert_true(is_kept(p, WHISPER_WEIGHTS_8_BITS));
    assert_int_equal(access(part, F_OK), -1);
}

static void it_does_not_follow_links(void **state)
{
    const struct place *p = *state;
    whisper_model_free(load(p->model, NULL));
    char aside[PATH_MAX + 8];
    snprintf(aside, sizeof aside, "%s.aside", p->kept);
    assert_int_equal(rename(p->kept, aside), 0);
    assert_int_equal(symlink(aside, p->kept), 0);
    assert_false(is_kept(p, WHISPER_WEIGHTS_8_BITS));
    unlink(aside);
}

static void where_nothing_can_be_kept_nothing_is(void **state)
{
    const struct place *p = *state;
    char path[64];
    int fd = model_files_memory(p->files.bytes.data, p->files.bytes.length, path,
                                sizeof path); /* /proc/self/fd/N: no such folder to us */
    whisper_model_free(load(path, NULL));
    close(fd);
    assert_int_equal(mkdir(p->kept, 0700), 0); /* in its place */
    whisper_model_free(load(p->model, NULL));
    assert_false(is_kept(p, WHISPER_WEIGHTS_8_BITS));
    assert_int_equal(rmdir(p->kept), 0);
}

/* Every file of a folder counts. */
static void a_folder_has_its_own(void **state)
{
    (void)state;
    struct model_files files;
    char folder[64], path[128];
    int fd;
    model_files_folder_new(folder, sizeof folder);
    model_files_init(&files, TENSOR_F16, true);
    model_files_folder(&files, folder, 2);
    struct whisper_model *first = load(folder, NULL);
    assert_int_equal(model_cache_read(folder, WHISPER_WEIGHTS_8_BITS, &fd), 0);
    close(fd);
    whisper_model_free(load(folder, first));
    const struct timespec times[] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_equal(model_cache_read(folder, WHISPER_WEIGHTS_8_BITS, &fd),
                     ERR_NOT_FOUND);
    whisper_model_free(first);
    model_files_folder_remove(folder);
    model_files_release(&files);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(what_was_packed_is_read_again),
        CASE(another_model_is_packed_anew),
        CASE(damage_is_mended),
        CASE(a_wrong_image_is_not_believed),
        CASE(nothing_half_made_stays),
        CASE(it_does_not_follow_links),
        CASE(where_nothing_can_be_kept_nothing_is),
        cmocka_unit_test(a_folder_has_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
