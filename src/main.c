/* One binary, many roles: the first argument chooses. */
#include "command/command.h"

#include "base/mem.h"
#include "media/decode.h"

#include <stdbool.h>

struct role {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary; /* NULL: internal, not in the help */
};

static const struct role roles[] = {
    {"serve", command_serve, "run the service: page, HTTP interface, workers"},
    {"worker", command_worker, "transcribe for services on other machines"},
    {"transcribe", command_transcribe, "write down recordings, from the shell"},
    {"models", command_models, "list, download and check the models"},
    {"keys", command_keys, "make, list and revoke keys for the service"},
    {"queue", command_queue, "look at the queue, put jobs back, cancel, clear up"},
    {"workers", command_workers, "show who works, on every machine"},
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
    fputs("\n`whisper-transcriber <command> --help` says more.\n", out);
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
    for (size_t i = 0; i < ARRAY_LENGTH(roles); i++)
        if (roles[i].name && !strcmp(argv[1], roles[i].name))
            return roles[i].run(argc - 1, argv + 1);
    fprintf(stderr, "whisper-transcriber: there is no command \"%s\"; try --help\n",
            argv[1]);
    return EXIT_USAGE;
}
