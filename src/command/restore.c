/* The way back from a copy that `backup` made. */
#include "command/command.h"

#include "backup/backup.h"
#include "command/cli.h"
#include "command/database.h"
#include "command/owner.h"

#include <inttypes.h>

static const char help[] =
    "usage: whisper-transcriber restore [--dry-run] [--force] [FROM]\n"
    "\n"
    "Brings the database and the recordings of a copy to where the settings say\n"
    "(DATABASE_URL, STORAGE_DIR or STORAGE_URL): all of it, or nothing. No service may\n"
    "run there. FROM is a name that `backup list` shows, the path of a manifest, or a\n"
    "folder or s3://BUCKET/PREFIX with copies; without it, the newest in BACKUP_DIR.\n"
    "\n"
    "options:\n"
    "  --dry-run           read and check everything, and change nothing\n"
    "  --force             also where something is: that is put aside, and said where\n"
    "  --backup-dir DIR    where copies are (BACKUP_DIR)\n"
    "  --key-file FILE     the key that they are encrypted with (BACKUP_KEY_FILE)\n"
    "  --database-url URL  the service's database (DATABASE_URL)\n"
    "  -h, --help          this help\n"
    "\n"
    "A copy of an older version is brought up to date by the first start. Jobs that "
    "were\n"
    "being transcribed go on; uploads that were not whole are gone. Keys that were "
    "revoked\n"
    "after the copy was made are valid again: revoke them again.\n"
    "\n"
    "exit codes: 0 done, 1 it did not work, 2 wrong command line or setting\n";

struct wanted {
    struct restore_wish wish;
    const char *key_file;
};

static void warn(const char *text)
{
    cli_error("warning: %s", text);
}

static int restore(const struct config *c, const struct restore_wish *w)
{
    static const struct backup_watch watch = {.stopped = cli_interrupted, .warn = warn};
    struct backup_restored r;
    struct err e = {0};
    int status = backup_restore(c, w, &watch, &r, &e);
    if (!status) {
        printf("%s %s: %" PRId64 " jobs, %" PRId64 " transcripts, %zu recordings\n",
               w->dry ? "could restore" : "restored", r.name, r.counts.jobs,
               r.counts.transcripts, r.recordings);
        if (r.missing)
            printf("%zu recordings were missing when the copy was made\n", r.missing);
        if (r.aside.length)
            printf("what was there is now %s: remove it when all is well\n",
                   buf_cstr(&r.aside));
    }
    buf_release(&r.aside);
    return !status                   ? EXIT_OK
           : e.code == ERR_CANCELLED ? EXIT_INTERRUPTED
                                     : database_fail(&e);
}

static int run(struct config *c, const void *wanted, char **words, int count)
{
    const struct wanted *w = wanted;
    struct restore_wish wish = w->wish;
    if (count > 1)
        return cli_usage("`restore` takes one copy");
    wish.from = count ? words[0] : NULL;
    int code = w->key_file ? cli_set(c, "BACKUP_KEY_FILE", w->key_file) : EXIT_OK;
    return code ? code : restore(c, &wish);
}

int command_restore(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"dry-run", no_argument, NULL, 'n'},
                                            {"force", no_argument, NULL, 'f'},
                                            {"key-file", required_argument, NULL, 'k'},
                                            {0}};
    static const struct database_verb verb = {
        .role = "restore", .as_owner = true, .interrupts = true, .run = run};
    struct wanted w = {0};
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (o == '?' || o == ':')
            return cli_bad_option(o, argv);
        w.wish.dry |= o == 'n';
        w.wish.force |= o == 'f';
        w.key_file = o == 'k' ? optarg : w.key_file;
    }
    return database_run(&verb, &w, argv + optind, argc - optind);
}
