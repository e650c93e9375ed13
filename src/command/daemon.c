#include "command/daemon.h"

#include "base/config_live.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/service_manager.h"
#include "job/jobs.h"
#include "store/queue_view.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

/* ---- options --------------------------------------------------------------------- */

void daemon_print_flags(FILE *out, const struct daemon_flag *flags, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fprintf(out, "  %-14s %-8s %s\n", flags[i].flag, flags[i].value, flags[i].help);
}

/* Returns how many arguments were used, or an error. */
static int take_flag(struct config *c, const struct daemon_flag *flags, size_t count,
                     int argc, char **argv, struct err *e)
{
    size_t length = strcspn(argv[0], "=");
    for (size_t i = 0; i < count; i++) {
        if (strlen(flags[i].flag) != length ||
            strncmp(argv[0], flags[i].flag, length) != 0)
            continue;
        const char *value = argv[0][length] ? argv[0] + length + 1
                            : argc > 1      ? argv[1]
                                            : NULL;
        if (!value)
            return err_set(e, ERR_INVALID, "%s needs a value", flags[i].flag);
        int status = config_set(c, flags[i].variable, value, e);
        return status ? status : argv[0][length] ? 1 : 2;
    }
    return err_set(e, ERR_INVALID, "there is no option \"%s\"; try --help", argv[0]);
}

int daemon_take_flags(struct config *c, const struct daemon_flag *flags, size_t count,
                      int argc, char **argv, struct err *e)
{
    for (int i = 1; i < argc;) {
        int used = take_flag(c, flags, count, argc - i, argv + i, e);
        if (used < 0)
            return used;
        i += used;
    }
    return 0;
}

bool daemon_wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

#define PULSE_MS 10000

/* ---- signals --------------------------------------------------------------------- */

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

static const int signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP};

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

static int open_log(const struct config *c, const char *role, struct err *e)
{
    struct log_options log = {.level = c->debug ? LOG_DEBUG : c->log_level,
                              .json = c->log_json,
                              .to_stderr = c->log_to_stdout,
                              .file = c->log_file,
                              .to_syslog = c->log_to_syslog,
                              .facility = c->log_syslog_facility,
                              .role = role};
    return log_open(&log, e);
}

static const char *own_role;
static bool had_terminal;

int daemon_start(const struct config *c, const char *role, struct err *e)
{
    service_manager_open();
    int status = open_log(c, role, e);
    own_role = role;
    had_terminal = isatty(STDIN_FILENO);
    /* The workers look there, whatever place it came from. */
    (void)setenv("LOG_LEVEL", log_level_name(c->debug ? LOG_DEBUG : c->log_level), 1);
    if (!status && *c->file)
        log_info("settings: %s", c->file);
    if (!status && *c->warning)
        log_warning("%s", c->warning);
    return status ? status : catch_signals(e);
}

/* ---- settings that are read again ------------------------------------------------ */

static void say_difference(void *context, const struct config_difference *d)
{
    (void)context;
    if (d->live)
        log_info("reload: %s: %s -> %s", d->name, d->before, d->after);
    else
        log_warning("reload: %s: %s -> %s needs a restart; until then the first counts",
                    d->name, d->before, d->after);
}

/* A file for the log that cannot be opened must be known before anything has changed. */
static int try_log_file(const char *path, struct err *e)
{
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640) : -1;
    if (path && fd < 0)
        return err_errno(e, "LOG_FILE: cannot open %s", path);
    if (path)
        close(fd);
    return 0;
}

static int read_again(struct config *c, struct config *next,
                      const struct daemon_work *work, struct err *e)
{
    int status = config_load_again(next, c, e);
    if (status)
        return status;
    status = try_log_file(next->log_file, e);
    if (!status)
        status = work->check(work->context, next, e);
    if (status)
        config_release(next);
    return status;
}

static void reload_settings(struct config *c, const struct daemon_work *work)
{
    struct config next;
    struct err e = {0};
    if (read_again(c, &next, work, &e)) {
        log_error("reload: nothing was changed: %s", e.message);
        return;
    }
    if (*next.warning)
        log_warning("%s", next.warning);
    if (!config_differences(c, &next, say_difference, NULL))
        log_info("reload: no setting is different");
    config_adopt(c, &next);
    if (open_log(c, own_role, &e) || work->apply(work->context, c, &e))
        log_error("reload: %s", e.message);
    log_info("reload: done");
}

/* ---- waiting --------------------------------------------------------------------- */

/* A second signal ends the program at once: jobs lose nothing by it. */
static void stop_catching(void)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
}

/* The signal of a terminal that goes away is the same as that of an operator. */
static bool hung_up(void)
{
    return had_terminal && !isatty(STDIN_FILENO);
}

/* True for what asks us to stop. */
static bool act_on(unsigned char number, struct config *c, const struct daemon_work *work)
{
    struct err e;
    if (number == SIGHUP && !hung_up()) {
        service_manager_reloading();
        reload_settings(c, work);
        service_manager_ready();
        return false;
    }
    if (number != SIGUSR1) {
        log_info("stopping: %s", number == SIGTERM  ? "SIGTERM"
                                 : number == SIGINT ? "SIGINT"
                                                    : "the terminal is gone");
        return true;
    }
    if (log_reopen(&e))
        log_error("%s", e.message);
    else
        log_info("log reopened");
    return false;
}

static int pulse_ms(void)
{
    int64_t ms = service_manager_watchdog_ns() / 3000000;
    if (!service_manager_listens())
        return -1;
    return ms > 0 && ms < PULSE_MS ? (int)ms : PULSE_MS;
}

/* Whether a signal is there; until one is, the pulse is felt. */
static bool wait_for_signal(int64_t *next_ns, const struct daemon_work *work)
{
    struct pollfd p = {.fd = signal_pipe[0], .events = POLLIN};
    int every_ms = pulse_ms();
    int64_t left_ms = (*next_ns - clock_monotonic_ns()) / 1000000;
    if (every_ms >= 0 && left_ms <= 0) {
        work->pulse(work->context);
        *next_ns = clock_monotonic_ns() + every_ms * INT64_C(1000000);
        left_ms = every_ms;
    }
    return poll(&p, 1, every_ms < 0 ? -1 : (int)left_ms) > 0;
}

void daemon_wait(struct config *c, const struct daemon_work *work)
{
    int64_t next_ns = 0;
    for (;;) {
        unsigned char number;
        if (!wait_for_signal(&next_ns, work))
            continue;
        ssize_t n = read(signal_pipe[0], &number, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || act_on(number, c, work))
            break;
    }
    stop_catching();
}

void daemon_tell_state(struct jobs *jobs)
{
    struct err e;
    struct store_queue_figures q;
    if (jobs_ready(jobs, &e))
        service_manager_status("not ready: %s", e.message);
    else if (!store_queue_figures(jobs_store(jobs), clock_now_ms(), &q, NULL))
        service_manager_status("ready: %lld at work, %lld waiting",
                               (long long)q.jobs[JOB_PROCESSING],
                               (long long)q.jobs[JOB_PENDING]);
}
