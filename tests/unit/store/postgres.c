#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "postgres.h"

#include "store_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libpq-fe.h>
#include <sodium.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 77
/* Whom initdb and the server run as: they refuse to be root. */
#define NOBODY 65534

static char bin[PATH_MAX], folder[PATH_MAX], data[PATH_MAX + 8];
static pid_t server, owner;
static int port;

/* A port that nobody has. It is let go while the server is stopped, so it is none of
 * those that the system gives to whoever connects somewhere. */
static int free_port(void)
{
    for (;;) {
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int number = 15000 + (int)randombytes_uniform(17000);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        a.sin_port = htons((uint16_t)number);
        int rc = bind(fd, (struct sockaddr *)&a, sizeof a);
        close(fd);
        if (!rc)
            return number;
    }
}

static pid_t spawn(const char *name, const char *const *args)
{
    char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/%s", bin, name);
    pid_t parent = getpid(), pid = fork();
    assert_true(pid >= 0);
    if (pid)
        return pid;
    char log[PATH_MAX + 16];
    (void)snprintf(log, sizeof log, "%s/log", folder);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(out, 1);
    dup2(out, 2);
    if (geteuid() == 0 && (setgid(NOBODY) || setuid(NOBODY)))
        _exit(99);
    prctl(PR_SET_PDEATHSIG, SIGQUIT); /* never outlives the test */
    if (getppid() != parent || chdir(folder))
        _exit(98);
    execv(path, (char *const *)(uintptr_t)args);
    _exit(97);
}

static int run_program(const char *name, const char *const *args)
{
    int status = 0;
    pid_t pid = spawn(name, args);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 96;
}

static bool find_bin(void)
{
    glob_t g;
    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &g))
        return false;
    (void)snprintf(bin, sizeof bin, "%s", g.gl_pathv[g.gl_pathc - 1]);
    *strrchr(bin, '/') = '\0';
    globfree(&g);
    return true;
}

static PGconn *connect_to(const char *database)
{
    char text[200];
    (void)snprintf(text, sizeof text,
                   "host=127.0.0.1 port=%d user=postgres password=%s dbname=%s", port,
                   POSTGRES_PASSWORD, database);
    return PQconnectdb(text);
}

void postgres_stop(void)
{
    if (!server)
        return;
    kill(server, SIGQUIT);
    while (waitpid(server, NULL, 0) < 0 && errno == EINTR)
        ;
    server = 0;
}

void postgres_start(void)
{
    char at[16];
    (void)snprintf(at, sizeof at, "%d", port);
    const char *const args[] = {"postgres",
                                "-D",
                                data,
                                "-p",
                                at,
                                "-k",
                                folder,
                                "-c",
                                "listen_addresses=127.0.0.1",
                                "-c",
                                "fsync=off",
                                "-c",
                                "max_connections=60",
                                NULL};
    server = spawn("postgres", args);
    for (int i = 0; i < 600; i++) {
        PGconn *c = connect_to("postgres");
        bool up = PQstatus(c) == CONNECTION_OK;
        PQfinish(c);
        if (up)
            return;
        usleep(20000);
    }
    fail_msg("PostgreSQL does not come up: see %s/log", folder);
}

static void at_end(void)
{
    if (getpid() != owner)
        return;
    postgres_stop();
    test_folder_remove(folder);
}

static void make_server(void)
{
    char secret[PATH_MAX + 16], of[PATH_MAX + 32];
    test_folder_make(folder);
    if (geteuid() == 0)
        assert_int_equal(chown(folder, NOBODY, NOBODY), 0);
    (void)snprintf(data, sizeof data, "%s/data", folder);
    (void)snprintf(secret, sizeof secret, "%s/password", folder);
    (void)snprintf(of, sizeof of, "--pwfile=%s", secret);
    FILE *file = fopen(secret, "w");
    assert_non_null(file);
    fputs(POSTGRES_PASSWORD, file);
    fclose(file);
    const char *const args[] = {"initdb",     "-D",        data,
                                "-U",         "postgres",  "--auth=scram-sha-256",
                                of,           "--no-sync", "--encoding=UTF8",
                                "--locale=C", NULL};
    owner = getpid();
    atexit(at_end);
    if (run_program("initdb", args))
        fail_msg("initdb failed: see %s/log", folder);
    port = free_port();
    postgres_start();
    postgres_run("postgres", "CREATE ROLE wt LOGIN PASSWORD '" POSTGRES_PASSWORD "'");
}

void postgres_need(void)
{
    if (owner)
        return;
    if (!find_bin()) {
        print_message("skipped: PostgreSQL is not installed (postgresql)\n");
        exit(SKIPPED);
    }
    make_server();
}

struct postgres_session *postgres_session(const char *database)
{
    return (struct postgres_session *)connect_to(database);
}

void postgres_session_run(struct postgres_session *s, const char *sql)
{
    PGresult *r = PQexec((PGconn *)s, sql);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage((PGconn *)s));
    PQclear(r);
}

void postgres_session_close(struct postgres_session *s)
{
    PQfinish((PGconn *)s);
}

void postgres_run(const char *database, const char *sql)
{
    struct postgres_session *s = postgres_session(database);
    postgres_session_run(s, sql);
    postgres_session_close(s);
}

long postgres_ask(const char *database, const char *sql)
{
    PGconn *c = connect_to(database);
    PGresult *r = PQexec(c, sql);
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(c));
    long n = PQntuples(r) ? strtol(PQgetvalue(r, 0, 0), NULL, 10) : -1;
    PQclear(r);
    PQfinish(c);
    return n;
}

int postgres_port(void)
{
    return port;
}

void postgres_url(const char *database, char *out, size_t size)
{
    (void)snprintf(out, size, "postgresql://wt:%s@127.0.0.1:%d/%s", POSTGRES_PASSWORD,
                   port, database);
}

void postgres_make(const char *database)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql, "CREATE DATABASE \"%s\" OWNER wt TEMPLATE template0",
                   database);
    postgres_run("postgres", sql);
}

void postgres_drop(const char *database)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql, "DROP DATABASE IF EXISTS \"%s\" WITH (FORCE)",
                   database);
    postgres_run("postgres", sql);
}
