#include "command/database.h"

#include "base/json_text.h"
#include "base/log.h"
#include "command/cli.h"
#include "command/command.h"
#include "command/owner.h"

#include <unistd.h>

const char *database_file(const struct config *c)
{
    size_t n = strlen("sqlite:///");
    return strncmp(c->database_url, "sqlite:///", n) ? NULL : c->database_url + n;
}

int database_fail(const struct err *e)
{
    cli_error("%s", e->message);
    return e->code == ERR_INVALID ? EXIT_USAGE : EXIT_ERROR;
}

int database_open(const struct config *c, bool creates, struct store **out)
{
    struct err e = {0};
    const struct store_options options = {.exclusive = false};
    const char *file = database_file(c);
    if (!creates && file && access(file, F_OK)) {
        cli_error("there is no database at %s: run this in the service's folder, or say "
                  "where it is with --database-url",
                  file);
        return EXIT_ERROR;
    }
    if (owner_become_of_data(c))
        return EXIT_ERROR;
    return store_open(out, c->database_url, &options, &e) ? database_fail(&e) : EXIT_OK;
}

/* What is logged goes to the service's log file, where there is one; else warnings go to
 * standard error: what is done is told on the standard streams already. */
static void open_log(const struct config *c, const char *role)
{
    const struct log_options quiet = {
        .level = LOG_WARNING, .to_stderr = true, .role = role};
    const struct log_options shared = {
        .level = LOG_INFO, .json = c->log_json, .file = c->log_file, .role = role};
    bool ours = c->log_file && !owner_become_of_data(c);
    if (!ours || log_open(&shared, NULL))
        (void)log_open(&quiet, NULL);
}

int database_run(const struct database_verb *v, const void *wanted, char **words,
                 int count)
{
    struct config c;
    int code = cli_load_config(&c);
    if (code)
        return code;
    if (v->as_owner)
        code = owner_become_of_data(&c);
    open_log(&c, v->role);
    if (v->interrupts)
        cli_catch_signals();
    if (!code)
        code = v->run(&c, wanted, words, count);
    int output = cli_finish_output();
    config_release(&c);
    return code ? code : output;
}

void database_print_json(json_t *o)
{
    char *text = o ? json_text(o, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    puts(text ? text : "null");
    free(text);
    json_decref(o);
}
