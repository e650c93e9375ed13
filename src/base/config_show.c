/* Settings as people read them: their values for `doctor`, and docs/settings.md. */
#include "base/config_checks.h"
#include "base/config_table.h"

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

static void print_value(const struct config *c, const struct setting *s, char *out,
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
        text = *(char *const *)field;
        if (text && (s->check == setting_is_secret || s->check == setting_is_token))
            (void)snprintf(out, size, "(set)");
        else if (text)
            print_url(text, out, size);
        else
            (void)snprintf(out, size, "(unset)");
        return;
    }
}

void config_print(const struct config *c, FILE *out)
{
    size_t count;
    const struct setting *settings = config_table(&count);
    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &settings[i];
        const struct config_source *source = &c->sources[i];
        char value[1024];
        print_value(c, s, value, sizeof value);
        fprintf(out, "%s = %s\n    %s%s; %s\n", s->name, value,
                source->command_line ? "command line"
                : source->variable   ? "environment variable "
                                     : "default",
                source->variable && !source->command_line ? source->variable : "",
                s->help);
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
        "Every setting is an environment variable. The command line wins over the "
        "environment, the\nenvironment over the default. A value that is not allowed, "
        "or a variable whose name is\nnearly one of these, stops the program with a "
        "sentence that names it. An empty variable counts\nas unset. "
        "`whisper-transcriber doctor` prints every effective value and where it came "
        "from.\n\n"
        "| variable | default | allowed | meaning |\n|---|---|---|---|\n",
        out);
    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &settings[i];
        char allowed[600];
        config_describe_allowed(s, allowed, sizeof allowed);
        fprintf(out, "| `%s`", s->name);
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
