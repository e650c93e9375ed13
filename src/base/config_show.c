/* Settings as people read them: their values for `doctor`, and docs/settings.md. */
#include "base/config_checks.h"
#include "base/config_live.h"
#include "base/config_table.h"

#include <limits.h>

static const void *field_in(const struct config *c, const struct setting *s)
{
    return (const char *)c + s->offset;
}

static void list_choices(const struct setting *s, char *out, size_t size)
{
    out[0] = '\0';
    size_t at = 0;
    for (size_t i = 0; s->choices[i] && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "", s->choices[i]);
}

void config_describe_allowed(const struct setting *s, char *out, size_t size)
{
    if (s->type == SETTING_INTEGER)
        (void)snprintf(out, size, "a whole number from %lld to %lld", (long long)s->min,
                       (long long)s->max);
    else if (s->choices)
        list_choices(s, out, size);
    else if (s->type == SETTING_BOOLEAN)
        (void)snprintf(out, size, "true or false");
    else
        (void)snprintf(out, size, "%s", s->allowed);
}

/* What is behind "password=" in a query becomes stars. */
static void hide_in_query(char *url)
{
    static const char word[] = "password=";
    char *at = strchr(url, '?');
    while (at && (at = strstr(at, word))) {
        at += strlen(word);
        size_t n = strcspn(at, "&#");
        if (n >= 3) {
            memcpy(at, "***", 3);
            memmove(at + 3, at + n, strlen(at + n) + 1);
        } else {
            memset(at, '*', n);
        }
    }
}

/* A URL with its password, if it has one, replaced by stars. */
static void print_url(const char *url, char *out, size_t size)
{
    const char *host = strstr(url, "://");
    const char *end = host ? host + 3 + strcspn(host + 3, "/?#") : url;
    const char *at = NULL;
    for (const char *p = host; p && p < end; p++)
        if (*p == '@')
            at = p;
    const char *colon = at ? memchr(host + 3, ':', (size_t)(at - host - 3)) : NULL;
    if (colon)
        (void)snprintf(out, size, "%.*s:***%s", (int)(colon - url), url, at);
    else
        (void)snprintf(out, size, "%s", url);
    if (host)
        hide_in_query(out);
}

void config_value(const struct config *c, const struct setting *s, bool masked, char *out,
                  size_t size)
{
    const void *field = field_in(c, s);
    const char *text;
    switch (s->type) {
    case SETTING_INTEGER:
        (void)snprintf(out, size, "%lld", (long long)*(const int64_t *)field);
        return;
    case SETTING_CHOICE:
        (void)snprintf(out, size, "%s", s->choices[*(const int *)field]);
        return;
    case SETTING_BOOLEAN:
        text = s->choices             ? s->choices[*(const bool *)field]
               : *(const bool *)field ? "true"
                                      : "false";
        (void)snprintf(out, size, "%s", text);
        return;
    case SETTING_TEXT:
        text = config_text(c, s);
        if (text && masked &&
            (s->check == setting_is_secret || s->check == setting_is_token))
            (void)snprintf(out, size, "(set)");
        else if (text && masked)
            print_url(text, out, size);
        else
            (void)snprintf(out, size, "%s", text ? text : "(unset)");
        return;
    }
}

void config_source_text(const struct config *c, size_t index, char *out, size_t size)
{
    const struct config_source *source = &c->sources[index];
    const char *name = source->variable ? source->variable : "";
    switch (source->origin) {
    case FROM_DEFAULT:
        (void)snprintf(out, size, "default");
        break;
    case FROM_FILE:
        (void)snprintf(out, size, "%s, line %d", c->file, source->line);
        break;
    case FROM_ENVIRONMENT:
        (void)snprintf(out, size, "environment variable %s", name);
        break;
    case FROM_SECRET_FILE:
        (void)snprintf(out, size, "the file that %s_FILE names", name);
        break;
    case FROM_CREDENTIAL:
        (void)snprintf(out, size, "the credential %s", name);
        break;
    case FROM_COMMAND_LINE:
        (void)snprintf(out, size, "command line");
        break;
    }
}

void config_print(const struct config *c, FILE *out)
{
    size_t count;
    const struct setting *settings = config_table(&count);
    for (size_t i = 0; i < count; i++) {
        char value[2100], source[PATH_MAX + 100];
        config_value(c, &settings[i], true, value, sizeof value);
        config_source_text(c, i, source, sizeof source);
        fprintf(out, "%s = %s\n    %s; %s\n", settings[i].name, value, source,
                settings[i].help);
    }
}

/* A cell of a Markdown table: a bar would end it. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

void config_markdown(FILE *out)
{
    size_t count;
    const struct setting *settings = config_table(&count);
    fputs(
        "# Settings\n\n"
        "<!-- Made by `whisper-transcriber doctor --settings-markdown`; change the table "
        "in src/base/config.c instead. -->\n\n"
        "Every setting is a line `NAME=value` of the settings file, an environment "
        "variable and an option\nof every command (`MAX_FILE_SIZE_MB` is "
        "`--max-file-size-mb`). The command line wins over the\nenvironment, the "
        "environment over the file, the file over the default. A value that is not "
        "allowed,\na name in the file that is none of these, a variable whose name is "
        "nearly one of these, and\nsettings that contradict each other stop the program "
        "with a sentence that says what to do. An\nempty variable counts as unset. "
        "`whisper-transcriber check` prints every effective value, where it\ncame from, "
        "and whether everything works with it.\n\n"
        "The file is what `--config` or `WHISPER_CONFIG_FILE` names, else\n"
        "`" CONFIG_DEFAULT_FILE "`, if it is there.\nIts form is that of systemd's "
        "`EnvironmentFile=`. SIGHUP makes a service read it again; what is\ntaken over "
        "then is marked with *, the rest waits for a restart. A setting marked with † "
        "may also\nbe read from a file of its own, which `NAME_FILE` names, or from a "
        "systemd credential of its name.\n\n"
        "| variable | default | allowed | meaning |\n|---|---|---|---|\n",
        out);
    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &settings[i];
        char allowed[600];
        config_describe_allowed(s, allowed, sizeof allowed);
        fprintf(out, "| `%s`", s->name);
        if (config_is_live(s->name))
            fputs(" *", out);
        if (setting_is_confidential(s))
            fputs(" †", out);
        if (s->alias)
            fprintf(out, ", also `%s`", s->alias);
        if (s->default_value)
            fprintf(out, " | `%s` | ", s->default_value);
        else
            fputs(" | unset | ", out);
        print_cell(out, allowed);
        fputs(" | ", out);
        print_cell(out, s->help);
        fputs(" |\n", out);
    }
}
