/* Copies of the database and the recordings, beside a service that runs or does not. */
#include "command/command.h"

#include "backup/backup.h"
#include "base/clock.h"
#include "command/cli.h"
#include "command/database.h"
#include "command/owner.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
    "usage: whisper-transcriber backup [--settings FILE|--no-settings] [--every HOURS]\n"
    "                                  [--json]\n"
    "       whisper-transcriber backup list [--json]\n"
    "       whisper-transcriber backup verify [NAME|PATH]\n"
    "       whisper-transcriber backup drill\n"
    "       whisper-transcriber backup settings [NAME|PATH]\n"
    "\n"
    "  backup   copy the database and the recordings, of one moment, into BACKUP_DIR;\n"
    "           a service may run meanwhile. Copies older than BACKUP_RETENTION_DAYS\n"
    "           go then, the newest never\n"
    "  list     the copies that are there, oldest first\n"
    "  verify   read every file of a copy (the newest) and compare its checksum\n"
    "  drill    restore the newest copy in a scratch place and look whether all is well\n"
    "  settings print the settings file that was put into a copy (the newest)\n"
    "\n"
    "options:\n"
    "  --settings FILE     put this file into the copy, not the settings file in force\n"
    "  --no-settings       put none into it: secrets may stand there\n"
    "  --every HOURS       a copy now, and another one every so many hours, until "
    "SIGTERM\n"
    "                      or SIGINT; one that fails is tried again after a minute. For\n"
    "                      where there is no timer, as in a container\n"
    "  --backup-dir DIR    where copies are: a folder, or s3://BUCKET/PREFIX "
    "(BACKUP_DIR)\n"
    "  --key-file FILE     the key that they are encrypted with (BACKUP_KEY_FILE)\n"
    "  --database-url URL  the service's database (DATABASE_URL)\n"
    "  --json              print JSON\n"
    "  -h, --help          this help\n"
    "\n"
    "Models are not copied; `models pull` brings them again.\n"
    "`whisper-transcriber restore` is the way back.\n"
    "\n"
    "exit codes: 0 done, 1 it did not work, or a recording was missing in the storage,\n"
    "            2 wrong command line or setting\n";

#define HOURS_MAX 8760
#define HOUR_NS   (INT64_C(3600) * 1000000000)
#define RETRY_NS  (INT64_C(60) * 1000000000)

struct wanted {
    const char *settings, *key_file;
    const char *every; /* hours from one copy to the next; NULL: only one */
    bool no_settings, json;
};

static void warn(const char *text)
{
    cli_error("warning: %s", text);
}

static const struct backup_watch watch = {.stopped = cli_interrupted, .warn = warn};

static int fail(const struct err *e)
{
    if (e->code == ERR_CANCELLED)
        return EXIT_INTERRUPTED;
    return database_fail(e);
}

/* ---- making ---------------------------------------------------------------------- */

static void print_made(const struct backup_result *r, bool json)
{
    if (json) {
        database_print_json(json_pack(
            "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", r->name, "jobs",
            (json_int_t)r->counts.jobs, "transcripts", (json_int_t)r->counts.transcripts,
            "recordings", (json_int_t)r->recordings, "missing", (json_int_t)r->missing,
            "bytes", (json_int_t)r->bytes, "copied_bytes", (json_int_t)r->copied_bytes,
            "removed_copies", (json_int_t)r->removed));
        return;
    }
    printf("%s: %" PRId64 " jobs, %zu recordings, %.1f MB (%.1f MB copied)\n", r->name,
           r->counts.jobs, r->recordings, (double)r->bytes / 1e6,
           (double)r->copied_bytes / 1e6);
    if (r->removed)
        printf("removed %zu copies that were old enough\n", r->removed);
}

/* Whoever has lost everything needs it most. */
static const char *settings_of(const struct config *c, const struct wanted *w)
{
    struct stat st;
    if (w->settings)
        return w->settings;
    if (w->no_settings || !*c->file || stat(c->file, &st) || !S_ISREG(st.st_mode))
        return NULL;
    if (!access(c->file, R_OK))
        return c->file;
    cli_error("warning: %s is not in the copy, for this user cannot read it", c->file);
    return NULL;
}

/* `made`: whether there is a copy now, with all or not. */
static int make(const struct config *c, const struct wanted *w, bool *made)
{
    struct backup_result r;
    struct err e = {0};
    *made = !backup_make(c, settings_of(c, w), &watch, &r, &e);
    if (!*made)
        return fail(&e);
    print_made(&r, w->json);
    if (!r.missing)
        return EXIT_OK;
    cli_error("%zu recordings of this copy are missing in the storage: see `check`, and "
              "take them from an older copy",
              r.missing);
    return EXIT_ERROR;
}

/* Until then, or until we are told to stop. The signals are let in only while we wait, so
 * that none comes between the look at the flag and the wait. */
static void wait_until(int64_t when_ns)
{
    sigset_t stops, before;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &stops, &before);
    for (int64_t left; (left = when_ns - clock_monotonic_ns()) > 0;) {
        struct timespec t = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        if (cli_interrupted(NULL))
            break;
        (void)ppoll(NULL, 0, &t, &before);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
}

/* What is wrong on the command line or in the settings stays wrong: that ends it. */
static int make_every(const struct config *c, const struct wanted *w, int hours)
{
    while (!cli_interrupted(NULL)) {
        bool made;
        int64_t began_ns = clock_monotonic_ns();
        int code = make(c, w, &made);
        if (code == EXIT_USAGE || code == EXIT_INTERRUPTED)
            return code;
        if (cli_finish_output())
            return EXIT_ERROR;
        wait_until(made ? began_ns + hours * HOUR_NS : clock_monotonic_ns() + RETRY_NS);
    }
    return EXIT_OK;
}

/* ---- looking --------------------------------------------------------------------- */

static json_t *present(const char *name, const struct manifest *m, const struct err *e)
{
    if (!m)
        return json_pack("{s:s, s:s}", "name", name, "error", e->message);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "name", name, "version",
                     m->version, "database", m->kind, "jobs", (json_int_t)m->counts.jobs,
                     "files", (json_int_t)m->n_files, "missing", (json_int_t)m->n_missing,
                     "bytes", (json_int_t)manifest_bytes(m));
}

static void show(const char *name, const struct manifest *m, const struct err *e)
{
    if (!m)
        printf("%-27s %s\n", name, e->message);
    else
        printf("%-27s %10" PRId64 " %10zu %10.1f  %s %s\n", name, m->counts.jobs,
               m->n_files, (double)manifest_bytes(m) / 1e6, m->kind, m->version);
}

static int list(const struct config *c, const struct wanted *w)
{
    struct vault v;
    struct made_list l = {0};
    struct err e = {0};
    int status = vault_open(&v, c, NULL, false, &e);
    if (!status)
        status = made_list(&v, &l, &e);
    json_t *all = w->json ? json_array() : NULL;
    if (!status && !w->json && l.count)
        printf("%-27s %10s %10s %10s  %s\n", "NAME", "JOBS", "FILES", "MB", "DATABASE");
    else if (!status && !w->json)
        printf("no copies in %s: make one with `backup`\n", depot_name(v.depot));
    for (size_t i = 0; !status && i < l.count; i++) {
        struct manifest m;
        struct err why = {0};
        bool good = !made_read(&v, l.copies[i].name, &m, NULL, &why);
        if (w->json)
            json_array_append_new(all, present(l.copies[i].name, good ? &m : NULL, &why));
        else
            show(l.copies[i].name, good ? &m : NULL, &why);
        if (good)
            manifest_release(&m);
    }
    if (!status && w->json)
        database_print_json(json_incref(all));
    json_decref(all);
    made_list_release(&l);
    vault_close(&v);
    return status ? fail(&e) : EXIT_OK;
}

static void say_bad(const char *sentence)
{
    cli_error("%s", sentence);
}

static int verify(const struct config *c, const char *from)
{
    char name[MADE_NAME_SIZE];
    struct vault v;
    struct err e = {0};
    size_t files = 0;
    int64_t bytes = 0;
    int status = made_find(&v, c, from, name, &e);
    if (status)
        return fail(&e);
    v.stopped = cli_interrupted;
    status = backup_verify(&v, name, say_bad, &files, &bytes, &e);
    vault_close(&v);
    if (status == ERR_CANCELLED)
        return EXIT_INTERRUPTED;
    if (status && !files)
        cli_error("%s", e.message);
    if (status)
        cli_error("%s is damaged: %zu files are as they were", name, files);
    else
        printf("%s: all %zu files are as they were, %.1f MB\n", name, files,
               (double)bytes / 1e6);
    return status ? EXIT_ERROR : EXIT_OK;
}

static int drill(const struct config *c)
{
    struct backup_result r;
    struct err e = {0};
    if (backup_drill(c, &watch, &r, &e))
        return fail(&e);
    printf("%s can be restored: %" PRId64 " jobs, %" PRId64 " transcripts, %zu "
           "recordings, %.1f MB\n",
           r.name, r.counts.jobs, r.counts.transcripts, r.recordings,
           (double)r.bytes / 1e6);
    return EXIT_OK;
}

static int print_some(void *arg, const void *bytes, size_t length, struct err *e)
{
    (void)arg, (void)e;
    (void)fwrite(bytes, 1, length, stdout); /* the end tells whether it went well */
    return 0;
}

static int print_settings(const struct config *c, const char *from)
{
    char name[MADE_NAME_SIZE];
    struct vault v;
    struct manifest m = {0};
    struct err e = {0};
    int status = made_find(&v, c, from, name, &e);
    if (status)
        return fail(&e);
    status = made_read(&v, name, &m, NULL, &e);
    const struct manifest_file *f = status ? NULL : manifest_find(&m, ROLE_SETTINGS);
    if (f)
        status = object_read(&v, f, print_some, NULL, &e);
    else if (!status)
        status = err_set(&e, ERR_NOT_FOUND, "no settings file was put into %s", name);
    manifest_release(&m);
    vault_close(&v);
    return status ? fail(&e) : EXIT_OK;
}

/* ---- the command line ------------------------------------------------------------ */

static int parse_hours(const char *text, int *out)
{
    char *end;
    errno = 0;
    long hours = strtol(text, &end, 10);
    if (end == text || *end || errno || hours < 1 || hours > HOURS_MAX) {
        cli_error("--every is a whole number of hours, from 1 to %d", HOURS_MAX);
        return EXIT_USAGE;
    }
    *out = (int)hours;
    return EXIT_OK;
}

static int run(struct config *c, const void *wanted, char **words, int count)
{
    const struct wanted *w = wanted;
    const char *verb = count ? words[0] : "";
    int hours = 0;
    bool made;
    int code = w->key_file ? cli_set(c, "BACKUP_KEY_FILE", w->key_file) : EXIT_OK;
    if (!code && w->every)
        code = parse_hours(w->every, &hours);
    if (code)
        return code;
    if (w->every)
        return count ? cli_usage("--every is for making copies")
                     : make_every(c, w, hours);
    if (!count)
        return make(c, w, &made);
    if (count == 1 && !strcmp(verb, "list"))
        return list(c, w);
    if (count <= 2 && !strcmp(verb, "verify"))
        return verify(c, count == 2 ? words[1] : NULL);
    if (count <= 2 && !strcmp(verb, "settings"))
        return print_settings(c, count == 2 ? words[1] : NULL);
    if (count == 1 && !strcmp(verb, "drill"))
        return drill(c);
    cli_error("`backup %s` is not understood; try --help", verb);
    return EXIT_USAGE;
}

int command_backup(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"settings", required_argument, NULL, 's'},
                                            {"no-settings", no_argument, NULL, 'n'},
                                            {"key-file", required_argument, NULL, 'k'},
                                            {"every", required_argument, NULL, 'e'},
                                            {0}};
    static const struct database_verb verb = {
        .role = "backup", .as_owner = true, .interrupts = true, .run = run};
    struct wanted w = {0};
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (o == '?' || o == ':')
            return cli_bad_option(o, argv);
        w.json |= o == 'j';
        w.no_settings |= o == 'n';
        w.settings = o == 's' ? optarg : w.settings;
        w.key_file = o == 'k' ? optarg : w.key_file;
        w.every = o == 'e' ? optarg : w.every;
    }
    return database_run(&verb, &w, argv + optind, argc - optind);
}
