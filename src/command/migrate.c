/* The schema of the database: where it stands, and forward or back. */
#include "command/command.h"

#include "command/cli.h"
#include "command/database.h"
#include "command/owner.h"
#include "store/schema.h"

#include <errno.h>

static const char help[] =
    "usage: whisper-transcriber migrate status [--json]\n"
    "       whisper-transcriber migrate up [--to N]\n"
    "       whisper-transcriber migrate down [--to N]\n"
    "\n"
    "  status   the database's schema, the one that this version knows, and whether "
    "they\n"
    "           go together\n"
    "  up       forward to the newest schema that this version knows; a service does "
    "this\n"
    "           by itself when it starts\n"
    "  down     back by one step, before an older version is installed again. Nothing "
    "is\n"
    "           lost.\n"
    "\n"
    "options:\n"
    "  --to N                to this schema\n"
    "  --json                print JSON\n"
    "  --database-url URL    the service's database (DATABASE_URL)\n"
    "  -h, --help            this help\n"
    "\n"
    "A version runs with a database that is newer by one version, so that two versions\n"
    "may run at the same time on PostgreSQL. What a service that runs could not go on "
    "with\n"
    "is refused. An SQLite file is moved while its service is stopped.\n"
    "\n"
    "exit codes: 0 done, 1 it did not work, 2 wrong command line or setting\n";

struct wanted {
    bool json;
    const char *to;
};

static const char *verdict(const struct store_schema *s)
{
    return s->version == s->known  ? "the database is up to date"
           : s->version < s->known ? "the database is of an older version: `migrate up`, "
                                     "or the start of a service, brings it up to date"
           : s->needs <= s->known  ? "the database is of a newer version, which allows "
                                     "this one to run"
                                   : "the database is of a newer version, which this one "
                                     "cannot run with";
}

static int show(const struct store_schema *s, bool as_json)
{
    bool runs = s->needs <= s->known;
    if (as_json)
        database_print_json(json_pack("{s:i, s:i, s:i, s:b, s:i}", "schema", s->version,
                                      "known", s->known, "needs", s->needs, "runs", runs,
                                      "services", s->running));
    else
        printf(
            "schema of the database: %d\nknown to this version:  %d\nservices that use "
            "it:   %d\n%s\n",
            s->version, s->known, s->running, verdict(s));
    return runs ? EXIT_OK : EXIT_ERROR;
}

static int parse_to(const char *text, int *out)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < 1 || value > 100000)
        return cli_usage("--to is the number of a schema, as `migrate status` shows");
    *out = (int)value;
    return EXIT_OK;
}

static int move(const struct config *c, const struct wanted *w, bool up)
{
    struct store_schema now;
    struct err e = {0};
    if (store_schema_look(c->database_url, &now, &e))
        return database_fail(&e);
    int to = up ? now.known : now.version - 1;
    if (w->to && parse_to(w->to, &to))
        return EXIT_USAGE;
    if (up ? to < now.version : to > now.version) {
        cli_error("the database has schema %d already", now.version);
        return EXIT_ERROR;
    }
    if (store_schema_move(c->database_url, to, &e))
        return database_fail(&e);
    printf("schema %d\n", to);
    return EXIT_OK;
}

static int run(struct config *c, const void *wanted, char **words, int count)
{
    const struct wanted *w = wanted;
    const char *verb = count ? words[0] : "";
    struct store_schema now;
    struct err e = {0};
    bool up = !strcmp(verb, "up"), status = !strcmp(verb, "status");
    if (count != 1 || (!up && !status && strcmp(verb, "down") != 0))
        return cli_usage("migrate what? One of: status, up, down");
    if (!status)
        return move(c, w, up);
    return store_schema_look(c->database_url, &now, &e) ? database_fail(&e)
                                                        : show(&now, w->json);
}

int command_migrate(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"to", required_argument, NULL, 't'},
                                            {0}};
    struct wanted w = {0};
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (o != 'j' && o != 't')
            return cli_bad_option(o, argv);
        w.json |= o == 'j';
        w.to = o == 't' ? optarg : w.to;
    }
    static const struct database_verb verb = {
        .role = "migrate", .as_owner = true, .run = run};
    return database_run(&verb, &w, argv + optind, argc - optind);
}
