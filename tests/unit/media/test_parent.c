/* The parent against a child that lies, floods, hangs and dies. */
#include "support.h"

#include "base/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int setup(void **state)
{
    int rc = support_setup(state);
    media_set_program(getenv("WT_BAD_CHILD"));
    return rc || !getenv("WT_BAD_CHILD");
}

static void no_child_is_left(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void run(const char *mode, const struct media_limits *limits, int code,
                const char *words)
{
    struct decoded d;
    support_decode_bytes(mode, strlen(mode), limits, &d);
    support_expect(&d, code, words);
    no_child_is_left();
}

static void deaths_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        int signal_number, code;
        const char *words;
    } cases[] = {
        {SIGSEGV, ERR_CRASH, "crashed on this file"},
        {SIGABRT, ERR_CRASH, "crashed on this file"},
        {SIGSYS, ERR_CRASH, "system call"},
        {SIGKILL, ERR_AWAY, "out of memory"},
        {SIGXCPU, ERR_TIMEOUT, "1800 seconds of processor time"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char mode[16];
        snprintf(mode, sizeof mode, "signal%d", cases[i].signal_number);
        run(mode, NULL, cases[i].code, cases[i].words);
    }
    run("exit", NULL, ERR_CRASH, "no answer");
    run("silent", NULL, ERR_CRASH, "no answer");
}

static void records_are_checked(void **state)
{
    (void)state;
    static const char *const modes[] = {"record1", "record2", "record3", "record4",
                                        "record6", "record8", "record9"};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        run(modes[i], NULL, ERR_CRASH, "no answer");
    run("record5", NULL, ERR_CRASH, "contradicts itself");
    run("record7", NULL, ERR_CRASH, "contradicts itself");
}

static void samples_are_tamed(void **state)
{
    (void)state;
    struct decoded d;
    support_decode_bytes("wild", 4, NULL, &d);
    assert_int_equal(d.code, 0);
    const float expected[] = {0, 1, -1, 1, -1, 0.5f};
    assert_int_equal(d.pcm.count, 6);
    assert_memory_equal(d.pcm.samples, expected, sizeof expected);
    pcm_release(&d.pcm);
}

static void output_is_bounded(void **state)
{
    (void)state;
    struct media_limits limits;
    media_limits_init(&limits);
    limits.max_seconds = 10;
    run("flood", &limits, ERR_TOO_LARGE, "longer than the limit");
}

static void patience_ends(void **state)
{
    (void)state;
    struct media_limits limits;
    media_limits_init(&limits);
    limits.stall_seconds = 1;
    run("sleep", &limits, ERR_TIMEOUT, "no progress for 1 seconds");
    limits.stall_seconds = 0;
    limits.wall_seconds = 1;
    run("sleep", &limits, ERR_TIMEOUT, "longer than the limit of 1 seconds");
    run("close", NULL, ERR_CRASH, "");
}

static bool at_the_third_question(void *arg)
{
    int *asked = arg;
    return ++*asked >= 3;
}

static void cancelling_kills_the_child(void **state)
{
    (void)state;
    int asked = 0;
    struct media_limits limits;
    media_limits_init(&limits);
    limits.cancelled = at_the_third_question;
    limits.cancelled_arg = &asked;
    run("sleep", &limits, ERR_CANCELLED, "cancelled");
    assert_int_equal(asked, 3);
}

static void processor_time_is_limited(void **state)
{
    (void)state;
    run("spin", NULL, ERR_TIMEOUT, "processor time");
}

static void nothing_comes_along(void **state)
{
    (void)state;
    int extra = dup2(STDERR_FILENO, 50); /* not close-on-exec */
    assert_int_equal(extra, 50);
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    setenv("DATABASE_URL", "postgresql://secret", 1);
    run("look", NULL, 0, "");
    unsetenv("DATABASE_URL");
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    close(extra);
}

/* Also when our own standard streams are closed, whose numbers the child's pipes take. */
static void closed_standard_streams(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct media_limits limits;
        struct pcm pcm;
        struct media_info info;
        int fd = memfd_create("input", MFD_CLOEXEC);
        media_limits_init(&limits);
        if (fs_write_all(fd, "wild", 4, NULL))
            _exit(1);
        close(0);
        close(1);
        int low = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        close(fd);
        _exit(media_decode(low, &limits, &pcm, &info, NULL) || pcm.count != 6);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Somebody else keeps the other end of our pipes open. */
static void a_held_pipe_does_not_hold_us(void **state)
{
    (void)state;
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    run("hold", NULL, 0, "");
}

/* The child of one that is given up is gone when media_abandon returns. */
static void what_is_abandoned_ends(void **state)
{
    (void)state;
    struct media_limits limits;
    struct decoding *d;
    struct err e;
    media_limits_init(&limits);
    int fd = memfd_create("input", MFD_CLOEXEC);
    assert_int_equal(fs_write_all(fd, "flood", 5, NULL), 0);
    assert_int_equal(media_start(&d, fd, &limits, &e), 0);
    close(fd);
    media_abandon(d);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    media_abandon(NULL);
}

static void a_missing_program_is_an_error(void **state)
{
    (void)state;
    media_set_program("/nonexistent");
    run("x", NULL, ERR_IO, "cannot start the decoder");
    media_set_program(getenv("WT_BAD_CHILD"));
    struct media_limits limits;
    media_limits_init(&limits);
    limits.scratch_dir = "/nonexistent";
    run("x", &limits, ERR_IO, "scratch file");
    limits.max_seconds = NAN;
    run("x", &limits, ERR_INVALID, "makes no sense");
}

/* A file system of 64 KiB, where the test may make one. */
static void full_disk(void **state)
{
    (void)state;
    const char *folder = support_path("tiny");
    pid_t pid = fork();
    if (pid == 0) {
        if (mkdir(folder, 0700) || unshare(CLONE_NEWNS) ||
            mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
            mount("tiny", folder, "tmpfs", 0, "size=64k"))
            _exit(77);
        struct media_limits limits;
        struct pcm pcm;
        struct media_info info;
        struct err e;
        media_limits_init(&limits);
        limits.scratch_dir = folder;
        int fd = memfd_create("input", 0), zero = open("/dev/zero", O_RDONLY);
        if (fs_write_all(fd, "flood", 5, NULL))
            _exit(1);
        int rc = media_decode(fd, &limits, &pcm, &info, &e);
        if (rc != ERR_FULL || !strstr(e.message, "scratch file"))
            _exit(2);
        if (media_spool(zero, folder, 1 << 30, &e) != ERR_FULL)
            _exit(3);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rmdir(folder);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        puts("skipped: this user cannot mount a small file system");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The value of a line of /proc/PID/status, -1 when there is none. */
static long status_of(const char *pid, const char *key)
{
    char path[300], line[200];
    long value = -1;
    snprintf(path, sizeof path, "/proc/%s/status", pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            value = strtol(line + strlen(key), NULL, 10);
    if (f)
        fclose(f);
    return value;
}

/* The child of `parent` that has its filter set, 0 when there is none yet. */
static pid_t locked_child_of(pid_t parent)
{
    pid_t found = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *entry; d && (entry = readdir(d));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            status_of(entry->d_name, "PPid:") == parent &&
            status_of(entry->d_name, "Seccomp:") == 2)
            found = (pid_t)strtol(entry->d_name, NULL, 10);
    if (d)
        closedir(d);
    return found;
}

static void the_child_dies_with_its_parent(void **state)
{
    (void)state;
    struct decoded d;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t parent = fork();
    if (parent == 0) {
        support_decode_bytes("locked", 6, NULL, &d);
        _exit(0);
    }
    pid_t child = 0;
    while (!child) {
        usleep(10000);
        child = locked_child_of(parent);
    }
    kill(parent, SIGKILL);
    int status;
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deaths_are_told_apart),
        cmocka_unit_test(records_are_checked),
        cmocka_unit_test(samples_are_tamed),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(cancelling_kills_the_child),
        cmocka_unit_test(processor_time_is_limited),
        cmocka_unit_test(nothing_comes_along),
        cmocka_unit_test(closed_standard_streams),
        cmocka_unit_test(a_held_pipe_does_not_hold_us),
        cmocka_unit_test(what_is_abandoned_ends),
        cmocka_unit_test(a_missing_program_is_an_error),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(the_child_dies_with_its_parent),
    };
    return cmocka_run_group_tests(tests, setup, support_teardown);
}
