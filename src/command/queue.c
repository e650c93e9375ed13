/* The queue from the shell, beside a `serve` that is running or not: who waits, what has
 * failed, and what is done about it. The service hears of what is changed. */
#include "command/command.h"

#include "base/clock.h"
#include "command/cli.h"
#include "command/database.h"
#include "job/keys.h"
#include "job/queue_report.h"
#include "job/workers.h"
#include "store/blob.h"

#include <errno.h>
#include <unistd.h>

#define DAY_MS        (INT64_C(86400) * 1000)
#define LIMIT_DEFAULT 100
#define LIMIT_MAX     100000
#define DAYS_MAX      36500

static const char help[] =
    "usage: whisper-transcriber queue ls [--failed] [--limit N] [--json]\n"
    "       whisper-transcriber queue show ID [--json]\n"
    "       whisper-transcriber queue requeue ID...|--failed\n"
    "       whisper-transcriber queue cancel ID...\n"
    "       whisper-transcriber queue purge-dead [--older-than DAYS] [--yes]\n"
    "\n"
    "  ls          what is transcribed and what waits, in the order in which it will be\n"
    "              taken, and what there is to do; with --failed: the failed jobs and\n"
    "              why they failed, the last one first\n"
    "  show        one job, with all that is known of it\n"
    "  requeue     put failed or cancelled jobs back; they go on where they stopped\n"
    "  cancel      end jobs that wait or run; one that runs stops within seconds\n"
    "  purge-dead  delete the failed jobs for good, with their recordings\n"
    "\n"
    "options:\n"
    "  --failed            ls: list the failed jobs; requeue: all of them\n"
    "  --limit N           list at most so many jobs (100)\n"
    "  --older-than DAYS   only those that failed so many days ago or earlier (0: all)\n"
    "  --yes               do not ask\n"
    "  --json              print JSON\n"
    "  --database-url URL  the service's database (DATABASE_URL)\n"
    "  -h, --help          this help\n"
    "\n"
    "A job is dead when it has failed, for whatever reason: nobody takes it again by\n"
    "himself. A recording that crashes its worker is tried three times at one place and\n"
    "fails then, with the reason \"crash\". What is done here works beside a running\n"
    "service, which hears of it within a second, and while it is stopped.\n"
    "\n"
    "examples:\n"
    "  whisper-transcriber queue ls\n"
    "  whisper-transcriber queue requeue --failed\n"
    "  whisper-transcriber queue purge-dead --older-than 30 --yes\n"
    "\n"
    "exit codes: 0 done, 1 it did not work (for one job at least), 2 wrong command line\n"
    "or setting\n";

struct wanted {
    bool json, failed, yes;
    const char *limit, *older_than;
};

static const struct key_actor shell = {"", "shell"};

/* ---- what is printed ------------------------------------------------------------- */

/* Names and messages come from outside: what moves a terminal's cursor is not printed. */
static void print_text(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool second = p[0] == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0;
        putchar(*p < 0x20 || *p == 0x7F || second ? '?' : *p);
        p += second;
    }
}

static const char *time_text(double seconds, char out[24])
{
    int64_t s = (int64_t)(seconds + 0.5);
    if (s < 3600)
        (void)snprintf(out, 24, "%lld:%02lld", (long long)(s / 60), (long long)(s % 60));
    else
        (void)snprintf(out, 24, "%lld:%02lld:%02lld", (long long)(s / 3600),
                       (long long)(s / 60 % 60), (long long)(s % 60));
    return out;
}

/* The end of a process's id: what it begins with is the time, the same for many. */
static const char *worker_text(const char *owner)
{
    size_t length = strlen(owner);
    return length > 8 ? owner + length - 8 : owner;
}

static void print_row(const struct store_queue_entry *x, int64_t now_ms)
{
    char place[24] = "-", waited[24], audio[24] = "-";
    if (x->position)
        (void)snprintf(place, sizeof place, "%lld", (long long)x->position);
    if (x->duration_seconds > 0)
        (void)time_text(x->duration_seconds, audio);
    printf("%-5s %-9s %-36s %8d %5d %9s %9s  %-16s ", place, queue_entry_state(x, now_ms),
           x->id, x->priority - JOB_PRIORITY_LOWEST, x->attempt,
           time_text(queue_entry_waited(x, now_ms), waited), audio,
           *x->error_code ? x->error_code
           : *x->owner    ? worker_text(x->owner)
                          : "-");
    print_text(x->filename);
    putchar('\n');
}

static void print_sums(const struct store_queue_figures *f, int64_t at_once)
{
    struct queue_estimate q;
    char audio[24], wait[24];
    queue_estimate(f, at_once, &q);
    printf("%lld waiting, %lld running, %lld failed; %s of audio to do",
           (long long)f->jobs[JOB_PENDING], (long long)f->jobs[JOB_PROCESSING],
           (long long)f->jobs[JOB_FAILED],
           time_text(q.waiting_seconds + q.running_seconds, audio));
    if (q.speed > 0)
        printf(", %.1f times as fast as it is spoken", q.speed);
    if (q.wait_seconds > 0)
        printf(", about %s with %lld at once", time_text(q.wait_seconds, wait),
               (long long)q.at_once);
    putchar('\n');
}

static void print_stranded(const struct store_queue_figures *f, const struct stranded *st)
{
    char reason[STRANDED_SIZE];
    for (size_t i = 0; i < f->n_models; i++)
        if (stranded_reason(st, f->models[i].name, reason)) {
            printf("%lld cannot be done now: ", (long long)f->models[i].jobs);
            print_text(reason);
            putchar('\n');
        }
}

static void print_field(const char *name, const char *text)
{
    if (!*text)
        return;
    printf("%-10s ", name);
    print_text(text);
    putchar('\n');
}

static void print_time(const char *name, int64_t wall_ms)
{
    char text[CLOCK_ISO_SIZE];
    if (wall_ms)
        print_field(name, clock_iso(wall_ms, text));
}

static void print_entry(const struct store_queue_entry *x, const struct stranded *st,
                        int64_t now_ms)
{
    char text[24], reason[STRANDED_SIZE];
    const char *why = queue_entry_stranded(x, st, reason);
    print_field("job", x->id);
    print_field("state", queue_entry_state(x, now_ms));
    if (x->position)
        printf("%-10s %lld\n", "place", (long long)x->position);
    print_field("file", x->filename);
    printf("%-10s %lld bytes\n", "size", (long long)x->file_bytes);
    if (x->duration_seconds > 0)
        print_field("audio", time_text(x->duration_seconds, text));
    print_field("model", x->model);
    print_field("caller", x->caller);
    printf("%-10s %d\n", "priority", x->priority - JOB_PRIORITY_LOWEST);
    printf("%-10s %d, %d of them ended by a crash at the same place\n", "attempts",
           x->attempt, x->crashes);
    print_field("worker", x->owner);
    printf("%-10s %d %%\n", "progress", x->progress);
    print_field("message", x->message);
    print_field("waits for", why ? why : "");
    print_field("reason", x->error_code);
    print_field("error", x->error_message);
    print_field("waited", time_text(queue_entry_waited(x, now_ms), text));
    print_time("created", x->created_ms);
    print_time("started", x->started_ms);
    print_time("ended", x->completed_ms);
    if (x->status == JOB_PENDING && x->run_after_ms > now_ms)
        print_time("not before", x->run_after_ms);
}

/* ---- ls, show -------------------------------------------------------------------- */

static int list(struct store *s, const struct wanted *w, int64_t limit)
{
    struct err e = {0};
    struct store_queue_figures figures;
    struct store_queue_list jobs;
    const enum queue_part part = w->failed ? QUEUE_FAILED : QUEUE_ALIVE;
    int64_t now_ms = clock_now_ms();
    if (w->json) {
        json_t *o;
        if (queue_report(s, part, limit, workers_at_once(s), &o, &e))
            return database_fail(&e);
        database_print_json(o);
        return EXIT_OK;
    }
    struct stranded st;
    if (store_queue_figures(s, now_ms, &figures, &e) || stranded_look(s, &st, &e) ||
        queue_part_list(s, part, now_ms, limit, &jobs, &e))
        return database_fail(&e);
    if (jobs.count)
        printf("%-5s %-9s %-36s %8s %5s %9s %9s  %-16s %s\n", "PLACE", "STATE", "ID",
               "PRIORITY", "TRIES", "WAITED", "AUDIO", w->failed ? "REASON" : "WORKER",
               "NAME");
    for (size_t i = 0; i < jobs.count; i++)
        print_row(&jobs.entries[i], now_ms);
    store_queue_list_release(&jobs);
    print_sums(&figures, workers_at_once(s));
    print_stranded(&figures, &st);
    stranded_release(&st);
    return EXIT_OK;
}

/* What is no id reaches no database. */
static int check_id(const char *id, struct err *e)
{
    return id_valid(id) ? 0
                        : err_set(e, ERR_NOT_FOUND,
                                  "\"%.40s\" is not the id of a job: `queue ls` and "
                                  "`queue ls --failed` show them",
                                  id);
}

static int show(struct store *s, const struct wanted *w, const char *id)
{
    struct err e = {0};
    struct store_queue_entry x;
    struct stranded st = {0};
    int64_t now_ms = clock_now_ms();
    int status = check_id(id, &e);
    if (!status)
        status = stranded_look(s, &st, &e);
    if (!status)
        status = store_queue_entry(s, id, now_ms, &x, &e);
    if (status) {
        stranded_release(&st);
        return database_fail(&e);
    }
    if (w->json)
        database_print_json(queue_entry_json(&x, &st, now_ms));
    else
        print_entry(&x, &st, now_ms);
    stranded_release(&st);
    store_queue_entry_release(&x);
    return EXIT_OK;
}

/* ---- requeue, cancel ------------------------------------------------------------- */

/* What is done to each of several jobs. */
struct deed {
    struct store *store; /* borrowed */
    bool cancels;
    int64_t done, refused;
};

/* One that is refused is said, and the others go on. */
static int do_one(void *arg, const char *id, struct err *e)
{
    struct deed *d = arg;
    int status = check_id(id, e);
    if (!status)
        status = d->cancels ? store_cancel(d->store, id, clock_now_ms(), e)
                            : store_retry(d->store, id, e);
    if (status) {
        cli_error("%s: %s", id, e->message);
        d->refused++;
        return status == ERR_STATE || status == ERR_NOT_FOUND ? 0 : status;
    }
    printf("%s: %s\n", id, d->cancels ? "cancelled" : "waiting");
    d->done++;
    return 0;
}

static void note(const struct deed *d, const char *what)
{
    if (d->done)
        audit_note(d->store, d->cancels ? "jobs_cancelled" : "jobs_requeued", &shell,
                   "%lld job(s)%s%s", (long long)d->done, *what ? ": " : "", what);
}

static int change(struct store *s, const struct wanted *w, bool cancels, char **ids,
                  int count)
{
    struct err e = {0};
    struct deed d = {.store = s, .cancels = cancels};
    int status = 0;
    if (w->failed)
        status = queue_each_dead(s, INT64_MAX, do_one, &d, &e);
    for (int i = 0; !status && i < count; i++)
        status = do_one(&d, ids[i], &e);
    note(&d, w->failed ? "all that failed" : count == 1 ? ids[0] : "");
    if (w->failed && !d.refused && !d.done && !status)
        puts("no job has failed");
    return status || d.refused ? EXIT_ERROR : EXIT_OK;
}

/* ---- purge-dead ------------------------------------------------------------------ */

static int count_one(void *arg, const char *id, struct err *e)
{
    (void)id;
    (void)e;
    ++*(int64_t *)arg;
    return 0;
}

/* Whether a person at a terminal says yes. */
static bool agrees(int64_t count)
{
    fprintf(stderr, "Delete %lld failed job(s) with their recordings for good? [y/N] ",
            (long long)count);
    int answer = getchar();
    return answer == 'y' || answer == 'Y';
}

/* The storage, if it is here; NULL: then the service removes the recordings, at once or
 * when it begins. */
static struct blob_store *open_storage(const struct config *c)
{
    struct blob_store *blobs = NULL;
    struct err e;
    if ((c->storage_url || !access(c->storage_dir, W_OK)) &&
        blob_store_open_as_set(&blobs, c, 0, &e))
        cli_error("%s; the service removes the recordings", e.message);
    return blobs;
}

static int remove_recording(void *blobs, const char *id, struct err *e)
{
    if (blob_remove(blobs, id, e))
        cli_error("%s; the service removes it", e->message);
    return 0;
}

static int purge(struct store *s, const struct config *c, const struct wanted *w,
                 int64_t days)
{
    struct err e = {0};
    int64_t now_ms = days ? clock_sure_ms() : clock_now_ms();
    int64_t before_ms = now_ms - days * DAY_MS + 1, count = 0;
    if (!w->yes) {
        if (!isatty(STDIN_FILENO)) {
            cli_error("this deletes jobs for good: say --yes");
            return EXIT_USAGE;
        }
        if (queue_each_dead(s, before_ms, count_one, &count, &e))
            return database_fail(&e);
        if (count && !agrees(count))
            return EXIT_ERROR;
    }
    struct blob_store *blobs = open_storage(c);
    int status = queue_purge_dead(s, before_ms, blobs ? remove_recording : NULL, blobs,
                                  &count, &e);
    blob_store_close(blobs);
    if (count)
        audit_note(s, "dead_purged", &shell, "%lld failed job(s), %lld days old or more",
                   (long long)count, (long long)days);
    if (status)
        return database_fail(&e);
    printf("%lld failed job(s) deleted\n", (long long)count);
    return EXIT_OK;
}

/* ---- the command ----------------------------------------------------------------- */

enum verb { LS, SHOW, REQUEUE, CANCEL, PURGE_DEAD, NO_VERB };

static enum verb verb_of(const char *word)
{
    static const char *const names[] = {"ls", "show", "requeue", "cancel", "purge-dead"};
    int v = 0;
    while (v < NO_VERB && strcmp(names[v], word) != 0)
        v++;
    return (enum verb)v;
}

/* What is wrong with the words and options; NULL: nothing. */
static const char *complaint(enum verb v, const struct wanted *w, int ids)
{
    if (v == NO_VERB)
        return "there is no such verb: use ls, show, requeue, cancel or purge-dead";
    if ((v == LS || v == PURGE_DEAD) && ids)
        return "this verb takes options only";
    if (v == SHOW && ids != 1)
        return "show takes the id of one job; `queue ls` shows the ids";
    if (v == CANCEL && !ids)
        return "cancel which? `queue ls` shows the ids";
    if (v == REQUEUE && !ids == !w->failed)
        return "requeue which? The ids of jobs, or --failed for all that failed";
    if (w->failed && v != LS && v != REQUEUE)
        return "--failed is for ls and requeue";
    if (w->limit && v != LS)
        return "--limit is for ls";
    if (w->json && v != LS && v != SHOW)
        return "--json is for ls and show";
    if ((w->older_than || w->yes) && v != PURGE_DEAD)
        return "--older-than and --yes are for purge-dead";
    return NULL;
}

static int parse_number(const char *name, const char *text, int64_t low, int64_t high,
                        int64_t *out)
{
    char *end;
    if (!text)
        return EXIT_OK;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end != text && !*end && !errno && value >= low && value <= high) {
        *out = value;
        return EXIT_OK;
    }
    cli_error("%s is \"%.40s\"; it must be a whole number from %lld to %lld", name, text,
              (long long)low, (long long)high);
    return EXIT_USAGE;
}

static int run(struct config *c, const void *wanted, char **words, int count)
{
    const struct wanted *w = wanted;
    int64_t limit = LIMIT_DEFAULT, days = 0;
    struct store *s;
    if (!count)
        return cli_usage("queue what? One of: ls, show, requeue, cancel, purge-dead");
    enum verb v = verb_of(words[0]);
    const char *wrong = complaint(v, w, count - 1);
    if (wrong)
        return cli_usage(wrong);
    int code = parse_number("--limit", w->limit, 1, LIMIT_MAX, &limit);
    if (!code)
        code = parse_number("--older-than", w->older_than, 0, DAYS_MAX, &days);
    if (!code)
        code = database_open(c, false, &s);
    if (code)
        return code;
    code = v == LS           ? list(s, w, limit)
           : v == SHOW       ? show(s, w, words[1])
           : v == PURGE_DEAD ? purge(s, c, w, days)
                             : change(s, w, v == CANCEL, words + 1, count - 1);
    store_close(s);
    return code;
}

/* Where an option without a value goes; NULL for another. */
static bool *flag_of(struct wanted *w, int option)
{
    return option == 'j'   ? &w->json
           : option == 'f' ? &w->failed
           : option == 'y' ? &w->yes
                           : NULL;
}

static const char **field_of(struct wanted *w, int option)
{
    return option == 'l' ? &w->limit : option == 'o' ? &w->older_than : NULL;
}

int command_queue(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"failed", no_argument, NULL, 'f'},
                                            {"yes", no_argument, NULL, 'y'},
                                            {"limit", required_argument, NULL, 'l'},
                                            {"older-than", required_argument, NULL, 'o'},
                                            {0}};
    struct wanted w = {0};
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        bool *flag = flag_of(&w, o);
        const char **field = field_of(&w, o);
        if (!flag && !field)
            return cli_bad_option(o, argv);
        if (flag)
            *flag = true;
        else
            *field = optarg;
    }
    static const struct database_verb verb = {.role = "queue", .run = run};
    return database_run(&verb, &w, argv + optind, argc - optind);
}
