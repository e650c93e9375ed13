/* One binary, many roles: the first argument chooses. */
#include "command/command.h"

#include "base/config.h"
#include "base/mem.h"
#include "media/decode.h"

#include <stdbool.h>

static const struct role roles[] = {
    {"serve", command_serve, "run the service: page, HTTP interface, workers"},
    {"worker", command_worker, "transcribe for services on other machines"},
    {"transcribe", command_transcribe, "write down recordings, from the shell"},
    {"models", command_models, "list, download and check the models"},
    {"keys", command_keys, "make, list and revoke keys for the service"},
    {"queue", command_queue, "look at the queue, put jobs back, cancel, clear up"},
    {"workers", command_workers, "show who works, on every machine"},
    {"check", command_check, "try everything that the service needs, say what to do"},
    {"backup", command_backup, "copy all that is kept, look at copies, try them"},
    {"restore", command_restore, "bring a copy back"},
    {"prune", command_prune, "remove what has expired"},
    {"database", command_database, "look through the database, give space back"},
    {"hold", command_hold, "keep jobs that nobody may remove"},
    {"migrate", command_migrate, "show the database's schema, move it forward or back"},
    {"doctor", command_doctor, "show every setting and check this machine"},
    {"health", command_health, "ask the service whether it is ready"},
    {"decode", media_child_main, NULL},
    {"routes", command_routes, NULL},
};

static void print_help(FILE *out)
{
    fputs("Whisper Transcriber " WT_VERSION ": speech to text, on your own machine.\n\n"
          "usage: whisper-transcriber <command> [options]\n\n",
          out);
    for (size_t i = 0; i < ARRAY_LENGTH(roles); i++)
        if (roles[i].summary)
            fprintf(out, "  %-11s %s\n", roles[i].name, roles[i].summary);
    fputs("\n`whisper-transcriber <command> --help` says more. Every command takes "
          "--config "
          "FILE,\nand every setting: PORT is --port N.\n",
          out);
}

/* Every setting may be given to every command; the internal ones have other arguments. */
static int run(const struct role *role, int argc, char **argv)
{
    struct err e = {0};
    if (role->summary && config_take_arguments(&argc, argv, &e)) {
        fprintf(stderr, "whisper-transcriber %s: %s\n", role->name, e.message);
        return EXIT_USAGE;
    }
    return role->run(argc, argv);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
        !strcmp(argv[1], "help")) {
        print_help(stdout);
        return EXIT_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("whisper-transcriber " WT_VERSION);
        return EXIT_OK;
    }
    if (!strcmp(argv[1], "pages"))
        return command_pages(argc - 1, argv + 1, roles, ARRAY_LENGTH(roles));
    for (size_t i = 0; i < ARRAY_LENGTH(roles); i++)
        if (roles[i].name && !strcmp(argv[1], roles[i].name))
            return run(&roles[i], argc - 1, argv + 1);
    fprintf(stderr, "whisper-transcriber: there is no command \"%s\"; try --help\n",
            argv[1]);
    return EXIT_USAGE;
}
