/* Roles and verbs: one function each, called with its own name as argv[0]. */
#ifndef COMMAND_COMMAND_H
#define COMMAND_COMMAND_H

#include <stddef.h>

/* Exit codes of every command, said in --help. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_ERROR = 1,    /* it did not work */
    EXIT_USAGE = 2,    /* the command line or a setting is wrong */
    EXIT_INPUT = 3,    /* an input could not be used: not media, missing, too long */
    EXIT_NO_MODEL = 4, /* the model is missing or damaged */
    EXIT_INTERRUPTED = 130,
};

/* A row of the table in main.c, from which the help, the manual pages and the completions
 * come as well. */
struct role {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary; /* NULL: internal, not in the help */
};

int command_serve(int argc, char **argv);      /* serve.c */
int command_worker(int argc, char **argv);     /* worker.c */
int command_workers(int argc, char **argv);    /* workers.c */
int command_transcribe(int argc, char **argv); /* transcribe.c */
int command_models(int argc, char **argv);     /* models.c */
int command_keys(int argc, char **argv);       /* keys.c */
int command_queue(int argc, char **argv);      /* queue.c */
int command_backup(int argc, char **argv);     /* backup.c */
int command_restore(int argc, char **argv);    /* restore.c */
int command_prune(int argc, char **argv);      /* prune.c */
int command_database(int argc, char **argv);   /* care.c */
int command_hold(int argc, char **argv);       /* hold.c */
int command_migrate(int argc, char **argv);    /* migrate.c */
int command_routes(int argc, char **argv);     /* routes.c: for the tests */
int command_check(int argc, char **argv);      /* check.c: everything tried */
int command_doctor(int argc, char **argv);     /* doctor.c: settings and their sources */
int command_health(int argc, char **argv);     /* health.c: for containers */

/* Internal: what the build makes of these tables (pages.c). */
int command_pages(int argc, char **argv, const struct role *roles, size_t count);

#endif
