/* Everything that the service depends on, really tried, with what to do about it. */
#include "command/command.h"

#include "base/log.h"
#include "base/mem.h"
#include "command/checks.h"
#include "command/cli.h"
#include "command/database.h"
#include "command/owner.h"

static const char help[] =
    "usage: whisper-transcriber check [--all] [--json]\n"
    "\n"
    "Tries what the service needs, with its settings: the database, Redis, the storage,\n"
    "the models and their checksums, the decoder and its sandbox, ports, limits, "
    "memory,\n"
    "clocks, the folder of the backups. Each line begins with ok, warn or FAIL and, "
    "when\n"
    "it is not well, ends with what to do. Settings that differ from their defaults are\n"
    "printed first, with where they came from.\n"
    "\n"
    "Run it with the settings of the service. As root it becomes the user that owns the\n"
    "service's data; beside one that runs it disturbs nothing.\n"
    "\n"
    "options:\n"
    "  --all           print all settings, also those that have their default\n"
    "  --json          print JSON\n"
    "  --config FILE   the settings file\n"
    "  -h, --help      this help\n"
    "\n"
    "examples:\n"
    "  whisper-transcriber check\n"
    "  whisper-transcriber check --config new.conf\n"
    "\n"
    "exit codes: 0 nothing failed, 1 something did, 2 wrong command line or setting\n";

static const char *const level_names[] = {"ok", "warn", "FAIL"};

static void print_settings(const struct config *c, bool all)
{
    struct config_shown shown;
    bool any = false;
    for (size_t i = 0; config_show(c, i, &shown); i++) {
        if (shown.is_default && !all)
            continue;
        printf("%s = %s   (%s)\n", shown.name, shown.value, shown.source);
        any = true;
    }
    if (any)
        putchar('\n');
}

static json_t *settings_json(const struct config *c)
{
    struct config_shown shown;
    json_t *list = json_array();
    for (size_t i = 0; config_show(c, i, &shown); i++)
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", shown.name,
                                                    "value", shown.value, "source",
                                                    shown.source));
    return list;
}

static void print_json(const struct checks *k)
{
    json_t *list = json_array();
    for (size_t i = 0; i < k->count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:s}", "check", k->list[i].name, "result",
                            level_names[k->list[i].level], "message", k->list[i].text));
    database_print_json(json_pack("{s:b, s:o, s:o}", "ok", k->worst != CHECK_FAIL,
                                  "settings", settings_json(k->c), "checks", list));
}

static int run(const struct config *c, bool all, bool json)
{
    static void (*const checks[])(struct checks * k) = {
        check_settings_file, check_processor, check_descriptors, check_memory,
        check_models,        check_sums,      check_detector,    check_language,
        check_formats,       check_media,     check_decoder,     check_storage,
        check_database,      check_redis,     check_port,        check_callers,
        check_retention,     check_copies,    check_names,       check_log};
    struct checks k = {.c = c};
    for (size_t i = 0; i < ARRAY_LENGTH(checks); i++)
        checks[i](&k);
    if (json) {
        print_json(&k);
    } else {
        print_settings(c, all);
        for (size_t i = 0; i < k.count; i++)
            printf("%-5s%s: %s\n", level_names[k.list[i].level], k.list[i].name,
                   k.list[i].text);
    }
    int code = cli_finish_output();
    code = code ? code : k.worst == CHECK_FAIL ? EXIT_ERROR : EXIT_OK;
    checks_release(&k);
    return code;
}

int command_check(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"all", no_argument, NULL, 'a'},
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    bool all = false, json = false;
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return cli_finish_output();
        }
        if (o != 'a' && o != 'j')
            return cli_bad_option(o, argv);
        all |= o == 'a';
        json |= o == 'j';
    }
    if (optind < argc) {
        cli_error("`check` takes no arguments; try --help");
        return EXIT_USAGE;
    }
    struct config c;
    int code = cli_load_config(&c);
    if (code)
        return code;
    /* What fails is a finding; nothing else is to be said in between. */
    const struct log_options quiet = {
        .level = LOG_ERROR, .to_stderr = true, .role = "check"};
    (void)log_open(&quiet, NULL);
    code = owner_become_of_data(&c);
    if (!code)
        code = run(&c, all, json);
    config_release(&c);
    return code;
}
