#include "command/cli.h"

#include "base/clock.h"
#include "command/command.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

void cli_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("whisper-transcriber: ", stderr);
    (void)vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int cli_usage(const char *sentence)
{
    cli_error("%s; try --help", sentence);
    return EXIT_USAGE;
}

int cli_bad_option(int code, char **argv)
{
    const char *given = argv[optind - 1];
    bool is_long = given && !strncmp(given, "--", 2);
    char letter[3] = {'-', (char)optopt, '\0'};
    const char *name = is_long ? given : letter;
    if (code == ':')
        cli_error("the option %s needs a value; try --help", name);
    else
        cli_error("there is no option %s here; try --help", name);
    return EXIT_USAGE;
}

int cli_load_config(struct config *c)
{
    struct err e = {0};
    if (!config_load(c, &e))
        return EXIT_OK;
    cli_error("%s", e.message);
    return EXIT_USAGE;
}

int cli_set(struct config *c, const char *name, const char *value)
{
    struct err e = {0};
    if (!config_set(c, name, value, &e))
        return EXIT_OK;
    cli_error("%s", e.message);
    return EXIT_USAGE;
}

/* ---- signals --------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void *unused)
{
    (void)unused;
    return interrupted;
}

int cli_finish_output(void)
{
    if (!fflush(stdout) && !ferror(stdout))
        return EXIT_OK;
    cli_error("cannot write to standard output: %s", strerror(errno));
    return EXIT_ERROR;
}

/* ---- the bar --------------------------------------------------------------------- */

#define BAR_CELLS 24

void cli_bar_init(struct cli_bar *b)
{
    const char *term = getenv("TERM");
    bool dumb = term && !strcmp(term, "dumb");
    *b = (struct cli_bar){.terminal = isatty(STDERR_FILENO) && !dumb};
}

static int terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 20)
        return 80;
    return size.ws_col;
}

void cli_bar_draw(struct cli_bar *b, const char *label, double fraction,
                  const char *detail, bool now)
{
    double time = clock_monotonic_seconds();
    if (!b->terminal || (!now && b->drawn && time - b->drawn_at < 0.1))
        return;
    fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    char cells[BAR_CELLS + 1], line[512];
    int full = (int)(fraction * BAR_CELLS);
    for (int i = 0; i < BAR_CELLS; i++)
        cells[i] = i < full ? '=' : i == full ? '>' : ' ';
    cells[BAR_CELLS] = '\0';
    (void)snprintf(line, sizeof line, "%.40s [%s] %3d%% %s", label, cells,
                   (int)(fraction * 100), detail);
    /* A line that wraps could not be drawn over. Cutting by bytes only shortens more. */
    fprintf(stderr, "\r\x1B[K%.*s", terminal_width() - 1, line);
    (void)fflush(stderr);
    b->drawn = true;
    b->drawn_at = time;
}

void cli_bar_clear(struct cli_bar *b)
{
    if (b->drawn)
        fputs("\r\x1B[K", stderr);
    b->drawn = false;
}
