/* Pages that are made of the table of settings: the manual page of the file, and the file
 * itself with everything commented out. */
#include "base/config_table.h"

/* ---- roff ------------------------------------------------------------------------ */

/* Text of a manual page: a hyphen is one that can be copied, a backslash is itself, and a
 * line must not begin as a request does. */
void config_roff(FILE *out, const char *text)
{
    bool fresh = true;
    for (; *text; text++) {
        if (fresh && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        fresh = *text == '\n';
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

static void manual_setting(FILE *out, const struct setting *s)
{
    char allowed[600];
    config_describe_allowed(s, allowed, sizeof allowed);
    fprintf(out, ".TP\n.B ");
    config_roff(out, s->name);
    fputc('\n', out);
    config_roff(out, s->help);
    fputs(".\n.br\nAllowed: ", out);
    config_roff(out, allowed);
    fputs(".\n.br\nDefault: ", out);
    config_roff(out, s->default_value ? s->default_value : "unset");
    fputs(".\n", out);
    if (s->alias) {
        fputs(".br\nAlso called ", out);
        config_roff(out, s->alias);
        fputs(".\n", out);
    }
}

void config_manual(FILE *out)
{
    size_t count;
    const struct setting *settings = config_table(&count);
    fputs(".TH WHISPER\\-TRANSCRIBER.CONF 5 \"\" \"Whisper Transcriber " WT_VERSION
          "\"\n.SH NAME\nwhisper\\-transcriber.conf \\- settings of Whisper Transcriber\n"
          ".SH SYNOPSIS\n.I " CONFIG_DEFAULT_FILE "\n.SH DESCRIPTION\n",
          out);
    fputs(
        "Lines of the form\n.IR NAME = value ,\nas systemd's EnvironmentFile= reads "
        "them. Empty lines count for nothing, and so do lines\nthat begin with # or ;. A "
        "value may stand in single or double quotes; in double quotes, a\nbackslash "
        "takes its meaning from \", \\e, $ and `. A backslash at the end of a line "
        "without\nquotes goes on with the next one. What another reader might "
        "understand differently is\nrefused.\n"
        ".PP\n"
        "Every setting may stand in the file, in the environment, or on the command "
        "line\n(MAX_FILE_SIZE_MB is \\-\\-max\\-file\\-size\\-mb). The command line wins "
        "over the environment,\nthe environment over the file, the file over the "
        "default. Another file is named by\n.BR \\-\\-config\nor the variable "
        "WHISPER_CONFIG_FILE.\n"
        ".PP\n"
        "What is secret may stand in a file of its own, whose name is the value of\n"
        ".IR NAME _FILE,\nor be a credential of systemd with the name of the setting.\n"
        ".PP\n"
        "SIGHUP makes a service read the file again, and say in the log what changed; "
        "what is not\nmarked below as taken over then needs a restart.\n"
        ".SH SETTINGS\n",
        out);
    for (size_t i = 0; i < count; i++)
        manual_setting(out, &settings[i]);
    fputs(".SH SEE ALSO\n.BR whisper\\-transcriber (1),\n.BR systemd.exec (5)\n", out);
}

/* ---- the file -------------------------------------------------------------------- */

/* Words in lines of at most `columns`, each behind "# ". */
static void comment(FILE *out, const char *text, int columns)
{
    int at = 0;
    for (const char *word = text; *word;) {
        int length = (int)strcspn(word, " ");
        if (at && at + 1 + length > columns) {
            fputc('\n', out);
            at = 0;
        }
        at += fprintf(out, "%s%.*s", at ? " " : "# ", length, word);
        word += length;
        word += strspn(word, " ");
    }
    fputc('\n', out);
}

void config_example(FILE *out)
{
    size_t count;
    const struct setting *settings = config_table(&count);
    fputs(
        "# Settings of Whisper Transcriber: NAME=value. What is commented out here has "
        "this value\n# anyway. `man whisper-transcriber.conf` says what each may be, "
        "and\n"
        "# `whisper-transcriber check` whether everything works with what stands here.\n"
        "#\n# This file is made of the table in src/base/config.c.\n",
        out);
    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &settings[i];
        char text[1400], allowed[600];
        config_describe_allowed(s, allowed, sizeof allowed);
        (void)snprintf(text, sizeof text, "%s (%s)", s->help, allowed);
        fputc('\n', out);
        comment(out, text, 88);
        fprintf(out, "#%s=%s\n", s->name, s->default_value ? s->default_value : "");
    }
}

const char *config_name(size_t index, const char **help)
{
    size_t count;
    const struct setting *settings = config_table(&count);
    if (index >= count)
        return NULL;
    *help = settings[index].help;
    return settings[index].name;
}
