/* Runs a program behind the walls that a unit of systemd would build of system calls, and
 * writes down what runs against them:
 *
 *     filter ALLOWED DENIED-LOG FAMILIES NAMESPACES -- PROGRAM ARGUMENT…
 *
 * ALLOWED is a file of names. Any other call is answered EPERM, as with
 * SystemCallErrorNumber=EPERM, and its name goes into DENIED-LOG: a program that goes on
 * without would otherwise not show what it misses. FAMILIES (numbers) are those of
 * RestrictAddressFamilies=, NAMESPACES the CLONE_NEW… bits that RestrictNamespaces=
 * leaves. MemoryDenyWriteExecute=, RestrictRealtime= and RestrictSUIDSGID= are always on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(99);
}

static void need(int rc, const char *what)
{
    if (rc < 0) {
        fprintf(stderr, "filter: %s: %s\n", what, strerror(-rc));
        exit(99);
    }
}

/* ---- the rules about arguments ---- */

static void deny(scmp_filter_ctx f, int call, int error, struct scmp_arg_cmp cmp)
{
    need(seccomp_rule_add_array(f, SCMP_ACT_ERRNO(error), call, 1, &cmp), "rule");
}

static void deny_memory(scmp_filter_ctx f)
{
    need(seccomp_rule_add(
             f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1,
             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC | PROT_WRITE)),
         "mmap");
    deny(f, SCMP_SYS(mprotect), EPERM, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    deny(f, SCMP_SYS(pkey_mprotect), EPERM,
         SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
}

static void deny_families(scmp_filter_ctx f, const char *families)
{
    for (int family = 0; family < 50; family++) {
        char word[8], list[256];
        (void)snprintf(word, sizeof word, ",%d,", family);
        (void)snprintf(list, sizeof list, ",%s,", families);
        if (!strstr(list, word))
            deny(f, SCMP_SYS(socket), EAFNOSUPPORT,
                 SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family));
    }
}

static void deny_namespaces(scmp_filter_ctx f, unsigned long allowed)
{
    static const unsigned long all[] = {CLONE_NEWNS,    CLONE_NEWUTS, CLONE_NEWIPC,
                                        CLONE_NEWUSER,  CLONE_NEWPID, CLONE_NEWNET,
                                        CLONE_NEWCGROUP};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!(allowed & all[i])) {
            deny(f, SCMP_SYS(unshare), EPERM,
                 SCMP_A0(SCMP_CMP_MASKED_EQ, all[i], all[i]));
            deny(f, SCMP_SYS(clone), EPERM, SCMP_A0(SCMP_CMP_MASKED_EQ, all[i], all[i]));
        }
    /* Its flags are in memory, where no filter looks: libc then takes clone. */
    need(seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "clone3");
}

static void deny_modes(scmp_filter_ctx f)
{
    static const unsigned long bits[] = {S_ISUID, S_ISGID};
    for (int i = 0; i < 2; i++) {
        deny(f, SCMP_SYS(chmod), EPERM, SCMP_A1(SCMP_CMP_MASKED_EQ, bits[i], bits[i]));
        deny(f, SCMP_SYS(fchmod), EPERM, SCMP_A1(SCMP_CMP_MASKED_EQ, bits[i], bits[i]));
    }
    for (unsigned long policy = 1; policy <= 6; policy++)
        if (policy != SCHED_BATCH && policy != SCHED_IDLE)
            deny(f, SCMP_SYS(sched_setscheduler), EPERM, SCMP_A1(SCMP_CMP_EQ, policy));
}

static void load_rules(const char *families, unsigned long namespaces)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    if (!f)
        die("seccomp_init");
    deny_memory(f);
    deny_families(f, families);
    deny_namespaces(f, namespaces);
    deny_modes(f);
    need(seccomp_load(f), "seccomp_load");
    seccomp_release(f);
}

/* ---- the list ---- */

static int load_list(const char *path)
{
    char name[80];
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_NOTIFY);
    FILE *list = fopen(path, "re");
    if (!f || !list)
        die(path);
    while (fscanf(list, "%79s", name) == 1) {
        int call = seccomp_syscall_resolve_name(name);
        if (call >= 0) /* not every processor has every call */
            need(seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 0), name);
    }
    fclose(list);
    /* How the descriptor of the notices gets out. */
    (void)seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 0);
    need(seccomp_load(f), "seccomp_load");
    int fd = seccomp_notify_fd(f);
    return fd;
}

static void pass(int socket, int fd)
{
    char byte = 0;
    struct iovec part = {&byte, 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    if (sendmsg(socket, &m, 0) < 0)
        die("sendmsg");
}

static int receive(int socket)
{
    char byte, bytes[CMSG_SPACE(sizeof(int))];
    int fd = -1;
    struct iovec part = {&byte, 1};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = bytes,
                       .msg_controllen = sizeof bytes};
    if (recvmsg(socket, &m, MSG_CMSG_CLOEXEC) < 1 || !CMSG_FIRSTHDR(&m))
        exit(99); /* the child has said why */
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    return fd;
}

/* Answer everything that is not on the list, until nobody is left who could ask. */
static void answer(int fd, const char *path)
{
    static char seen[2048];
    struct seccomp_notif *asked;
    struct seccomp_notif_resp *answered;
    int out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    need(seccomp_notify_alloc(&asked, &answered), "seccomp_notify_alloc");
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, -1) < 0 && errno == EINTR)
            continue;
        if (!(p.revents & POLLIN))
            return; /* hung up: the last one has ended */
        memset(asked, 0, sizeof *asked);
        if (seccomp_notify_receive(fd, asked))
            continue; /* who asked has gone */
        unsigned call = (unsigned)asked->data.nr;
        char *name = seccomp_syscall_resolve_num_arch(asked->data.arch, (int)call);
        if (call < sizeof seen && !seen[call]++)
            dprintf(out, "%s\n", name ? name : "?");
        free(name);
        answered->id = asked->id;
        answered->val = 0;
        answered->error = -EPERM;
        answered->flags = 0;
        (void)seccomp_notify_respond(fd, answered);
    }
}

int main(int argc, char **argv)
{
    int pair[2];
    if (argc < 7 || strcmp(argv[5], "--") != 0)
        return 2;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        die("socketpair");
    /* The one that answers is the child, so that the program keeps the number that it was
     * started with; it ends when the last of the filtered has. */
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (!child) {
        close(pair[1]);
        (void)setsid();
        int fd = receive(pair[0]);
        close(pair[0]);
        for (int i = 0; i < 3; i++) {
            close(i);
            if (open("/dev/null", O_RDWR) < 0)
                return 99;
        }
        answer(fd, argv[2]);
        return 0;
    }
    close(pair[0]);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        die("prctl");
    load_rules(argv[3], strtoul(argv[4], NULL, 0));
    int fd = load_list(argv[1]);
    pass(pair[1], fd);
    close(fd);
    execv(argv[6], argv + 6);
    die(argv[6]);
    return 99;
}
