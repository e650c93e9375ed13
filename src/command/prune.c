/* The retention by hand, beside a `serve` that is running or not. */
#include "command/command.h"

#include "backup/backup.h"
#include "base/clock.h"
#include "command/cli.h"
#include "command/database.h"
#include "job/care.h"
#include "job/keys.h"

#include <errno.h>

#define DAYS_MAX 36500

static const char help[] =
    "usage: whisper-transcriber prune [--dry-run] [--older-than DAYS] [--aside]\n"
    "                                [--json]\n"
    "\n"
    "Removes what has expired, as a service does by itself every hour: recordings after\n"
    "UPLOAD_RETENTION_DAYS, jobs and transcripts after TRANSCRIPT_RETENTION_DAYS or the\n"
    "days that were asked for, and files that no job has. What is on hold stays. What a\n"
    "`restore --force` has put aside on this disk is named, and stays without --aside.\n"
    "\n"
    "options:\n"
    "  --dry-run             remove nothing, only say what would go\n"
    "  --older-than DAYS     instead of TRANSCRIPT_RETENTION_DAYS; 0: all that has "
    "ended\n"
    "  --aside               also all that restores have put aside, holds or not\n"
    "  --json                print JSON\n"
    "  --database-url URL    the service's database (DATABASE_URL)\n"
    "  -h, --help            this help\n"
    "\n"
    "exit codes: 0 done, 1 it did not work, 2 wrong command line or setting\n";

struct wanted {
    bool json, dry_run, aside;
    const char *older_than;
};

struct printing {
    json_t *items; /* NULL: lines are printed */
};

/* Names come from outside: what moves a terminal's cursor is not printed. */
static void print_text(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool second = p[0] == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0;
        putchar(*p < 0x20 || *p == 0x7F || second ? '?' : *p);
        p += second;
    }
}

static void print_item(void *arg, const struct prune_item *item)
{
    struct printing *p = arg;
    char when[CLOCK_ISO_SIZE] = "-";
    if (item->ended_ms)
        (void)clock_iso(item->ended_ms, when);
    if (p->items) {
        (void)json_array_append_new(
            p->items,
            json_pack("{s:s, s:s, s:s, s:s, s:I, s:o}", "what",
                      prune_what_name(item->what), "id", item->id, "why", item->why,
                      "filename", item->filename, "bytes", (json_int_t)item->bytes,
                      "ended", item->ended_ms ? json_string(when) : json_null()));
        return;
    }
    when[10] = '\0';
    printf("%-10s  %-36s %12lld  %-10s  %s  ", prune_what_name(item->what), item->id,
           (long long)item->bytes, when, item->why);
    print_text(item->filename);
    putchar('\n');
}

static void print_sums(const struct prune_sums *s, bool dry_run)
{
    printf(
        "%s: %lld job(s), %lld recording(s), %lld transcript(s), %lld leftover(s); %.1f "
        "MB\n",
        dry_run ? "would go" : "removed", (long long)s->jobs, (long long)s->recordings,
        (long long)s->transcripts, (long long)s->leftovers, (double)s->bytes / 1048576);
    if (s->held)
        printf("on hold: %lld job(s), which stay\n", (long long)s->held);
}

static json_t *sums_json(const struct prune_sums *s, json_t *items, bool dry_run)
{
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "dry_run", dry_run,
                     "jobs", (json_int_t)s->jobs, "recordings", (json_int_t)s->recordings,
                     "transcripts", (json_int_t)s->transcripts, "leftovers",
                     (json_int_t)s->leftovers, "bytes", (json_int_t)s->bytes, "held",
                     (json_int_t)s->held, "items", items);
}

struct aside_sums {
    struct printing *printing;
    int64_t count, bytes;
};

static void print_aside(void *arg, const char *path, int64_t bytes, int64_t put_ms)
{
    struct aside_sums *s = arg;
    char when[CLOCK_ISO_SIZE];
    (void)clock_iso(put_ms, when);
    s->count++;
    s->bytes += bytes;
    if (s->printing->items)
        (void)json_array_append_new(s->printing->items,
                                    json_pack("{s:s, s:s, s:I, s:s}", "what", "aside",
                                              "id", path, "bytes", (json_int_t)bytes,
                                              "put_aside", when));
    else
        printf("%-10s  %-36s %12lld  %.10s\n", "aside", path, (long long)bytes, when);
}

static int prune_aside(struct store *s, const struct config *c, const struct wanted *w,
                       const struct key_actor *actor, struct printing *p)
{
    struct aside_sums sums = {.printing = p};
    struct err e = {0};
    bool removes = w->aside && !w->dry_run;
    if (backup_aside(c, removes, print_aside, &sums, &e))
        return database_fail(&e);
    if (!sums.count)
        return EXIT_OK;
    if (removes)
        audit_note(s, "pruned", actor, "%lld thing(s) that restores had put aside",
                   (long long)sums.count);
    if (!w->json)
        printf("put aside by restores: %lld, %.1f MB, which %s\n", (long long)sums.count,
               (double)sums.bytes / 1048576,
               removes    ? "are gone"
               : w->aside ? "would go"
                          : "stay; --aside removes them");
    return EXIT_OK;
}

static int prune(struct store *s, const struct config *c, const struct wanted *w,
                 const struct prune_wish *wish)
{
    static const struct key_actor shell = {"", "shell"};
    struct blob_store *blobs;
    struct prune_sums sums;
    struct err e = {0};
    if (blob_store_open_as_set(&blobs, c, 0, &e))
        return database_fail(&e);
    struct printing p = {.items = w->json ? json_array() : NULL};
    int status = care_prune(s, blobs, c, wish, print_item, &p, &sums, &e);
    blob_store_close(blobs);
    if (!wish->dry_run && sums.jobs + sums.recordings + sums.transcripts > 0)
        audit_note(s, "pruned", &shell,
                   "%lld job(s), %lld recording(s), %lld transcript(s)",
                   (long long)sums.jobs, (long long)sums.recordings,
                   (long long)sums.transcripts);
    if (!w->json)
        print_sums(&sums, wish->dry_run);
    int code = status ? database_fail(&e) : prune_aside(s, c, w, &shell, &p);
    if (w->json)
        database_print_json(sums_json(&sums, p.items, wish->dry_run));
    return code;
}

static int parse_days(const char *text, int64_t *out)
{
    char *end;
    *out = -1;
    if (!text)
        return EXIT_OK;
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (end == text || *end || errno || *out < 0 || *out > DAYS_MAX)
        return cli_usage("--older-than is a whole number of days");
    return EXIT_OK;
}

static int run(struct config *c, const void *wanted, char **words, int count)
{
    const struct wanted *w = wanted;
    struct prune_wish wish = {.dry_run = w->dry_run};
    struct store *s;
    (void)words;
    if (count)
        return cli_usage("prune takes options only");
    int code = parse_days(w->older_than, &wish.older_than_days);
    if (!code)
        code = database_open(c, false, &s);
    if (code)
        return code;
    code = prune(s, c, w, &wish);
    store_close(s);
    return code;
}

int command_prune(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},    {"json", no_argument, NULL, 'j'},
        {"dry-run", no_argument, NULL, 'n'}, {"older-than", required_argument, NULL, 'o'},
        {"aside", no_argument, NULL, 'a'},   {0}};
    struct wanted w = {0};
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (o == '?' || o == ':')
            return cli_bad_option(o, argv);
        w.json |= o == 'j';
        w.dry_run |= o == 'n';
        w.aside |= o == 'a';
        w.older_than = o == 'o' ? optarg : w.older_than;
    }
    static const struct database_verb verb = {.role = "prune", .run = run};
    return database_run(&verb, &w, argv + optind, argc - optind);
}
