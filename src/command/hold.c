/* Holds from the shell, beside a `serve` that is running or not. */
#include "command/command.h"

#include "base/clock.h"
#include "command/cli.h"
#include "command/database.h"
#include "job/holds.h"

static const char help[] =
    "usage: whisper-transcriber hold add ID... --reason TEXT\n"
    "       whisper-transcriber hold rm ID...\n"
    "       whisper-transcriber hold ls [--json]\n"
    "\n"
    "  add   keep jobs: from then on nobody removes them, neither their owner nor the\n"
    "        retention nor `prune`, whatever their days are\n"
    "  rm    take the holds back; what is older than its days goes with the next round\n"
    "  ls    the jobs on hold, and why\n"
    "\n"
    "options:\n"
    "  --reason TEXT         why; only operators see it\n"
    "  --json                print JSON\n"
    "  --database-url URL    the service's database (DATABASE_URL)\n"
    "  -h, --help            this help\n"
    "\n"
    "exit codes: 0 done, 1 it did not work (for one job at least), 2 wrong command line\n"
    "or setting\n";

static const struct key_actor shell = {"", "shell"};

struct wanted {
    bool json;
    const char *reason;
};

static int change(struct store *s, const struct wanted *w, bool add, char **ids,
                  int count)
{
    int code = EXIT_OK;
    for (int i = 0; i < count; i++) {
        struct err e = {0};
        int status = add ? holds_place(s, ids[i], w->reason, &shell, &e)
                         : holds_take_back(s, ids[i], &shell, &e);
        if (status == ERR_INVALID)
            return database_fail(&e);
        if (status) {
            cli_error("%s: %s", ids[i], e.message);
            code = EXIT_ERROR;
        } else {
            printf("%s: %s\n", ids[i], add ? "on hold" : "not on hold any more");
        }
    }
    return code;
}

static int list(struct store *s, bool as_json)
{
    struct err e = {0};
    struct store_hold_list l;
    if (store_hold_list(s, &l, &e))
        return database_fail(&e);
    json_t *all = as_json ? json_array() : NULL;
    if (!as_json)
        printf("%-36s  %-17s %-16s %s\n", "ID", "SINCE", "BY", "REASON");
    for (size_t i = 0; i < l.count; i++) {
        const struct store_hold *h = &l.holds[i];
        char since[CLOCK_ISO_SIZE];
        json_t *o = as_json ? hold_json(h, true) : NULL;
        (void)clock_iso(h->placed_ms, since);
        since[16] = '\0';
        if (as_json) {
            (void)json_object_set_new(o, "job_id", json_string(h->job_id));
            (void)json_array_append_new(all, o);
        } else {
            printf("%-36s  %-17s %-16s %s\n", h->job_id, since, h->placed_by, h->reason);
        }
    }
    store_hold_list_release(&l);
    if (as_json)
        database_print_json(all);
    return EXIT_OK;
}

static int run(struct config *c, const void *wanted, char **words, int count)
{
    const struct wanted *w = wanted;
    const char *verb = count ? words[0] : "";
    bool adds = !strcmp(verb, "add"), removes = !strcmp(verb, "rm");
    struct store *s;
    if (!adds && !removes && strcmp(verb, "ls") != 0)
        return cli_usage("hold what? One of: add, rm, ls");
    if (adds || removes ? count < 2 : count > 1)
        return cli_usage(adds || removes ? "hold which? `queue ls` shows ids of jobs"
                                         : "`hold ls` takes options only");
    if (adds != (w->reason != NULL))
        return cli_usage(adds ? "say why the jobs are kept: --reason"
                              : "--reason is for `hold add`");
    int code = database_open(c, false, &s);
    if (code)
        return code;
    code = adds || removes ? change(s, w, adds, words + 1, count - 1) : list(s, w->json);
    store_close(s);
    return code;
}

int command_hold(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"reason", required_argument, NULL, 'r'},
                                            {0}};
    struct wanted w = {0};
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (o != 'j' && o != 'r')
            return cli_bad_option(o, argv);
        w.json |= o == 'j';
        w.reason = o == 'r' ? optarg : w.reason;
    }
    static const struct database_verb verb = {.role = "hold", .run = run};
    return database_run(&verb, &w, argv + optind, argc - optind);
}
