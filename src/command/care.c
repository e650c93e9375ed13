/* `database`: is it sound, and does it take more space than it needs? */
#include "command/command.h"

#include "command/cli.h"
#include "command/database.h"
#include "job/care.h"

static const char help[] =
    "usage: whisper-transcriber database check [--quick] [--json]\n"
    "       whisper-transcriber database vacuum [--json]\n"
    "\n"
    "  check    read all of the database, and compare it with the recordings: damaged\n"
    "           pages and indexes, rows that name what is not there, recordings that "
    "are\n"
    "           gone or cut\n"
    "  vacuum   give the space of what was deleted back to the disk. Beside a service a\n"
    "           large SQLite file is not written anew: stop it for that.\n"
    "\n"
    "options:\n"
    "  --quick               check: leave out what takes long for a large database\n"
    "  --json                print JSON\n"
    "  --database-url URL    the service's database (DATABASE_URL)\n"
    "  -h, --help            this help\n"
    "\n"
    "Both work beside a service that runs. Once a week is often enough; /metrics tells "
    "when\n"
    "it was last.\n"
    "\n"
    "exit codes: 0 all is well, 1 something is wrong or it did not work, 2 wrong "
    "command\n"
    "line or setting\n";

struct wanted {
    bool json, quick;
};

/* On the standard error, so that it is seen where the rest is thrown away. */
static void print_finding(void *arg, const char *sentence)
{
    json_t *all = arg;
    if (all)
        (void)json_array_append_new(all, json_string(sentence));
    else
        cli_error("%s", sentence);
}

static int check(struct store *s, const struct config *c, const struct wanted *w)
{
    struct blob_store *blobs;
    struct err e = {0};
    int64_t findings = 0;
    if (blob_store_open_as_set(&blobs, c, 0, &e))
        return database_fail(&e);
    json_t *all = w->json ? json_array() : NULL;
    int status = care_check(s, blobs, w->quick, print_finding, all, &findings, &e);
    blob_store_close(blobs);
    if (status) {
        json_decref(all);
        return database_fail(&e);
    }
    if (w->json)
        database_print_json(json_pack("{s:b, s:o}", "ok", !findings, "findings", all));
    else if (!findings)
        puts("the database and its recordings are sound");
    else
        cli_error(
            "%lld thing(s) are wrong. Damaged pages: stop the service, keep a copy of "
            "the file, and restore the last backup that `backup verify` says is good",
            (long long)findings);
    return findings ? EXIT_ERROR : EXIT_OK;
}

static int vacuum(struct store *s, const struct wanted *w)
{
    struct store_vacuumed v;
    struct err e = {0};
    if (store_vacuum(s, &v, &e))
        return database_fail(&e);
    if (w->json)
        database_print_json(json_pack("{s:I, s:I, s:b}", "before_bytes",
                                      (json_int_t)v.before_bytes, "after_bytes",
                                      (json_int_t)v.after_bytes, "whole", v.whole));
    else
        printf("%.1f MB before, %.1f MB after%s\n", (double)v.before_bytes / 1048576,
               (double)v.after_bytes / 1048576,
               v.whole ? "" : "; a service uses it: stop it to have it written anew");
    return EXIT_OK;
}

static int run(struct config *c, const void *wanted, char **words, int count)
{
    const struct wanted *w = wanted;
    const char *verb = count ? words[0] : "";
    bool checks = !strcmp(verb, "check");
    struct store *s;
    if (count != 1 || (!checks && strcmp(verb, "vacuum") != 0))
        return cli_usage("database what? One of: check, vacuum");
    if (w->quick && !checks)
        return cli_usage("--quick is for `database check`");
    int code = database_open(c, false, &s);
    if (code)
        return code;
    code = checks ? check(s, c, w) : vacuum(s, w);
    store_close(s);
    return code;
}

int command_database(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"quick", no_argument, NULL, 'q'},
                                            {0}};
    struct wanted w = {0};
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (o == '?' || o == ':')
            return cli_bad_option(o, argv);
        w.json |= o == 'j';
        w.quick |= o == 'q';
    }
    static const struct database_verb verb = {.role = "database", .run = run};
    return database_run(&verb, &w, argv + optind, argc - optind);
}
