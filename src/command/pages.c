/* What the build makes of the tables of commands and settings: manual pages, completions
 * for three shells, the example of a settings file. */
#include "command/command.h"

#include "base/config.h"
#include "base/mem.h"
#include "command/cli.h"
#include "command/usage.h"

#include <ctype.h>

static const char help[] =
    "usage: whisper-transcriber pages man [COMMAND]\n"
    "       whisper-transcriber pages commands\n"
    "       whisper-transcriber pages conf-man\n"
    "       whisper-transcriber pages conf\n"
    "       whisper-transcriber pages completion bash|zsh|fish\n"
    "\n"
    "Prints what is installed beside the program; the build calls it.\n";

struct table {
    const struct role *roles;
    size_t count;
};

/* ---- manual pages ---------------------------------------------------------------- */

static void upper(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc(toupper((unsigned char)*text), out);
}

static void man_head(const char *verb, const char *summary)
{
    fputs(".TH WHISPER\\-TRANSCRIBER", stdout);
    if (verb) {
        fputs("\\-", stdout);
        upper(stdout, verb);
    }
    printf(" 1 \"\" \"Whisper Transcriber " WT_VERSION "\"\n.SH NAME\n"
           "whisper\\-transcriber%s%s \\- ",
           verb ? "\\-" : "", verb ? verb : "");
    config_roff(stdout, summary);
    puts("\n.SH SYNOPSIS");
}

static void man_synopsis(const char *synopsis)
{
    for (const char *line = synopsis; *line;) {
        char text[1000];
        size_t length = strcspn(line, "\n");
        (void)snprintf(text, sizeof text, "%.*s", (int)length, line);
        printf("%s.B whisper\\-transcriber\n", line == synopsis ? "" : ".br\n");
        config_roff(stdout, text);
        putchar('\n');
        line += length + (line[length] == '\n');
    }
}

static void man_part(const struct usage_part *p, enum usage_kind before)
{
    switch (p->kind) {
    case USAGE_TITLE:
        fputs(".SH ", stdout);
        upper(stdout, p->term);
        break;
    case USAGE_ITEM:
        fputs(".TP\n.B ", stdout);
        config_roff(stdout, p->term);
        putchar('\n');
        config_roff(stdout, p->text);
        break;
    case USAGE_TEXT:
        if (before != USAGE_TITLE)
            puts(".PP");
        config_roff(stdout, p->text);
        break;
    case USAGE_CODE:
        printf("%s.nf\n.RS 4\n", before != USAGE_TITLE ? ".PP\n" : "");
        config_roff(stdout, p->text);
        fputs("\n.RE\n.fi", stdout);
        break;
    }
    putchar('\n');
}

static void man_also(const struct table *t, const char *verb)
{
    puts(".SH SEE ALSO");
    if (verb)
        puts(".BR whisper\\-transcriber (1),");
    for (size_t i = 0; i < t->count; i++)
        if (t->roles[i].summary && !verb)
            printf(".BR whisper\\-transcriber\\-%s (1),\n", t->roles[i].name);
    puts(".BR whisper\\-transcriber.conf (5)");
}

static void man_program(const struct table *t)
{
    man_head(NULL, "speech to text, on your own machine");
    puts(".B whisper\\-transcriber\n.I command\n.RI [ options ]\n.SH COMMANDS");
    for (size_t i = 0; i < t->count; i++) {
        if (!t->roles[i].summary)
            continue;
        printf(".TP\n.B %s\n", t->roles[i].name);
        config_roff(stdout, t->roles[i].summary);
        putchar('\n');
    }
    puts(".SH OPTIONS\nOf every command:\n"
         ".TP\n.BI \\-\\-config \" FILE\"\nthe settings file\n"
         ".TP\n.BI \\-\\- setting \" VALUE\"\nany setting of\n"
         ".BR whisper\\-transcriber.conf (5):\nMAX_FILE_SIZE_MB is "
         "\\-\\-max\\-file\\-size\\-mb\n"
         ".TP\n.BR \\-h , \\-\\-help\nwhat the command does\n"
         ".SH FILES\n.TP\n.I " CONFIG_DEFAULT_FILE "\nthe settings");
    man_also(t, NULL);
}

static int man_verb(const struct table *t, const struct role *role)
{
    struct usage u;
    struct err e = {0};
    if (usage_read(&u, role, &e)) {
        cli_error("%s", e.message);
        return EXIT_ERROR;
    }
    man_head(role->name, role->summary);
    man_synopsis(u.synopsis);
    enum usage_kind before = USAGE_TITLE;
    for (size_t i = 0; i < u.count; i++) {
        if (i == 0 && u.parts[i].kind != USAGE_TITLE)
            puts(".SH DESCRIPTION");
        man_part(&u.parts[i], before);
        before = u.parts[i].kind;
    }
    man_also(t, role->name);
    usage_release(&u);
    return EXIT_OK;
}

static int print_man(const struct table *t, const char *verb)
{
    if (!verb) {
        man_program(t);
        return EXIT_OK;
    }
    for (size_t i = 0; i < t->count; i++)
        if (t->roles[i].summary && !strcmp(t->roles[i].name, verb))
            return man_verb(t, &t->roles[i]);
    cli_error("there is no command \"%s\"", verb);
    return EXIT_USAGE;
}

static void print_commands(const struct table *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->roles[i].summary)
            puts(t->roles[i].name);
}

/* ---- completions ----------------------------------------------------------------- */

/* Text in single quotes, for a shell and for fish. */
static void quoted(const char *text)
{
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
}

static void setting_option(const char *name, char out[80])
{
    size_t i = (size_t)snprintf(out, 80, "--%s", name);
    for (char *p = out; *p && i; p++)
        *p = *p == '_' ? '-' : (char)tolower((unsigned char)*p);
}

static void print_word(void *context, const char *word, bool takes, const char *text)
{
    (void)context;
    (void)takes;
    (void)text;
    printf(" %s", word);
}

static void settings_words(void)
{
    const char *text;
    char option[80];
    fputs(" --config", stdout);
    for (size_t i = 0; config_name(i, &text); i++) {
        setting_option(config_name(i, &text), option);
        printf(" %s", option);
    }
}

typedef int each_verb(const struct role *role, const struct usage *u);

/* Calls `one` with every command and its help. */
static int each(const struct table *t, each_verb *one)
{
    for (size_t i = 0; i < t->count; i++) {
        struct usage u;
        struct err e = {0};
        if (!t->roles[i].summary)
            continue;
        if (usage_read(&u, &t->roles[i], &e)) {
            cli_error("%s", e.message);
            return EXIT_ERROR;
        }
        int code = one(&t->roles[i], &u);
        usage_release(&u);
        if (code)
            return code;
    }
    return EXIT_OK;
}

static int bash_verb(const struct role *role, const struct usage *u)
{
    printf("        %s) words='", role->name);
    usage_words(u, false, print_word, NULL);
    usage_words(u, true, print_word, NULL);
    puts("' ;;");
    return EXIT_OK;
}

static int print_bash(const struct table *t)
{
    puts("# Completion of whisper-transcriber for bash.\n"
         "_whisper_transcriber() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} words\n"
         "    COMPREPLY=()\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    fputs("        words='--help --version", stdout);
    for (size_t i = 0; i < t->count; i++)
        if (t->roles[i].summary)
            printf(" %s", t->roles[i].name);
    puts("'\n    else\n        case ${COMP_WORDS[1]} in");
    int code = each(t, bash_verb);
    fputs("        *) words='' ;;\n        esac\n"
          "        case $word in --*) words=\"$words",
          stdout);
    settings_words();
    puts("\" ;; esac\n    fi\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
         "}\n"
         "# Names of files where nothing of ours fits.\n"
         "complete -o bashdefault -o default -F _whisper_transcriber "
         "whisper-transcriber");
    return code;
}

static int zsh_verb(const struct role *role, const struct usage *u)
{
    printf("    %s) found=(", role->name);
    usage_words(u, false, print_word, NULL);
    usage_words(u, true, print_word, NULL);
    puts(") ;;");
    return EXIT_OK;
}

static int print_zsh(const struct table *t)
{
    puts("#compdef whisper-transcriber\n"
         "# Completion of whisper-transcriber for zsh.\n"
         "local -a settings commands found\n"
         "commands=(");
    for (size_t i = 0; i < t->count; i++) {
        if (!t->roles[i].summary)
            continue;
        printf("  '%s:", t->roles[i].name);
        quoted(t->roles[i].summary);
        puts("'");
    }
    fputs(")\nsettings=(", stdout);
    settings_words();
    puts(")\nif (( CURRENT == 2 )); then\n"
         "  _describe command commands\n"
         "  return\n"
         "fi\n"
         "local verb=${${(z)BUFFER}[2]}\n"
         "case $verb in");
    int code = each(t, zsh_verb);
    puts("esac\n"
         "[[ $PREFIX == --* ]] && compadd -- $settings\n"
         "compadd -- $found || _files");
    return code;
}

struct fish_place {
    const char *verb;
    bool options;
};

static void fish_word(void *context, const char *word, bool takes, const char *text)
{
    const struct fish_place *p = context;
    printf("complete -c whisper-transcriber -n '__fish_seen_subcommand_from %s' ",
           p->verb);
    if (!p->options)
        printf("-a '%s'", word);
    else if (word[1] == '-')
        printf("-l '%s'%s", word + 2, takes ? " -r" : "");
    else
        printf("-s '%s'%s", word + 1, takes ? " -r" : "");
    fputs(" -d '", stdout);
    quoted(text);
    puts("'");
}

static int fish_verb(const struct role *role, const struct usage *u)
{
    printf("complete -c whisper-transcriber -n __fish_use_subcommand -f -a '%s' -d '",
           role->name);
    quoted(role->summary);
    puts("'");
    struct fish_place verbs = {role->name, false}, options = {role->name, true};
    usage_words(u, false, fish_word, &verbs);
    usage_words(u, true, fish_word, &options);
    return EXIT_OK;
}

static int print_fish(const struct table *t)
{
    const char *text;
    char option[80];
    puts("# Completion of whisper-transcriber for fish.\n"
         "complete -c whisper-transcriber -n __fish_use_subcommand -l version\n"
         "complete -c whisper-transcriber -n 'not __fish_use_subcommand' -l config -r "
         "-d 'the settings file'");
    for (size_t i = 0; config_name(i, &text); i++) {
        setting_option(config_name(i, &text), option);
        printf("complete -c whisper-transcriber -n 'not __fish_use_subcommand' -l %s -r "
               "-d '",
               option + 2);
        quoted(text);
        puts("'");
    }
    return each(t, fish_verb);
}

static int print_completion(const struct table *t, const char *shell)
{
    static const struct {
        const char *name;
        int (*print)(const struct table *t);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    for (size_t i = 0; i < ARRAY_LENGTH(shells); i++)
        if (!strcmp(shells[i].name, shell))
            return shells[i].print(t);
    cli_error("there are completions for bash, zsh and fish");
    return EXIT_USAGE;
}

/* ---- the command ----------------------------------------------------------------- */

int command_pages(int argc, char **argv, const struct role *roles, size_t count)
{
    const struct table t = {roles, count};
    const char *what = argc > 1 ? argv[1] : "";
    int code = EXIT_OK;
    if (!strcmp(what, "man") && argc <= 3)
        code = print_man(&t, argc == 3 ? argv[2] : NULL);
    else if (!strcmp(what, "commands") && argc == 2)
        print_commands(&t);
    else if (!strcmp(what, "conf-man") && argc == 2)
        config_manual(stdout);
    else if (!strcmp(what, "conf") && argc == 2)
        config_example(stdout);
    else if (!strcmp(what, "completion") && argc == 3)
        code = print_completion(&t, argv[2]);
    else {
        fputs(help, stderr);
        return EXIT_USAGE;
    }
    return code ? code : cli_finish_output();
}
