/* Whether the service on this machine is ready, asked as its callers would: for
 * containers, whose image holds no other program that could ask. */
#include "command/command.h"

#include "command/cli.h"
#include "net/fetch.h"

#define SECONDS 5

static const char help[] =
    "usage: whisper-transcriber health [--live]\n"
    "\n"
    "Asks the service at HOST and PORT whether it is ready, and waits 5 seconds at "
    "most.\n"
    "\n"
    "options:\n"
    "  --live        only whether it answers at all\n"
    "  -h, --help    this help\n"
    "\n"
    "exit codes: 0 it is, 1 it is not, or does not answer, 2 wrong command line or "
    "setting\n";

/* Where a service that listens on every address can be asked. */
static const char *host_to_ask(const char *host)
{
    return !strcmp(host, "0.0.0.0") ? "127.0.0.1" : !strcmp(host, "::") ? "::1" : host;
}

static int ask(const struct config *c, const char *path, struct net_answer *answer,
               struct err *e)
{
    struct net_guard *guard = NULL;
    const char *host = host_to_ask(c->host);
    bool v6 = strchr(host, ':') != NULL;
    char url[400], allowed[400];
    (void)snprintf(url, sizeof url, "http://%s%s%s:%lld%s", v6 ? "[" : "", host,
                   v6 ? "]" : "", (long long)c->port, path);
    (void)snprintf(allowed, sizeof allowed, "loopback,%s", host);
    int status = net_guard_new(&guard, allowed, e);
    struct net_request request = {
        .guard = guard, .url = url, .stall_seconds = SECONDS, .total_seconds = SECONDS};
    if (!status)
        status = net_fetch(&request, answer, e);
    net_guard_free(guard);
    return status;
}

static int say(const struct config *c, bool live)
{
    struct err e = {0};
    struct net_answer answer = {0};
    if (c->port == 0) {
        cli_error("PORT is 0, so nobody knows where the service listens: set it");
        return EXIT_USAGE;
    }
    if (ask(c, live ? "/health/live" : "/health/ready", &answer, &e)) {
        cli_error("%s", e.message);
        return EXIT_ERROR;
    }
    if (answer.status != 200) {
        cli_error("the service answers %ld: it is not %s; its log says why",
                  answer.status, live ? "alive" : "ready");
        return EXIT_ERROR;
    }
    puts(live ? "alive" : "ready");
    return EXIT_OK;
}

int command_health(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'}, {"live", no_argument, NULL, 'l'}, {0}};
    bool live = false;
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (o != 'l')
            return cli_bad_option(o, argv);
        live = true;
    }
    if (optind < argc) {
        cli_error("`health` takes no arguments; try --help");
        return EXIT_USAGE;
    }
    struct config c;
    int code = cli_load_config(&c);
    if (code)
        return code;
    code = say(&c, live);
    int output = cli_finish_output();
    config_release(&c);
    return code ? code : output;
}
