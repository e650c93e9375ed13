/* The keys of the service: made, listed, revoked, beside a `serve` that is running or
 * not. Both write the same database; what is done here holds from the next request on. */
#include "command/command.h"

#include "base/clock.h"
#include "command/cli.h"
#include "command/database.h"
#include "job/keys.h"

#include <errno.h>
#include <jansson.h>

static const char help[] =
    "usage: whisper-transcriber keys create --name NAME [--scope SCOPES]\n"
    "           [--expires WHEN] [--minutes-per-day N] [--json]\n"
    "       whisper-transcriber keys ls [--json]\n"
    "       whisper-transcriber keys revoke ID...\n"
    "\n"
    "  create   make a key and print it, this once: only a hash of it is kept\n"
    "  ls       the keys, newest first, and what each has used today\n"
    "  revoke   end keys and the sessions opened with them, at once and for good\n"
    "\n"
    "options:\n"
    "  --name NAME           whose it is, or what for: up to 100 bytes\n"
    "  --scope SCOPES        what it may, with commas between (read,transcribe):\n"
    "                          read        lists, transcripts, progress\n"
    "                          transcribe  submit, cancel, try again, delete\n"
    "                          admin       everything, and everybody's jobs\n"
    "  --expires WHEN        90m, 12h, 30d, 8w; 2027-01-31, to the end of that day in\n"
    "                        UTC; 2027-01-31T12:00:00Z; never (the default)\n"
    "  --minutes-per-day N   minutes of audio from midnight to midnight UTC; 0, the\n"
    "                        default: any number\n"
    "  --json                print JSON\n"
    "  --database-url URL    the service's database (DATABASE_URL)\n"
    "  -h, --help            this help\n"
    "\n"
    "A key sees only the jobs that were made with it. The id of wt_1234567890abcdef_…\n"
    "is 1234567890abcdef.\n"
    "\n"
    "examples:\n"
    "  whisper-transcriber keys create --name 'media server' --expires 30d\n"
    "  KEY=$(whisper-transcriber keys create --name ci --scope transcribe)\n"
    "  curl -H \"Authorization: Bearer $KEY\" http://127.0.0.1:8000/jobs\n"
    "  whisper-transcriber keys revoke 1234567890abcdef\n"
    "\n"
    "exit codes: 0 done, 1 it did not work, 2 wrong command line or setting\n";

struct wanted {
    const char *name, *scope, *expires, *minutes;
    bool json;
};

static const struct key_actor shell = {"", "shell"};

/* ---- create ---------------------------------------------------------------------- */

static int parse_minutes(const char *text, int64_t *out, struct err *e)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (end == text || *end || errno || *out < 0)
        return err_set(e, ERR_INVALID,
                       "--minutes-per-day is \"%.40s\"; it must be a whole number", text);
    return 0;
}

static int make_wish(const struct wanted *w, struct key_wish *out, struct err *e)
{
    *out = (struct key_wish){.name = w->name};
    if (!w->name)
        return err_set(e, ERR_INVALID,
                       "a key needs a name that says whose it is: give --name");
    int status =
        key_scopes_parse(w->scope ? w->scope : "read,transcribe", &out->scopes, e);
    if (!status && w->expires)
        status = key_expiry_parse(w->expires, clock_now_ms(), &out->expires_ms, e);
    if (!status && w->minutes)
        status = parse_minutes(w->minutes, &out->minutes_per_day, e);
    return status ? status : key_name_check(w->name, e);
}

static int create(struct store *s, const struct config *c, const struct wanted *w,
                  const struct key_wish *wish)
{
    struct err e = {0};
    struct store_key key;
    char text[KEY_TEXT_SIZE];
    if (keys_create(s, wish, false, &shell, &key, text, &e))
        return database_fail(&e);
    if (w->json) {
        json_t *o = key_json(&key, key.created_ms);
        (void)json_object_set_new(o, "key", json_string(text));
        database_print_json(o);
        return EXIT_OK;
    }
    puts(text);
    const char *file = database_file(c);
    fprintf(stderr,
            "whisper-transcriber: key %s is made for \"%s\" in %s; it is shown this "
            "once\n",
            key.id, key.name, file ? file : "the database");
    return EXIT_OK;
}

/* ---- ls, revoke ------------------------------------------------------------------ */

static const char *scopes_text(int scopes, char out[40])
{
    size_t at = 0;
    out[0] = '\0';
    for (int i = 0; i < KEY_SCOPE_COUNT; i++)
        if (key_scope_name(scopes, i))
            at += (size_t)snprintf(out + at, 40 - at, "%s%s", at ? "," : "",
                                   key_scope_name(scopes, i));
    return out;
}

static const char *day_text(int64_t wall_ms, char out[CLOCK_ISO_SIZE])
{
    if (!wall_ms)
        return "never";
    (void)clock_iso(wall_ms, out);
    out[16] = '\0';
    return out;
}

static void print_row(const struct store_key *k)
{
    char scopes[40], expires[CLOCK_ISO_SIZE], used[CLOCK_ISO_SIZE], minutes[48];
    if (k->minutes_per_day)
        (void)snprintf(minutes, sizeof minutes, "%.1f/%lld", k->seconds_today / 60,
                       (long long)k->minutes_per_day);
    else
        (void)snprintf(minutes, sizeof minutes, "%.1f", k->seconds_today / 60);
    printf("%-16s  %-8s %-21s %-17s %-17s %-12s %s\n", k->id,
           key_state(k, clock_now_ms()), scopes_text(k->scopes, scopes),
           day_text(k->expires_ms, expires), day_text(k->used_ms, used), minutes,
           k->name);
}

static int list(struct store *s, const struct wanted *w)
{
    struct err e = {0};
    struct store_key_list keys;
    if (store_key_list(s, clock_now_ms(), &keys, &e))
        return database_fail(&e);
    json_t *all = w->json ? json_array() : NULL;
    if (!w->json)
        printf("%-16s  %-8s %-21s %-17s %-17s %-12s %s\n", "ID", "STATE", "SCOPES",
               "EXPIRES", "LAST USED", "MIN TODAY", "NAME");
    for (size_t i = 0; i < keys.count; i++)
        if (w->json)
            (void)json_array_append_new(all, key_json(&keys.keys[i], clock_now_ms()));
        else
            print_row(&keys.keys[i]);
    if (w->json)
        database_print_json(all);
    store_key_list_release(&keys);
    return EXIT_OK;
}

static int revoke_all(struct store *s, char **ids, int count)
{
    int worst = EXIT_OK;
    for (int i = 0; i < count; i++) {
        struct err e = {0};
        if (keys_revoke(s, ids[i], &shell, &e)) {
            cli_error("%s", e.message);
            worst = EXIT_ERROR;
        } else {
            printf("%s: revoked\n", ids[i]);
        }
    }
    return worst;
}

/* ---- the command ----------------------------------------------------------------- */

static int run(struct config *c, const void *wanted, char **words, int count)
{
    const struct wanted *w = wanted;
    const char *verb = count ? words[0] : "";
    bool creates = !strcmp(verb, "create"), lists = !strcmp(verb, "ls"),
         revokes = !strcmp(verb, "revoke");
    struct key_wish wish;
    struct store *s;
    struct err e = {0};
    if (!creates && !lists && !revokes)
        return cli_usage(count ? "there is no such verb: use create, ls or revoke"
                               : "keys what? One of: create, ls, revoke");
    if (revokes ? count < 2 : count > 1)
        return cli_usage(revokes ? "revoke which? `keys ls` shows the ids"
                                 : "this verb takes options only");
    if (!creates && (w->name || w->scope || w->expires || w->minutes))
        return cli_usage(
            "--name, --scope, --expires and --minutes-per-day are for create");
    if (creates && make_wish(w, &wish, &e))
        return database_fail(&e);
    /* Only `create` may make one, before the service runs for the first time. */
    int code = database_open(c, creates, &s);
    if (code)
        return code;
    code = creates ? create(s, c, w, &wish)
           : lists ? list(s, w)
                   : revoke_all(s, words + 1, count - 1);
    store_close(s);
    return code;
}

/* Where to put the value of an option; NULL for one that has none. */
static const char **field_of(struct wanted *w, int option)
{
    return option == 'n'   ? &w->name
           : option == 's' ? &w->scope
           : option == 'e' ? &w->expires
           : option == 'm' ? &w->minutes
                           : NULL;
}

int command_keys(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"json", no_argument, NULL, 'j'},
        {"name", required_argument, NULL, 'n'},
        {"scope", required_argument, NULL, 's'},
        {"expires", required_argument, NULL, 'e'},
        {"minutes-per-day", required_argument, NULL, 'm'},
        {0}};
    struct wanted w = {0};
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (o == 'j')
            w.json = true;
        else if (field_of(&w, o))
            *field_of(&w, o) = optarg;
        else
            return cli_bad_option(o, argv);
    }
    static const struct database_verb verb = {.role = "keys", .run = run};
    return database_run(&verb, &w, argv + optind, argc - optind);
}
