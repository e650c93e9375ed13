/* The service: the HTTP doors and the page, and behind them the job service. */
#include "command/command.h"

#include "api/access.h"
#include "api/api.h"
#include "api/events.h"
#include "api/openai.h"
#include "api/present.h"
#include "api/teller.h"
#include "api/tus.h"
#include "api/vigil.h"
#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "job/detector.h"
#include "wyoming/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define GRACE_SECONDS 10 /* for requests that are running when we are asked to stop */

static const struct flag {
    const char *flag, *variable, *value, *help;
} flags[] = {
    {"--host", "HOST", "ADDRESS", "where to listen (127.0.0.1: this machine only)"},
    {"--port", "PORT", "N", "TCP port (8000; 0 takes any free one)"},
    {"--model", "DEFAULT_WHISPER_MODEL", "NAME", "model for requests that name none"},
    {"--model-dir", "WHISPER_MODEL_DIR", "DIR", "where the models are"},
    {"--language", "WHISPER_LANGUAGE", "CODE", "language for requests that name none"},
    {"--storage-dir", "STORAGE_DIR", "DIR", "where recordings are kept"},
    {"--database-url", "DATABASE_URL", "URL", "sqlite:///path/to/file.db"},
    {"--concurrency", "WORKER_CONCURRENCY", "N", "transcriptions at once"},
    {"--threads", "WORKER_THREADS", "N", "threads of each"},
    {"--log-level", "LOG_LEVEL", "LEVEL", "DEBUG, INFO, WARNING or ERROR"},
};

static void print_help(FILE *out)
{
    fputs("usage: whisper-transcriber serve [options]\n\n"
          "Runs the service: a page to open in a browser, an HTTP interface, and the\n"
          "workers that transcribe. Jobs survive a stop, a crash and a restart.\n\n",
          out);
    for (size_t i = 0; i < ARRAY_LENGTH(flags); i++)
        fprintf(out, "  %-14s %-8s %s\n", flags[i].flag, flags[i].value, flags[i].help);
    fputs("  --help                  this text\n\n"
          "Every option is also an environment variable, and there are more of those:\n"
          "`whisper-transcriber doctor` lists them with their values.\n\n"
          "SIGTERM and SIGINT stop it in good order; SIGUSR1 opens the log file again.\n"
          "Exit codes: 0 stopped, 1 it could not start, 2 the command line is wrong.\n",
          out);
}

/* `--flag value` or `--flag=value`. Returns how many arguments were used, 0 when the
 * command line is wrong. */
static int take_flag(struct config *c, int argc, char **argv, struct err *e)
{
    size_t length = strcspn(argv[0], "=");
    for (size_t i = 0; i < ARRAY_LENGTH(flags); i++) {
        if (strlen(flags[i].flag) != length ||
            strncmp(argv[0], flags[i].flag, length) != 0)
            continue;
        const char *value = argv[0][length] ? argv[0] + length + 1
                            : argc > 1      ? argv[1]
                                            : NULL;
        if (!value) {
            (void)err_set(e, ERR_INVALID, "%s needs a value", flags[i].flag);
            return 0;
        }
        if (config_set(c, flags[i].variable, value, e))
            return 0;
        return argv[0][length] ? 1 : 2;
    }
    (void)err_set(e, ERR_INVALID, "there is no option \"%s\"; try --help", argv[0]);
    return 0;
}

/* Signals arrive as bytes of a pipe, so that what they ask for happens on the main thread
 * and not in a handler. Handlers, unlike a mask, are not inherited by the workers. */
static int signal_pipe[2] = {-1, -1};

static void on_signal(int number)
{
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    ssize_t written = write(signal_pipe[1], &byte, 1);
    (void)written; /* a full pipe has enough in it to act on */
    errno = saved;
}

static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};

static int catch_signals(struct err *e)
{
    if (pipe2(signal_pipe, O_CLOEXEC))
        return err_errno(e, "cannot make a pipe");
    (void)fcntl(signal_pipe[1], F_SETFL, O_NONBLOCK);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_LENGTH(signals); i++)
        sigaction(signals[i], &action, NULL);
    return 0;
}

/* A second signal ends the program at once: jobs lose nothing by it. */
static void stop_catching(void)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
}

static void wait_for_stop(void)
{
    for (;;) {
        unsigned char number;
        ssize_t n = read(signal_pipe[0], &number, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        if (number != SIGUSR1) {
            log_info("stopping: %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
            return;
        }
        struct err e;
        if (log_reopen(&e))
            log_error("%s", e.message);
        else
            log_info("log reopened");
    }
}

static void warn(const struct config *c, const struct http_server *server)
{
    struct err e;
    char model[64], path[PATH_MAX];
    if (!http_server_loopback(server) && c->auth == AUTH_OFF)
        log_warning(
            "ANYONE who can reach %s port %d can use this service and read every "
            "transcript: AUTH is off. Make keys and unset AUTH, listen on 127.0.0.1, or "
            "put a proxy that asks for a password in front of it",
            c->host, http_server_port(server));
    if (catalog_default(c, model, &e))
        log_warning("no model to transcribe with: %s", e.message);
    else
        log_info("version " WT_VERSION ", default model %s", model);
    if (catalog_detector_path(c, path, &e))
        log_warning("%s" DETECTOR_NONE, e.message);
}

/* Others can reach us and nobody has a key yet: the first one is shown here, where who
 * started us reads it, and nowhere else. */
static int show_first_key(struct access *a, enum config_auth auth, bool loopback,
                          struct err *e)
{
    bool made = false, any = true;
    char text[KEY_TEXT_SIZE];
    if (auth == AUTH_OFF || auth == AUTH_PROXY)
        return 0;
    if (loopback) {
        int known = store_key_any(access_store(a), &any, e);
        if (!known && !any && auth == AUTH_KEY)
            log_warning("nobody may call: there is no key yet; `whisper-transcriber keys "
                        "create --name NAME --scope admin` makes one");
        return known;
    }
    int status = access_first_key(a, &made, text, e);
    if (!status && made)
        printf("There was no key yet. This one, for an admin, is shown once and never "
               "again:\n\n    %s\n\nMore are made with `whisper-transcriber keys "
               "create`.\n",
               text);
    return status;
}

/* The port of Home Assistant, if one is wanted. */
static int open_wyoming(const struct config *c, struct jobs *jobs,
                        struct wyoming_server **out, struct err *e)
{
    if (!c->wyoming_port)
        return 0;
    int status = wyoming_start(out, c, jobs, e);
    if (status)
        return status;
    log_info("the Wyoming door is open on port %d", wyoming_port(*out));
    if (!wyoming_loopback(*out))
        log_warning("the Wyoming door (port %d) knows no passwords: whoever can reach it "
                    "can use it",
                    wyoming_port(*out));
    return 0;
}

static int listen_and_serve(const struct config *c, struct api *api, struct err *e)
{
    struct http_server *server = NULL;
    struct http_server_options options = {
        .host = c->host,
        .port = (int)c->port,
        .rate_limit = "off", /* counted by api_admit, which knows the keys as well */
        .trusted_proxies = c->trusted_proxies,
        .max_connections = (int)c->max_connections,
        .max_per_client = (int)c->max_connections_per_client,
        .app = api,
        .error_shape = openai_error_shape,
        .admit = api_admit,
        .leave = api_leave,
    };
    options.routes = api_routes(&options.n_routes);
    int status = http_server_start(&server, &options, e);
    if (status)
        return status;
    bool v6 = strchr(c->host, ':'), loopback = http_server_loopback(server);
    access_listen(api->access, loopback);
    status = show_first_key(api->access, c->auth, loopback, e);
    if (!status) {
        printf("Listening on http://%s%s%s:%d\n", v6 ? "[" : "", c->host, v6 ? "]" : "",
               http_server_port(server));
        fflush(stdout);
        warn(c, server);
        wait_for_stop();
        stop_catching();
    }
    api_events_stop(api->events);
    http_server_stop(server, GRACE_SECONDS);
    return status;
}

static int run(const struct config *c, struct err *e)
{
    struct api api = {.config = c};
    struct wyoming_server *wyoming = NULL;
    int status = jobs_open(&api.jobs, c, e);
    if (!status)
        status = api_events_start(&api.events, api.jobs, e);
    if (!status)
        status = teller_start(&api.teller, api.jobs, e);
    if (!status)
        status = access_new(&api.access, c, jobs_store(api.jobs), e);
    if (!status)
        status = vigil_start(&api.vigil, api.access, e);
    if (!status) {
        tus_finish_all(&api);
        status = jobs_start_webhooks(api.jobs, present_job, e);
    }
    if (!status)
        status = open_wyoming(c, api.jobs, &wyoming, e);
    if (!status)
        status = listen_and_serve(c, &api, e);
    wyoming_stop(wyoming);
    api_events_free(api.events);
    teller_stop(api.teller);
    vigil_stop(api.vigil);
    access_free(api.access);
    jobs_close(api.jobs);
    return status;
}

static int start(const struct config *c, struct err *e)
{
    struct log_options log = {.level = c->debug ? LOG_DEBUG : c->log_level,
                              .json = c->log_json,
                              .to_stderr = c->log_to_stdout,
                              .file = c->log_file,
                              .role = "serve"};
    int status = log_open(&log, e);
    if (!status)
        status = catch_signals(e);
    return status ? status : run(c, e);
}

int command_serve(int argc, char **argv)
{
    struct config c;
    struct err e = {0};
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            print_help(stdout);
            return EXIT_OK;
        }
    if (config_load(&c, &e)) {
        fprintf(stderr, "whisper-transcriber serve: %s\n", e.message);
        return EXIT_ERROR;
    }
    int code = EXIT_OK;
    for (int i = 1; i < argc && code == EXIT_OK;) {
        int used = take_flag(&c, argc - i, argv + i, &e);
        if (!used)
            code = EXIT_USAGE;
        i += used;
    }
    if (code == EXIT_OK && start(&c, &e))
        code = EXIT_ERROR;
    if (code != EXIT_OK)
        fprintf(stderr, "whisper-transcriber serve: %s\n", e.message);
    else
        log_info("stopped");
    config_release(&c);
    return code;
}
