#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/machine.h"
#include "base/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void memory_in_use_is_part_of_what_there_is(void **state)
{
    (void)state;
    struct machine_memory m;
    machine_memory(&m);
    assert_true(m.limit > 0);
    assert_true(m.used > 0 && m.used <= m.limit);
    /* The pages that the kernel keeps for itself are in the one and not in the other. */
    assert_true(m.limit <= machine_memory_bytes() + machine_memory_bytes() / 10);
}

/* A child with a name that tries to look like fields, and a child of its own. Ready when
 * the pipe says so. */
static pid_t start_family(int ready)
{
    pid_t child = fork();
    if (child)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, ") R 1 1 (", 0, 0, 0);
    if (!fork()) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)!write(ready, "x", 1);
        pause();
    }
    pause();
    _exit(0);
}

static void children_and_theirs_are_found(void **state)
{
    (void)state;
    struct processes p;
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    processes_look(&p);
    assert_int_equal(p.places[PROCESS_SELF].count, 1);
    assert_int_equal(p.places[PROCESS_CHILD].count, 0);
    int64_t files = p.files;
    assert_true(files >= 5 && files < 200);
    int extra = open("/dev/null", O_RDONLY);
    pid_t child = start_family(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    processes_look(&p);
    assert_int_equal(p.files, files + 1);
    assert_int_equal(p.places[PROCESS_SELF].count, 1);
    assert_int_equal(p.places[PROCESS_CHILD].count, 1);
    assert_int_equal(p.places[PROCESS_GRANDCHILD].count, 1);
    assert_true(p.places[PROCESS_SELF].resident > 0);
    assert_true(p.places[PROCESS_GRANDCHILD].resident > 0);
    assert_int_equal(p.threads, 1);
    assert_true(p.started_seconds <= (double)time(NULL) + 1);
    assert_true(p.started_seconds > (double)time(NULL) - 3600);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(extra);
    close(ends[0]);
    close(ends[1]);
}

/* What those took that have ended is not forgotten. */
static void time_of_the_dead_counts(void **state)
{
    (void)state;
    struct processes before, after;
    processes_look(&before);
    pid_t child = fork();
    if (!child) {
        while (clock() < CLOCKS_PER_SEC / 5)
            ;
        _exit(0);
    }
    waitpid(child, NULL, 0);
    processes_look(&after);
    assert_int_equal(after.places[PROCESS_CHILD].count, 0);
    assert_true(after.cpu_seconds - before.cpu_seconds > 0.1);
    assert_true(after.own_cpu_seconds - before.own_cpu_seconds < 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_in_use_is_part_of_what_there_is),
        cmocka_unit_test(children_and_theirs_are_found),
        cmocka_unit_test(time_of_the_dead_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
