/* Who works: the rows of the processes that have workers. */
#include "command/command.h"

#include "base/clock.h"
#include "command/cli.h"
#include "command/database.h"
#include "job/workers.h"

static const char help[] =
    "usage: whisper-transcriber workers ls [--json]\n"
    "\n"
    "  ls    the processes that have workers, on every machine that shares the "
    "database,\n"
    "        with what each has to do; one that ended is forgotten after a minute\n"
    "\n"
    "options:\n"
    "  --json                print JSON\n"
    "  --database-url URL    the service's database (DATABASE_URL)\n"
    "  -h, --help            this help\n"
    "\n"
    "A service without DATABASE_URL=postgresql://… renews its row every 30 seconds, "
    "others\n"
    "every 5. SPEED is seconds of audio for each second of work, of the last ten jobs or "
    "so.\n"
    "\n"
    "exit codes: 0 done, 1 it did not work, 2 wrong command line or setting\n";

static void print_row(const struct store_worker *w)
{
    char started[CLOCK_ISO_SIZE], busy[32], speed[32] = "-";
    (void)clock_iso(w->started_ms, started);
    started[16] = '\0';
    (void)snprintf(busy, sizeof busy, "%d/%d", w->jobs, w->concurrency);
    if (w->real_time_factor > 0)
        (void)snprintf(speed, sizeof speed, "%.1f", 1 / w->real_time_factor);
    printf("%-36s  %-20s %-8lld %-6s %-6s %-7s %-7d %-17s %s\n", w->id, w->host,
           (long long)w->pid, worker_is_alive(w) ? "alive" : "dead", busy, speed,
           w->threads, started, w->models);
}

static int list(struct store *s, bool as_json)
{
    struct err e = {0};
    struct store_worker_list l;
    if (store_worker_list(s, clock_now_ms(), &l, &e)) {
        cli_error("%s", e.message);
        return EXIT_ERROR;
    }
    json_t *all = as_json ? json_array() : NULL;
    if (!as_json)
        printf("%-36s  %-20s %-8s %-6s %-6s %-7s %-7s %-17s %s\n", "ID", "HOST", "PID",
               "STATE", "JOBS", "SPEED", "THREADS", "SINCE", "MODELS");
    for (size_t i = 0; i < l.count; i++)
        if (as_json)
            (void)json_array_append_new(all, worker_json(&l.workers[i]));
        else
            print_row(&l.workers[i]);
    store_worker_list_release(&l);
    if (as_json)
        database_print_json(all);
    return EXIT_OK;
}

static int run(struct config *c, const void *wanted, char **words, int count)
{
    struct store *s;
    if (count != 1 || strcmp(words[0], "ls") != 0)
        return cli_usage("workers what? Only: ls");
    int code = database_open(c, false, &s);
    if (code)
        return code;
    code = list(s, *(const bool *)wanted);
    store_close(s);
    return code;
}

int command_workers(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'}, {"json", no_argument, NULL, 'j'}, {0}};
    static const struct database_verb verb = {
        .role = "workers", .as_owner = true, .run = run};
    bool as_json = false;
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (o != 'j')
            return cli_bad_option(o, argv);
        as_json = true;
    }
    return database_run(&verb, &as_json, argv + optind, argc - optind);
}
