/* Behind the door: computing works, everything else is refused or ends the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "media/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IN = 0, OUT = 1, REPORT = 3, OTHER = 4 };

/* Lock a child in and let it act; its wait status. It exits 0 when act returned 0. */
static int act_locked(int (*act)(void))
{
    pid_t parent = getpid();
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct sandbox s = {.cpu_seconds = 10,
                            .memory_bytes = 64 << 20,
                            .parent = parent,
                            .input = IN,
                            .output = {OUT, REPORT}};
        int file = open("/proc/self/exe", O_RDONLY), null = open("/dev/null", O_RDWR);
        dup2(file, 20);
        dup2(null, 21);
        dup2(20, IN);
        dup2(21, OUT);
        dup2(21, REPORT);
        dup2(20, OTHER);
        struct err e;
        if (sandbox_lock(&s, &e))
            syscall(SYS_exit_group, 99);
        syscall(SYS_exit_group, act() ? 1 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* Ended by the filter. */
static void killed(int (*act)(void))
{
    int status = act_locked(act);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void fine(int (*act)(void))
{
    int status = act_locked(act);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int work(void)
{
    char block[64];
    struct timespec now;
    void *memory = malloc(10 << 20);
    if (!memory)
        return 1;
    memset(memory, 1, 10 << 20);
    memory = realloc(memory, 20 << 20);
    free(memory);
    return pread(IN, block, sizeof block, 0) != sizeof block ||
           write(OUT, block, 4) != 4 || write(REPORT, block, 4) != 4 ||
           clock_gettime(CLOCK_MONOTONIC, &now) || !time(NULL);
}

static void computing_works(void **state)
{
    (void)state;
    fine(work);
}

static int refused_files(void)
{
    struct stat st;
    char path[64];
    return open("/etc/passwd", O_RDONLY) != -1 || errno != EACCES ||
           open("/tmp/x", O_WRONLY | O_CREAT, 0600) != -1 || errno != EACCES ||
           access("/etc/passwd", R_OK) != -1 || stat("/", &st) != -1 ||
           readlink("/proc/self/exe", path, sizeof path) != -1 ||
           fopen("/etc/passwd", "r");
}

static void files_are_refused(void **state)
{
    (void)state;
    fine(refused_files);
}

/* Even computing has its bounds. A sanitizer's shadow memory defies this limit. */
static int too_much_memory(void)
{
    return malloc((size_t)200 << 20) != NULL;
}

static void memory_is_limited(void **state)
{
    (void)state;
    if (MEDIA_SANITIZED)
        skip();
    fine(too_much_memory);
}

static int act_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}

static int act_unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int act_execve(void)
{
    char name[] = "/bin/true", *arguments[] = {name, NULL};
    return (int)syscall(SYS_execve, name, arguments, NULL);
}

static int act_fork(void)
{
    return (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static int act_clone3(void)
{
    char arguments[64] = {0};
    return (int)syscall(SYS_clone3, arguments, sizeof arguments);
}

static int act_ptrace(void)
{
    return (int)syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), 0, 0);
}

static int act_kill(void)
{
    return (int)syscall(SYS_kill, 1, 0);
}

static int act_signal_other(void)
{
    return (int)syscall(SYS_tgkill, 1, 1, 0);
}

static int act_executable_memory(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED;
}

static int act_make_executable(void)
{
    void *at =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(at, 4096, PROT_READ | PROT_EXEC);
}

static int act_map_file(void)
{
    return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, IN, 0) == MAP_FAILED;
}

static int act_read_other(void)
{
    char c;
    return (int)pread(OTHER, &c, 1, 0);
}

static int act_write_input(void)
{
    return (int)write(IN, "x", 1);
}

static int act_write_other(void)
{
    return (int)write(OTHER, "x", 1);
}

static int act_process_vm(void)
{
    char c;
    struct iovec mine = {&c, 1}, theirs = {&c, 1};
    return (int)syscall(SYS_process_vm_readv, 1, &mine, 1, &theirs, 1, 0);
}

static int act_unlink(void)
{
    return unlinkat(AT_FDCWD, "/tmp/nothing", 0);
}

static int act_io_uring(void)
{
    return (int)syscall(425, 1, NULL);
}

static int act_unshare(void)
{
    return unshare(CLONE_NEWUSER);
}

static int act_ioctl(void)
{
    return (int)syscall(SYS_ioctl, OUT, 0x5412, "x");
}

static int act_prctl(void)
{
    return (int)syscall(SYS_seccomp, 0, 0, NULL);
}

static int act_chmod(void)
{
    return (int)syscall(SYS_fchmod, IN, 0777);
}

static void everything_else_kills(void **state)
{
    (void)state;
    static int (*const acts[])(void) = {
        act_socket,
        act_unix_socket,
        act_execve,
        act_fork,
        act_clone3,
        act_ptrace,
        act_kill,
        act_signal_other,
        act_executable_memory,
        act_make_executable,
        act_map_file,
        act_read_other,
        act_write_input,
        act_write_other,
        act_process_vm,
        act_unlink,
        act_io_uring,
        act_unshare,
        act_ioctl,
        act_prctl,
        act_chmod,
    };
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        int status = act_locked(acts[i]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            print_error("act %zu ended with status %x\n", i, (unsigned)status);
        killed(acts[i]);
    }
}

/* Without the parent that it was started for, nothing is decoded. */
static void another_parent_is_refused(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct sandbox s = {.cpu_seconds = 10, .memory_bytes = 1 << 26, .parent = 1};
        struct err e;
        s.parent = getpid();
        int rc = sandbox_lock(&s, &e);
        _exit(rc == ERR_DENIED && strstr(e.message, "parent") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computing_works),
        cmocka_unit_test(files_are_refused),
        cmocka_unit_test(memory_is_limited),
        cmocka_unit_test(everything_else_kills),
        cmocka_unit_test(another_parent_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
