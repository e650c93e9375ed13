#include "command/request.h"

#include "base/json_text.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "command/cli.h"
#include "command/command.h"
#include "command/switches.h"

#include <jansson.h>
#include <strings.h>
#include <unistd.h>

/* ---- the command line ------------------------------------------------------------ */

static int wrong(const struct err *e)
{
    cli_error("%s", e->message);
    return EXIT_USAGE;
}

/* The options that the service knows as JSON are checked by the same code. */
static int parse_model_options(struct request *r, json_t *options)
{
    struct err e = {0};
    char *text = json_text(options, JSON_COMPACT);
    if (!text) {
        cli_error("out of memory");
        return EXIT_ERROR;
    }
    int status = job_options_parse(&r->options, text, &e);
    free(text);
    return status ? wrong(&e) : EXIT_OK;
}

static int take_format(struct request *r, const char *list)
{
    struct err e = {0};
    return outputs_parse_formats(&r->outputs, list, &e) ? wrong(&e) : EXIT_OK;
}

static int take_option(struct request *r, int option, json_t **options, char **argv)
{
    switch (option) {
    case 'm':
        r->model_asked = optarg;
        return EXIT_OK;
    case 'l':
        r->language = optarg;
        return EXIT_OK;
    case 't':
        r->task = optarg;
        return EXIT_OK;
    case 'f':
        return take_format(r, optarg);
    case 'o':
        r->outputs.folder = optarg;
        return EXIT_OK;
    case 'n':
        return cli_set(&r->config, "WORKER_THREADS", optarg);
    case 'd':
        return cli_set(&r->config, "WHISPER_MODEL_DIR", optarg);
    case 'C':
        return cli_set(&r->config, "COMPUTE_TYPE", optarg);
    case 'q':
        r->quiet = true;
        return EXIT_OK;
    default:
        return option >= SWITCHES_FROM ? switches_take(options, option, argv)
                                       : cli_bad_option(option, argv);
    }
}

static const struct option long_options[] = {
    {"model", required_argument, NULL, 'm'},
    {"language", required_argument, NULL, 'l'},
    {"task", required_argument, NULL, 't'},
    {"format", required_argument, NULL, 'f'},
    {"output-format", required_argument, NULL, 'f'},
    {"output_format", required_argument, NULL, 'f'},
    {"output-dir", required_argument, NULL, 'o'},
    {"output_dir", required_argument, NULL, 'o'},
    {"threads", required_argument, NULL, 'n'},
    {"compute-type", required_argument, NULL, 'C'},
    {"compute_type", required_argument, NULL, 'C'},
    {"model-dir", required_argument, NULL, 'd'},
    {"model_dir", required_argument, NULL, 'd'},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
};
static const char short_options[] = ":m:l:t:f:o:qh";

static int parse_options(struct request *r, const struct option *known, int argc,
                         char **argv)
{
    json_t *options = json_object();
    int code = EXIT_OK;
    while (!code) {
        int o = getopt_long(argc, argv, short_options, known, NULL);
        if (o == -1)
            break;
        code = take_option(r, o, &options, argv);
    }
    if (!code)
        code = parse_model_options(r, options);
    json_decref(options);
    return code;
}

int request_parse(struct request *r, int argc, char **argv)
{
    int code = cli_load_config(&r->config);
    if (code)
        return code;
    struct switches all;
    if (switches_init(&all, long_options, ARRAY_LENGTH(long_options))) {
        cli_error("out of memory");
        return EXIT_ERROR;
    }
    code = parse_options(r, all.list, argc, argv);
    switches_release(&all);
    return code;
}

void request_release(struct request *r)
{
    job_options_release(&r->options);
    config_release(&r->config);
}

/* ---- what is asked for ----------------------------------------------------------- */

static int set_task(struct request *r)
{
    if (!r->task || !strcasecmp(r->task, "transcribe"))
        r->options.params.task = WHISPER_TRANSCRIBE;
    else if (!strcasecmp(r->task, "translate"))
        r->options.params.task = WHISPER_TRANSLATE;
    else {
        cli_error("there is no task \"%.40s\"; the tasks are transcribe and translate",
                  r->task);
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

static int set_language(struct request *r)
{
    const char *name = r->language ? r->language : r->config.language;
    int index = whisper_language_find(name);
    r->options.params.language = NULL;
    if (!strcasecmp(name, "auto"))
        return EXIT_OK;
    if (index < 0) {
        cli_error("there is no language \"%.40s\"; give a code such as en, de or zh, an "
                  "English name such as german, or auto",
                  name);
        return EXIT_USAGE;
    }
    r->options.params.language = whisper_language_code(index);
    return EXIT_OK;
}

/* What stands for a path: it has a slash, or looks like the file. */
static bool is_path(const char *model)
{
    size_t length = strlen(model);
    return strchr(model, '/') || (length > 4 && !strcmp(model + length - 4, ".bin"));
}

/* The model's name for the transcript: the file's, without what every file has. */
static void name_from_path(const char *path, char out[64])
{
    char text[PATH_MAX];
    (void)snprintf(text, sizeof text, "%s", path);
    size_t length = strlen(text);
    while (length > 1 && text[length - 1] == '/')
        text[--length] = '\0';
    const char *slash = strrchr(text, '/');
    const char *name = slash ? slash + 1 : text;
    char *dot = strrchr(text, '.');
    if (dot && dot > name && !strcmp(dot, ".bin"))
        *dot = '\0';
    if (!strncmp(name, "ggml-", 5))
        name += 5;
    (void)snprintf(out, 64, "%.63s", name);
}

static int default_model(struct request *r, struct err *e)
{
    const char *wanted = r->config.default_model;
    int status = catalog_default(&r->config, r->model_name, e);
    if (!status && wanted && strcmp(wanted, r->model_name) != 0)
        cli_error("DEFAULT_WHISPER_MODEL %s is not in the folder %s; using %s", wanted,
                  r->config.model_dir, r->model_name);
    return status;
}

static int choose_model(struct request *r)
{
    struct err e = {0};
    int status = 0;
    if (r->model_asked && is_path(r->model_asked)) {
        (void)snprintf(r->model_path, sizeof r->model_path, "%s", r->model_asked);
        name_from_path(r->model_asked, r->model_name);
        if (access(r->model_path, R_OK))
            status = err_errno(&e, "cannot open the model %s", r->model_path);
    } else {
        if (r->model_asked)
            (void)snprintf(r->model_name, sizeof r->model_name, "%.63s", r->model_asked);
        else
            status = default_model(r, &e);
        if (!status)
            status =
                catalog_path(&r->config, r->model_asked ? r->model_asked : r->model_name,
                             r->model_path, &e);
    }
    if (!status)
        return EXIT_OK;
    cli_error("%s", e.message);
    return status == ERR_INVALID ? EXIT_USAGE : EXIT_NO_MODEL;
}

int request_prepare(struct request *r, char **inputs, int count)
{
    struct err e = {0};
    if (count == 0) {
        cli_error("transcribe what? Name a file, or - for standard input; try --help");
        return EXIT_USAGE;
    }
    int code = set_task(r);
    if (!code)
        code = set_language(r);
    if (!code)
        code = choose_model(r);
    if (code)
        return code;
    int status = outputs_prepare(&r->outputs, inputs, count, &e);
    if (status)
        cli_error("%s", e.message);
    return status == ERR_INVALID ? EXIT_USAGE : status ? EXIT_ERROR : EXIT_OK;
}
