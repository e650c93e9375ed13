#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "redis_server.h"

#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

bool redis_server_present(void)
{
    bool found = !access("/usr/bin/redis-server", X_OK) ||
                 !access("/usr/local/bin/redis-server", X_OK);
    if (!found)
        print_message("skipped: redis-server is not installed\n");
    return found;
}

static struct redis_link *open_link(const struct redis_server *s, struct err *e)
{
    struct redis_address a;
    struct redis_link *l = NULL;
    assert_int_equal(redis_address_parse(&a, s->url, NULL, e), 0);
    (void)redis_link_open(&l, &a, e);
    redis_address_release(&a);
    return l;
}

void redis_server_start(struct redis_server *s, const char *option, const char *value)
{
    char path[PATH_MAX + 8], log[PATH_MAX + 8];
    (void)snprintf(path, sizeof path, "%s/s", s->folder);
    (void)snprintf(log, sizeof log, "%s/log", s->folder);
    (void)snprintf(s->url, sizeof s->url, "unix://%s", path);
    const char *const argv[] = {"redis-server",
                                "--port",
                                "0",
                                "--unixsocket",
                                path,
                                "--save",
                                "",
                                "--dir",
                                s->folder,
                                "--appendonly",
                                "no",
                                "--logfile",
                                log,
                                option,
                                value,
                                NULL};
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        /* A test that fails must not leave it behind, nor whoever reads its output
         * waiting. */
        int null = open("/dev/null", O_RDWR);
        (void)dup2(null, 1);
        (void)dup2(null, 2);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    for (int i = 0; i < 500; i++) {
        struct err e;
        struct redis_link *l = open_link(s, &e);
        if (l || e.code == ERR_DENIED) {
            redis_link_close(l);
            return;
        }
        usleep(10000);
    }
    fail_msg("redis-server does not come up");
}

void redis_server_kill(struct redis_server *s)
{
    if (s->pid <= 0)
        return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

redisReply *redis_server_ask(const struct redis_server *s, const char *words)
{
    struct err e = {0};
    struct redis_words w = {0};
    redisReply *reply = NULL;
    struct redis_link *l = open_link(s, &e);
    if (!l)
        fail_msg("%s", e.message);
    redis_words_begin(&w, words);
    if (redis_link_ask(l, &w, 5000, &reply, &e))
        fail_msg("%s: %s", words, e.message);
    redis_words_release(&w);
    redis_link_close(l);
    return reply;
}

long long redis_server_number(const struct redis_server *s, const char *words)
{
    redisReply *r = redis_server_ask(s, words);
    long long n = r->type == REDIS_REPLY_INTEGER ? r->integer : -1;
    freeReplyObject(r);
    return n;
}

static int compare(const void *a, const void *b)
{
    return strcmp((*(redisReply *const *)a)->str, (*(redisReply *const *)b)->str);
}

const char *redis_server_keys(const struct redis_server *s, char *out, size_t size)
{
    redisReply *r = redis_server_ask(s, "KEYS *");
    size_t at = 0;
    out[0] = '\0';
    if (r->elements)
        qsort(r->element, r->elements, sizeof(redisReply *), compare);
    for (size_t i = 0; i < r->elements && at < size; i++)
        if (!strstr(r->element[i]->str, "}:turn") &&
            !strstr(r->element[i]->str, "}:store") &&
            !strstr(r->element[i]->str, "}:waiting"))
            at += (size_t)snprintf(out + at, size - at, "%s%s", at ? " " : "",
                                   r->element[i]->str);
    freeReplyObject(r);
    return out;
}
