/* The walls, outermost first. Each would hold alone against most attacks:
 *
 *  1. identity     root becomes nobody; new user, network, IPC and mount namespaces
 *  2. process      no new privileges, not dumpable (no ptrace by others of the same
 * user), dies with its parent
 *  3. Landlock     no path of the file system
 *  4. limits       memory, processor time, no file of any size, no descriptor, no
 * process, no core file
 *  5. seccomp      the list below; anything else ends the process with SIGSYS
 *
 * Killing is right where refusing would also do: no file that is only a recording makes
 * the decoder open something, so whatever tries has taken it over. */
#include "media/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

/* ---- 1. identity ---- */

#define NOBODY 65534

/* As many walls as the kernel, or whoever started us, allows: a service's settings may
 * leave the network's alone. */
static void leave_identity(void)
{
    static const int walls[] = {CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS, CLONE_NEWNET};
    if (geteuid() == 0 && !setgroups(0, NULL) && !setresgid(NOBODY, NOBODY, NOBODY))
        (void)!setresuid(NOBODY, NOBODY, NOBODY);
    for (size_t i = 0; i < ARRAY_LENGTH(walls); i++)
        if (!unshare(CLONE_NEWUSER | walls[i]) || !unshare(walls[i]))
            return;
}

/* ---- 2. process ---- */

static int bind_to_parent(pid_t parent, struct err *e)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 0) ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return err_set(e, ERR_DENIED, "the decoder cannot lock itself in: prctl: %s",
                       strerror(errno));
    if (getppid() != parent) /* it died before the first prctl */
        return err_set(e, ERR_DENIED, "the decoder has lost its parent");
    return 0;
}

/* ---- 3. Landlock ---- */

/* Own constants: the headers of Ubuntu 22.04 know only the first version. Every right
 * that a version knows is handled, and no rule grants one back. */
#define LANDLOCK_CREATE        444
#define LANDLOCK_RESTRICT_SELF 446
#define LANDLOCK_ASK_VERSION   1u

struct landlock_rights {
    uint64_t file_system, network, scoped;
};

static void close_file_system(void)
{
    static const uint64_t file_system[] = {0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF};
    long version = syscall(LANDLOCK_CREATE, NULL, (size_t)0, LANDLOCK_ASK_VERSION);
    if (version <= 0)
        return;
    if (version > 6)
        version = 6;
    struct landlock_rights rights = {
        .file_system = file_system[version < 5 ? version : 5],
        .network = version >= 4 ? 3 : 0, /* bind and connect */
        .scoped = version >= 6 ? 3 : 0,  /* abstract sockets, signals to others */
    };
    size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
    long fd = syscall(LANDLOCK_CREATE, &rights, size, 0u);
    if (fd < 0)
        return;
    (void)!syscall(LANDLOCK_RESTRICT_SELF, (int)fd, 0u);
    close((int)fd);
}

/* ---- 4. limits ---- */

static rlim_t address_space_in_use(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%lu", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    /* Without /proc: more than the libraries take. */
    return pages ? (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) : (rlim_t)1 << 30;
}

static int set_limit(int what, rlim_t soft, rlim_t hard, struct err *e)
{
    struct rlimit now, wanted = {soft, hard};
    if (getrlimit((__rlimit_resource_t)what, &now))
        return err_set(e, ERR_DENIED, "the decoder cannot read its limits: %s",
                       strerror(errno));
    if (wanted.rlim_max > now.rlim_max)
        wanted.rlim_max = now.rlim_max;
    if (wanted.rlim_cur > wanted.rlim_max)
        wanted.rlim_cur = wanted.rlim_max;
    if (setrlimit((__rlimit_resource_t)what, &wanted))
        return err_set(e, ERR_DENIED, "the decoder cannot limit itself: %s",
                       strerror(errno));
    return 0;
}

static int set_limits(const struct sandbox *s, rlim_t memory, struct err *e)
{
    static const int zero[] = {RLIMIT_FSIZE, RLIMIT_NOFILE,  RLIMIT_NPROC,
                               RLIMIT_CORE,  RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE};
    memory = memory > RLIM_INFINITY - s->memory_bytes ? RLIM_INFINITY
                                                      : memory + s->memory_bytes;
    int rc = 0;
    /* AddressSanitizer's shadow alone spans terabytes. */
    if (!MEDIA_SANITIZED)
        rc = set_limit(RLIMIT_AS, memory, memory, e);
    /* At the soft limit SIGXCPU, which tells why; SIGKILL soon after. */
    if (!rc)
        rc = set_limit(RLIMIT_CPU, s->cpu_seconds, (rlim_t)s->cpu_seconds + 2, e);
    for (size_t i = 0; !rc && i < ARRAY_LENGTH(zero); i++)
        rc = set_limit(zero[i], 0, 0, e);
    return rc;
}

/* ---- 5. seccomp ---- */

/* Allowed with any arguments: these act on nothing but our own memory and time. In order:
 * the end; malloc; pthread_once of FFmpeg's tables; the clock, where the vDSO cannot
 * answer, as in some virtual machines; malloc's cookies; a call that SIGSTOP interrupted;
 * abort. */
static const int plain_calls[] = {
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(brk),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
#if MEDIA_SANITIZED
    /* AddressSanitizer's own bookkeeping and its report of a fault. */
    SCMP_SYS(sigaltstack),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(sched_yield),
    SCMP_SYS(getrusage),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(prctl),
#endif
};

/* Refused with EACCES: every call that takes a file's name and that libc makes by itself.
 */
static const int refused_calls[] = {
    SCMP_SYS(open),      SCMP_SYS(openat),   SCMP_SYS(openat2),    SCMP_SYS(access),
    SCMP_SYS(faccessat), SCMP_SYS(stat),     SCMP_SYS(newfstatat), SCMP_SYS(statx),
    SCMP_SYS(lstat),     SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getcwd),
};

/* Not every processor has every call: ARM has no open, only openat. */
static int add_calls(scmp_filter_ctx filter, uint32_t action, const int *calls,
                     size_t count)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < count; i++) {
        rc = seccomp_rule_add(filter, action, calls[i], 0);
        if (rc == -EDOM)
            rc = 0;
    }
    return rc;
}

/* 0, or the first error. */
static int add_rules(scmp_filter_ctx filter, const struct sandbox *s)
{
    const uint32_t allow = SCMP_ACT_ALLOW;
    int rc = add_calls(filter, allow, plain_calls, ARRAY_LENGTH(plain_calls));
    if (!rc)
        rc = add_calls(filter, SCMP_ACT_ERRNO(EACCES), refused_calls,
                       ARRAY_LENGTH(refused_calls));
    /* The input, by position: nothing else can be read. */
    if (!rc)
        rc = seccomp_rule_add(filter, allow, SCMP_SYS(pread64), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)s->input));
    for (int i = 0; !rc && i < 2; i++)
        rc = seccomp_rule_add(filter, allow, SCMP_SYS(write), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)s->output[i]));
    /* Last words of libc's abort and of the sanitizers; /dev/null in a release. */
    if (!rc)
        rc = seccomp_rule_add(filter, allow, SCMP_SYS(writev), 1,
                              SCMP_A0(SCMP_CMP_EQ, STDERR_FILENO));
    if (!rc)
        rc = seccomp_rule_add(filter, allow, SCMP_SYS(write), 1,
                              SCMP_A0(SCMP_CMP_EQ, STDERR_FILENO));
    /* A signal to ourselves only. */
    if (!rc)
        rc = seccomp_rule_add(filter, allow, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    /* Memory: anonymous, and never executable. */
    if (!rc)
        rc = seccomp_rule_add(filter, allow, SCMP_SYS(mmap), 2,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                              SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
    if (!rc)
        rc = seccomp_rule_add(filter, allow, SCMP_SYS(mprotect), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return rc;
}

static int filter_system_calls(const struct sandbox *s, struct err *e)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int rc = filter ? 0 : -ENOMEM;
    if (!rc)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (!rc)
        rc = add_rules(filter, s);
    if (!rc)
        rc = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    if (rc)
        return err_set(
            e, ERR_DENIED,
            "the decoder cannot lock itself in, so nothing is decoded: this "
            "system refuses seccomp filters (%s); allow them in the container's "
            "or service's settings",
            strerror(-rc));
    return 0;
}

int sandbox_lock(const struct sandbox *s, struct err *e)
{
    rlim_t memory = address_space_in_use(); /* while /proc can still be read */
    leave_identity();
    int rc = bind_to_parent(s->parent, e);
    if (rc)
        return rc;
    close_file_system(); /* needs a descriptor, hence before the limits */
    rc = set_limits(s, memory, e);
    return rc ? rc : filter_system_calls(s, e);
}
