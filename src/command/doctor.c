/* What is set, where it was set, and whether this machine can do the work: what can be
 * said at once. `check` is the thorough one. */
#include "command/command.h"

#include "base/mem.h"
#include "command/checks.h"
#include "command/cli.h"

static const char help[] =
    "usage: whisper-transcriber doctor [--settings-markdown]\n"
    "\n"
    "Prints every setting with its value and where that came from, then checks the "
    "model\n"
    "folder, the storage and the processor. `check` tries everything else, too.\n"
    "docs/settings.md lists the settings.\n"
    "\n"
    "options:\n"
    "  --settings-markdown   print that page and do nothing else\n"
    "  -h, --help            this help\n"
    "\n"
    "exit codes: 0 all is well, 1 a check failed, 2 wrong command line or setting\n";

int command_doctor(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"settings-markdown", no_argument, NULL, 'm'},
                                            {0}};
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h')
            fputs(help, stdout);
        else if (o == 'm')
            config_markdown(stdout);
        else
            return cli_bad_option(o, argv);
        return cli_finish_output();
    }
    if (optind < argc) {
        cli_error("`doctor` takes no arguments; try --help");
        return EXIT_USAGE;
    }
    struct config c;
    int code = cli_load_config(&c);
    if (code)
        return code;
    config_print(&c, stdout);
    putchar('\n');
    static void (*const checks[])(struct checks * k) = {
        check_processor, check_models, check_detector, check_language,
        check_formats,   check_media,  check_storage,  check_log};
    struct checks k = {.c = &c};
    for (size_t i = 0; i < ARRAY_LENGTH(checks); i++)
        checks[i](&k);
    for (size_t i = 0; i < k.count; i++)
        printf("%-5s %s: %s\n", k.list[i].level == CHECK_FAIL ? "WRONG" : "ok",
               k.list[i].name, k.list[i].text);
    bool failed = k.worst == CHECK_FAIL;
    checks_release(&k);
    config_release(&c);
    code = cli_finish_output();
    return code ? code : failed ? EXIT_ERROR : EXIT_OK;
}
