/* Room in memory: who waits, who is let go, who never fits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "job/room.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILES 3

static const char *const names[FILES] = {"tiny", "base", "small"};
static char folder[64], paths[FILES][96];
static struct models *models;
static struct room *room;
static struct config config;
static struct whisper_memory need; /* of each of the files */
static int let_go[32], n_let_go;   /* slots, in the order of the words to them */
static bool deaf;

/* The first bytes of a published tiny model: all that is read of it here. */
static void write_model(const char *path)
{
    static const int32_t head[12] = {0x67676D6C, 51865, 1500, 384, 6,  4,
                                     448,        384,   6,    4,   80, 1};
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, head, sizeof head), sizeof head);
    close(fd);
}

static bool on_unload(void *arg, int slot, int64_t serial)
{
    (void)arg;
    assert_true(serial > 0);
    if (!deaf)
        let_go[n_let_go++] = slot;
    return !deaf;
}

static void make_room(double models_that_fit)
{
    room_free(room);
    config.memory_limit_mb =
        (int64_t)((double)(need.weights + need.session) * models_that_fit / 1048576) + 1;
    assert_int_equal(room_new(&room, &config, models, 1, on_unload, NULL, NULL), 0);
}

static int set_up(void **state)
{
    (void)state;
    struct err e = {0};
    n_let_go = 0;
    deaf = false;
    config = (struct config){.compute_type = (char *)(uintptr_t) "auto",
                             .model_dir = folder,
                             .model_idle_seconds = 10,
                             .memory_limit_mb = 1 << 20};
    (void)snprintf(folder, sizeof folder, "/tmp/room-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < FILES; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/ggml-%s.bin", folder, names[i]);
        write_model(paths[i]);
    }
    assert_int_equal(models_new(&models, NULL), 0);
    if (room_check(&config, 1, "tiny", NULL, &need, &e))
        fail_msg("%s", e.message);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    room_free(room);
    room = NULL;
    models_free(models);
    for (int i = 0; i < FILES; i++)
        unlink(paths[i]);
    rmdir(folder);
    return 0;
}

/* As the supervisor does: ask, send, note. Returns what room_ask said. */
static int begin(int file, int slot, int64_t *serial, int64_t now_ns)
{
    struct whisper_memory wanted;
    struct err e = {0};
    int fd, answer = room_ask(room, slot, names[file], "{}", &wanted, &e);
    if (answer != 1)
        return answer;
    int how = models_ask(models, paths[file], slot, serial, &fd, &e);
    assert_true(how == MODELS_LOAD || how == MODELS_PACKED);
    room_begin(room, slot, *serial, &wanted, now_ns);
    if (how == MODELS_LOAD) {
        fd = memfd_create("image", MFD_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)need.weights), 0);
        models_loaded(models, slot, *serial, fd);
    }
    return 1;
}

static bool in_use(int file)
{
    bool used;
    room_mind(room, 0);
    assert_true(room_has(room, paths[file], &used));
    return used;
}

static void figures_are_those_of_a_tiny_model(void **state)
{
    (void)state;
    assert_true(need.weights > 30000000 && need.weights < 160000000);
    assert_true(need.session > 96 << 20 && need.session < 600000000);
}

static void what_can_never_fit_is_refused_with_figures(void **state)
{
    (void)state;
    struct err e = {0};
    struct whisper_memory wanted;
    make_room(0.5);
    assert_int_equal(room_ask(room, 0, "tiny", "{}", &wanted, &e), ERR_TOO_LARGE);
    assert_non_null(strstr(e.message, "the model tiny needs 0."));
    assert_non_null(strstr(e.message, "this server may use 0."));
    /* More windows side by side need more. */
    make_room(1.1);
    assert_int_equal(room_ask(room, 0, "tiny", "{}", &wanted, &e), 1);
    assert_int_equal(room_ask(room, 0, "tiny", "{\"batch_size\":16}", &wanted, &e),
                     ERR_TOO_LARGE);
}

static void a_second_model_waits_for_the_first(void **state)
{
    (void)state;
    int64_t one, two;
    make_room(1.2);
    assert_int_equal(begin(0, 0, &one, 100), 1);
    assert_true(in_use(0));
    assert_int_equal(begin(1, 1, &two, 100), 0);
    assert_int_equal(n_let_go, 0);
    room_end(room, 0, one, 200);
    deaf = true; /* a worker that cannot be told keeps what it has */
    assert_int_equal(begin(1, 1, &two, 200), 0);
    deaf = false;
    assert_int_equal(begin(1, 1, &two, 200), 1);
    assert_int_equal(n_let_go, 1);
    assert_int_equal(let_go[0], 0);
    assert_int_equal(models_serial(models, paths[0]), 0); /* its weights went too */
    assert_int_equal(models_serial(models, paths[1]), two);
}

static void weights_count_once(void **state)
{
    (void)state;
    int64_t one, same;
    double sessions = (double)(need.weights + 2 * need.session);
    make_room(sessions / (double)(need.weights + need.session) + 0.02);
    assert_int_equal(begin(0, 0, &one, 1), 1);
    assert_int_equal(begin(0, 1, &same, 1), 1);
    assert_true(one == same);
    assert_int_equal(begin(0, 0, &same, 1), 1); /* beside the first, in its session */
    assert_int_equal(begin(0, 2, &same, 1), 0);
}

static void the_longest_idle_is_let_go_first(void **state)
{
    (void)state;
    int64_t a, b, c;
    make_room(2.1);
    assert_int_equal(begin(0, 0, &a, 1), 1);
    assert_int_equal(begin(1, 1, &b, 2), 1);
    room_end(room, 0, a, 9);
    room_end(room, 1, b, 5);
    assert_int_equal(begin(2, 2, &c, 10), 1);
    assert_int_equal(n_let_go, 1);
    assert_int_equal(let_go[0], 1);
    assert_int_equal(models_serial(models, paths[0]), a);
}

static void a_dead_worker_takes_nothing(void **state)
{
    (void)state;
    int64_t a, b;
    make_room(1.2);
    assert_int_equal(begin(0, 0, &a, 1), 1);
    room_slot_gone(room, 0);
    assert_false(in_use(0));
    assert_int_equal(begin(1, 1, &b, 2), 1);
    assert_int_equal(n_let_go, 0);
}

static void the_idle_leave_after_their_time(void **state)
{
    (void)state;
    int64_t a;
    make_room(3);
    assert_int_equal(begin(0, 0, &a, 0), 1);
    room_mind(room, INT64_C(60000000000));
    assert_int_equal(n_let_go, 0); /* at work */
    room_end(room, 0, a, INT64_C(60000000000));
    room_mind(room, INT64_C(69000000000));
    assert_int_equal(n_let_go, 0);
    room_mind(room, INT64_MAX);
    assert_int_equal(n_let_go, 1);
    assert_int_equal(models_serial(models, paths[0]), 0);
    config.model_idle_seconds = 0;
    make_room(3);
    assert_int_equal(begin(0, 0, &a, 0), 1);
    room_end(room, 0, a, 1);
    room_mind(room, INT64_MAX);
    assert_int_equal(n_let_go, 1);
    room_forget(room, paths[0]);
    room_mind(room, INT64_MAX);
    assert_int_equal(n_let_go, 2);
    assert_int_equal(models_serial(models, paths[0]), 0);
}

static void a_file_that_is_no_model_is_the_workers_to_judge(void **state)
{
    (void)state;
    struct whisper_memory wanted;
    make_room(3);
    int fd = open(paths[0], O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "model", 5), 5);
    close(fd);
    assert_int_equal(room_ask(room, 0, "tiny", "{}", &wanted, NULL), ERR_UNSUPPORTED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(figures_are_those_of_a_tiny_model),
        TEST(what_can_never_fit_is_refused_with_figures),
        TEST(a_second_model_waits_for_the_first),
        TEST(weights_count_once),
        TEST(the_longest_idle_is_let_go_first),
        TEST(a_dead_worker_takes_nothing),
        TEST(the_idle_leave_after_their_time),
        TEST(a_file_that_is_no_model_is_the_workers_to_judge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
