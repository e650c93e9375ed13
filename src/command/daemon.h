/* What the roles that run for long share: options that are settings, the log, and the
 * signals that end them. */
#ifndef COMMAND_DAEMON_H
#define COMMAND_DAEMON_H

#include "base/config.h"
#include "base/err.h"

struct jobs;

struct daemon_flag {
    const char *flag, *variable, *value, *help;
};

/* A line for each. */
void daemon_print_flags(FILE *out, const struct daemon_flag *flags, size_t count);

/* Take all arguments over: `--flag value` or `--flag=value`. ERR_INVALID when the command
 * line is wrong. */
int daemon_take_flags(struct config *c, const struct daemon_flag *flags, size_t count,
                      int argc, char **argv, struct err *e);
/* Whether --help or -h is among them. */
bool daemon_wants_help(int argc, char **argv);

/* Take over what the service manager says, open the log as the settings say, and hold
 * SIGTERM, SIGINT and SIGUSR1 back for daemon_wait. */
int daemon_start(const struct config *c, const char *role, struct err *e);
/* Until SIGTERM or SIGINT; SIGUSR1 opens the log file anew. After that, another of the
 * first two ends the process at once. Where a service manager wants to hear of us,
 * `pulse` is called three times in the time that it has patience for, or every ten
 * seconds. */
void daemon_wait(void (*pulse)(void *arg), void *arg);
/* What the service does, in a line for the service manager. */
void daemon_tell_state(struct jobs *jobs);

#endif
