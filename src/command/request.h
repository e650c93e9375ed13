/* What the command line of `transcribe` asks for. */
#ifndef COMMAND_REQUEST_H
#define COMMAND_REQUEST_H

#include "base/config.h"
#include "command/outputs.h"
#include "job/options.h"

struct request {
    struct config config;       /* owned */
    struct job_options options; /* owned */
    struct outputs outputs;
    const char *model_asked, *language, *task; /* borrowed from argv; NULL: not given */
    bool quiet;
    char model_path[PATH_MAX], model_name[64];
};

/* Load the settings and read the options; getopt's optind is behind them. Says what is
 * wrong and returns an exit code. Release it in every case. */
int request_parse(struct request *r, int argc, char **argv);
void request_release(struct request *r);

/* Check language, task, model and outputs, before any work is done. */
int request_prepare(struct request *r, char **inputs, int count);

#endif
