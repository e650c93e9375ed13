#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/models.h"

#include <fcntl.h>
#include <unistd.h>

#define MODELS 6

static char paths[MODELS][64];
static struct models *models;

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "/tmp/models-test-XXXXXX");
        int fd = mkstemp(paths[i]);
        if (fd < 0)
            return -1;
        close(fd);
    }
    return models_new(&models, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    models_free(models);
    for (int i = 0; i < MODELS; i++)
        unlink(paths[i]);
    return 0;
}

static int ask(int path, int slot, int64_t *serial, int *fd)
{
    struct err e = {0};
    int answer = models_ask(models, paths[path], slot, serial, fd, &e);
    if (answer < 0)
        fail_msg("%s", e.message);
    return answer;
}

static int image(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void one_slot_loads_for_all(void **state)
{
    (void)state;
    int64_t first, other;
    int fd;
    assert_int_equal(ask(0, 0, &first, &fd), MODELS_LOAD);
    assert_int_equal(ask(0, 1, &other, &fd), MODELS_LOADING);
    assert_int_equal(ask(0, 0, &other, &fd), MODELS_LOAD); /* it asked before */
    models_loaded(models, 0, first, image());
    assert_int_equal(ask(0, 1, &other, &fd), MODELS_PACKED);
    assert_true(first == other);
    assert_true(fcntl(fd, F_GETFD) >= 0);
}

static void a_loader_that_dies_is_replaced(void **state)
{
    (void)state;
    int64_t first, second;
    int fd;
    assert_int_equal(ask(0, 0, &first, &fd), MODELS_LOAD);
    models_released(models, 0);
    assert_int_equal(ask(0, 1, &second, &fd), MODELS_LOAD);
    assert_true(first != second);
    /* What the dead one had sent is not taken for the new one's. */
    models_loaded(models, 0, first, image());
    assert_int_equal(ask(0, 2, &second, &fd), MODELS_LOADING);
}

static void a_model_nobody_asked_for_is_dropped(void **state)
{
    (void)state;
    int64_t serial;
    int fd, foreign = image();
    assert_int_equal(ask(0, 0, &serial, &fd), MODELS_LOAD);
    models_loaded(models, 1, serial, foreign);
    assert_true(fcntl(foreign, F_GETFD) < 0); /* closed */
    assert_int_equal(ask(0, 1, &serial, &fd), MODELS_LOADING);
}

static void a_changed_file_is_another_model(void **state)
{
    (void)state;
    int64_t first, second;
    int fd;
    assert_int_equal(ask(0, 0, &first, &fd), MODELS_LOAD);
    models_loaded(models, 0, first, image());
    assert_int_equal(truncate(paths[0], 100), 0);
    assert_int_equal(ask(0, 0, &second, &fd), MODELS_LOAD);
    assert_true(first != second);
}

static void the_longest_unused_makes_room(void **state)
{
    (void)state;
    int64_t serial;
    int fd;
    for (int i = 0; i < MODELS; i++) {
        assert_int_equal(ask(i, 0, &serial, &fd), MODELS_LOAD);
        models_loaded(models, 0, serial, image());
    }
    assert_int_equal(ask(MODELS - 1, 0, &serial, &fd), MODELS_PACKED);
    assert_int_equal(ask(0, 0, &serial, &fd), MODELS_LOAD);
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    int64_t serial;
    int fd;
    struct err e;
    assert_int_equal(models_ask(models, "/nowhere/ggml-x.bin", 0, &serial, &fd, &e),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "/nowhere/ggml-x.bin"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(one_slot_loads_for_all),
        TEST(a_loader_that_dies_is_replaced),
        TEST(a_model_nobody_asked_for_is_dropped),
        TEST(a_changed_file_is_another_model),
        TEST(the_longest_unused_makes_room),
        TEST(a_missing_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
