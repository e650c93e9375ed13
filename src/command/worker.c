/* `worker`: what `serve` does without its doors, on any machine that shares its database
 * and storage. And `worker --embedded`: one of the processes that transcribe, started by
 * either, with its socket as descriptor 3. */
#include "command/command.h"

#include "api/worker_door.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/service_manager.h"
#include "command/cli.h"
#include "command/daemon.h"
#include "job/jobs.h"
#include "job/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLOSE_SECONDS 20 /* for the workers and the database */

static bool is_worker_socket(int fd)
{
    int type;
    socklen_t length = sizeof type;
    return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) && type == SOCK_SEQPACKET;
}

/* Where memory runs out, a worker goes before the service does. */
static void be_the_first_to_go(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = write(fd, "500", 3);
    (void)n; /* without it the kernel chooses as it does for everyone */
    close(fd);
}

static int be_embedded(void)
{
    if (!is_worker_socket(WORKER_SOCKET_FD)) {
        cli_error("`worker --embedded` is started by `serve` and `worker` alone; use "
                  "`worker`");
        return EXIT_USAGE;
    }
    /* End with the service, also when it is killed: the socket's end is noticed only
     * between two steps of the work. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Whatever the service itself was given: a worker has no use for it. */
    (void)close_range(WORKER_SOCKET_FD + 1, ~0u, 0);
    (void)signal(SIGPIPE, SIG_IGN);
    worker_ignore_stops();
    be_the_first_to_go();
    int fd = WORKER_SOCKET_FD;
    struct log_options log = {.level = LOG_WARNING,
                              .to_stderr = true,
                              .role = "worker",
                              .relay = worker_relay,
                              .relay_arg = &fd};
    const char *wanted = getenv("LOG_LEVEL");
    enum log_level asked;
    if (wanted && log_level_parse(wanted, &asked))
        log.level = worker_log_level(asked);
    (void)log_open(&log, NULL);
    return worker_run(WORKER_SOCKET_FD) ? EXIT_ERROR : EXIT_OK;
}

/* ---- the role -------------------------------------------------------------------- */

static const struct daemon_flag flags[] = {
    {"--database-url", "DATABASE_URL", "URL", "postgresql://USER:PASSWORD@HOST/NAME"},
    {"--storage-dir", "STORAGE_DIR", "DIR",
     "where recordings are: the folder of `serve`"},
    {"--model-dir", "WHISPER_MODEL_DIR", "DIR", "where the models are"},
    {"--concurrency", "WORKER_CONCURRENCY", "N", "transcriptions at once"},
    {"--threads", "WORKER_THREADS", "N", "threads of each"},
    {"--log-level", "LOG_LEVEL", "LEVEL", "DEBUG, INFO, WARNING or ERROR"},
};

static void print_help(FILE *out)
{
    fputs("usage: whisper-transcriber worker [options]\n\n"
          "Transcribes the jobs of services elsewhere. It needs the PostgreSQL database\n"
          "that they use, and the same storage folder. It takes jobs whose model is in\n"
          "its own model folder, and leaves others to other workers.\n\n",
          out);
    daemon_print_flags(out, flags, ARRAY_LENGTH(flags));
    fputs("  --config       FILE     the settings file\n"
          "  --help                  this text\n\n"
          "Every setting is an option: MAX_AUDIO_SECONDS is --max-audio-seconds N. Each\n"
          "may as well be an environment variable or a line of the settings file;\n"
          "`whisper-transcriber check` lists them with their values. `workers ls` shows\n"
          "who works.\n\n"
          "SIGTERM and SIGINT stop it within seconds: its jobs go back into the queue,\n"
          "and another worker goes on from what is done. A second signal ends it at\n"
          "once; then its jobs wait for some 15 seconds. SIGUSR1 opens the log file\n"
          "again; SIGHUP reads the settings again.\n"
          "Exit codes: 0 stopped, 1 it could not start, 2 the command line or a setting\n"
          "is wrong; ended by a second signal, 130 or 143 in a shell.\n",
          out);
}

static int check_settings(void *context, const struct config *next, struct err *e)
{
    (void)context;
    return jobs_check_settings(next, e);
}

static int apply_settings(void *context, const struct config *now, struct err *e)
{
    (void)now;
    return jobs_reload(context, e);
}

/* See serve.c; here there are no doors. */
static void feel_pulse(void *context)
{
    struct err e;
    if (jobs_alive(context, &e))
        log_error("does not seem to live: %s", e.message);
    else
        service_manager_watchdog();
    daemon_tell_state(context);
}

static int run(struct config *c, struct err *e)
{
    struct jobs *jobs;
    struct worker_door *door;
    int status = daemon_start(c, "worker", e);
    if (!status)
        status = jobs_open_worker(&jobs, c, e);
    if (status)
        return status;
    status = worker_door_open(&door, c, jobs, e);
    if (!status) {
        log_info("version " WT_VERSION ", takes jobs");
        service_manager_ready();
        daemon_wait(
            c, &(struct daemon_work){jobs, check_settings, apply_settings, feel_pulse});
        service_manager_stopping(CLOSE_SECONDS);
    }
    worker_door_close(door);
    jobs_close(jobs);
    if (!status)
        log_info("stopped");
    return status;
}

static int work(struct config *c, int argc, char **argv)
{
    struct err e = {0};
    if (daemon_take_flags(c, flags, ARRAY_LENGTH(flags), argc, argv, &e)) {
        cli_error("worker: %s", e.message);
        return EXIT_USAGE;
    }
    if (!strncmp(c->database_url, "sqlite:", strlen("sqlite:"))) {
        cli_error("worker: a file of SQLite belongs to one `serve`, which has workers of "
                  "its own: set DATABASE_URL=postgresql://… here and there");
        return EXIT_USAGE;
    }
    if (!run(c, &e))
        return EXIT_OK;
    cli_error("worker: %s", e.message);
    return EXIT_ERROR;
}

int command_worker(int argc, char **argv)
{
    struct config c;
    if (argc == 2 && !strcmp(argv[1], "--embedded"))
        return be_embedded();
    if (daemon_wants_help(argc, argv)) {
        print_help(stdout);
        return EXIT_OK;
    }
    int code = cli_load_config(&c);
    if (code)
        return code;
    code = work(&c, argc, argv);
    config_release(&c);
    return code;
}
