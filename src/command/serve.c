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
#include "base/service_manager.h"
#include "catalog/catalog.h"
#include "command/daemon.h"
#include "job/detector.h"
#include "wyoming/server.h"

#define LAST_SECONDS  4  /* of the time to stop; http_server_stop has one less */
#define CLOSE_SECONDS 20 /* after it, for the workers and the database */
#define ALIVE_SECONDS 10 /* for an answer to ourselves, at most */

static const struct daemon_flag flags[] = {
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
    daemon_print_flags(out, flags, ARRAY_LENGTH(flags));
    fputs("  --help                  this text\n\n"
          "Every option is also an environment variable, and there are more of those:\n"
          "`whisper-transcriber doctor` lists them with their values.\n\n"
          "SIGTERM and SIGINT stop it in good order; SIGUSR1 opens the log file again.\n"
          "Exit codes: 0 stopped, 1 it could not start, 2 the command line is wrong.\n",
          out);
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
    int given = service_manager_socket("wyoming");
    if (!c->wyoming_port && given < 0)
        return 0;
    int status = wyoming_start(out, c, jobs, given, e);
    if (status)
        return status;
    log_info("the Wyoming door is open on port %d", wyoming_port(*out));
    if (!wyoming_loopback(*out))
        log_warning("the Wyoming door (port %d) knows no passwords: whoever can reach it "
                    "can use it",
                    wyoming_port(*out));
    return 0;
}

/* ---- what the service manager hears ---------------------------------------------------
 */

struct pulse {
    const struct http_server *server; /* borrowed */
    struct jobs *jobs;                /* borrowed */
};

/* Before its patience is over it has been looked three times whether the doors, the
 * supervisor and the database do anything at all; what they do may well be to fail, which
 * another start would not mend. */
static void feel_pulse(void *arg)
{
    const struct pulse *p = arg;
    struct err e;
    int64_t third = service_manager_watchdog_ns() / 3 / 1000000000;
    int seconds = third < 1 ? 1 : third < ALIVE_SECONDS ? (int)third : ALIVE_SECONDS;
    if (http_server_alive(p->server, seconds, &e) || jobs_alive(p->jobs, &e))
        log_error("does not seem to live: %s", e.message);
    else
        service_manager_watchdog();
    daemon_tell_state(p->jobs);
}

static int listen_and_serve(const struct config *c, struct api *api, struct err *e)
{
    struct http_server *server = NULL;
    int given = service_manager_socket("http");
    struct http_server_options options = {
        .host = c->host,
        .port = (int)c->port,
        .given_socket = given < 0 ? 0 : given,
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
        struct pulse pulse = {server, api->jobs};
        service_manager_ready();
        daemon_wait(feel_pulse, &pulse);
        service_manager_stopping(c->shutdown_delay_seconds + c->shutdown_timeout_seconds +
                                 CLOSE_SECONDS);
        atomic_store(&api->stopping, true);
        http_server_leave(server, (int)c->shutdown_delay_seconds);
    }
    api_events_stop(api->events);
    teller_leave(api->teller, (int)c->shutdown_timeout_seconds - LAST_SECONDS);
    http_server_stop(server, (int)c->shutdown_timeout_seconds);
    return status;
}

static int run(const struct config *c, struct err *e)
{
    struct api api = {.config = c};
    struct wyoming_server *wyoming = NULL;
    struct tus_keeper *keeper = NULL;
    int status = jobs_open(&api.jobs, c, e);
    if (!status)
        status = api_events_start(&api.events, api.jobs, e);
    if (!status)
        status = teller_start(&api.teller, api.jobs, e);
    if (!status)
        status = access_new(&api.access, c, jobs_store(api.jobs), e);
    if (!status)
        status = vigil_start(&api.vigil, api.access, e);
    if (!status)
        status = tus_keeper_start(&keeper, &api, e);
    if (!status)
        status = jobs_start_webhooks(api.jobs, present_job, e);
    if (!status)
        status = open_wyoming(c, api.jobs, &wyoming, e);
    if (!status)
        status = listen_and_serve(c, &api, e);
    wyoming_stop(wyoming);
    tus_keeper_stop(keeper);
    api_events_free(api.events);
    teller_stop(api.teller);
    vigil_stop(api.vigil);
    access_free(api.access);
    jobs_close(api.jobs);
    return status;
}

int command_serve(int argc, char **argv)
{
    struct config c;
    struct err e = {0};
    if (daemon_wants_help(argc, argv)) {
        print_help(stdout);
        return EXIT_OK;
    }
    if (config_load(&c, &e)) {
        fprintf(stderr, "whisper-transcriber serve: %s\n", e.message);
        return EXIT_ERROR;
    }
    int code = EXIT_OK;
    if (daemon_take_flags(&c, flags, ARRAY_LENGTH(flags), argc, argv, &e))
        code = EXIT_USAGE;
    else if (daemon_start(&c, "serve", &e) || run(&c, &e))
        code = EXIT_ERROR;
    if (code != EXIT_OK)
        fprintf(stderr, "whisper-transcriber serve: %s\n", e.message);
    else
        log_info("stopped");
    config_release(&c);
    return code;
}
