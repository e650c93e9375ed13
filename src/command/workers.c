/* Who works: the rows of the processes that have workers. */
#include "command/command.h"

#include "base/json_text.h"
#include "base/log.h"
#include "base/clock.h"
#include "command/cli.h"
#include "command/owner.h"
#include "job/workers.h"

#include <unistd.h>

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
    if (as_json) {
        char *text = json_text(all, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        puts(text ? text : "null");
        free(text);
        json_decref(all);
    }
    return EXIT_OK;
}

/* A file that is not there has no service: making one would only mislead. */
static int run(const struct config *c, bool as_json)
{
    static const char scheme[] = "sqlite:///";
    struct err e = {0};
    struct store *s;
    const struct store_options options = {.exclusive = false};
    const char *file = strncmp(c->database_url, scheme, strlen(scheme))
                           ? NULL
                           : c->database_url + strlen(scheme);
    if (file && access(file, F_OK)) {
        cli_error("there is no database at %s: run this in the service's folder, or say "
                  "where it is with --database-url",
                  file);
        return EXIT_ERROR;
    }
    if (store_open(&s, c->database_url, &options, &e)) {
        cli_error("%s", e.message);
        return e.code == ERR_INVALID ? EXIT_USAGE : EXIT_ERROR;
    }
    int code = list(s, as_json);
    store_close(s);
    return code;
}

int command_workers(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"json", no_argument, NULL, 'j'},
        {"database-url", required_argument, NULL, 'd'},
        {0}};
    const struct log_options log = {
        .level = LOG_WARNING, .to_stderr = true, .role = "workers"};
    const char *url = NULL;
    bool as_json = false;
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (o != 'j' && o != 'd')
            return cli_bad_option(o, argv);
        as_json |= o == 'j';
        url = o == 'd' ? optarg : url;
    }
    if (argc - optind != 1 || strcmp(argv[optind], "ls") != 0) {
        cli_error("workers what? Only: ls; try --help");
        return EXIT_USAGE;
    }
    struct config c;
    int code = cli_load_config(&c);
    if (code)
        return code;
    (void)log_open(&log, NULL);
    if (url)
        code = cli_set(&c, "DATABASE_URL", url);
    if (!code)
        code = owner_become_of_data(&c);
    if (!code)
        code = run(&c, as_json);
    int output = cli_finish_output();
    config_release(&c);
    return code ? code : output;
}
