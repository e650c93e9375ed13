#include "command/switches.h"

#include "base/mem.h"
#include "command/cli.h"
#include "command/command.h"

#include <strings.h>

/* Values: SWITCHES_FROM + 2 * row, and one more for --no-… */
enum { PLAIN, NEGATED };

static const char *const aliases[] = {"initial_prompt", "logprob_threshold"};

#define NAME_BYTES 64

struct builder {
    struct option *option; /* the next one */
    char *name;            /* room for the next name */
};

static void add(struct builder *b, const char *prefix, const char *name, char dash,
                int takes, int value)
{
    (void)snprintf(b->name, NAME_BYTES, "%s%s", prefix, name);
    for (char *p = b->name; *p; p++)
        if (*p == '_' || *p == '-')
            *p = dash;
    *b->option++ = (struct option){b->name, takes, NULL, value};
    b->name += NAME_BYTES;
}

static void add_spellings(struct builder *b, const char *name, bool boolean, int value)
{
    int takes = boolean ? optional_argument : required_argument;
    for (int i = 0; i < 2; i++) {
        char dash = i ? '_' : '-';
        add(b, "", name, dash, takes, value);
        if (boolean)
            add(b, "no-", name, dash, no_argument, value + NEGATED);
    }
}

int switches_init(struct switches *s, const struct option *others, size_t count)
{
    const struct job_option *table = job_option_table();
    size_t rows = 0;
    while (table[rows].name)
        rows++;
    size_t ours = 4 * (rows + ARRAY_LENGTH(aliases));
    *s = (struct switches){.list = mem_array(count + ours + 1, sizeof *s->list),
                           .names = mem_array(ours, NAME_BYTES)};
    if (!s->list || !s->names) {
        switches_release(s);
        return ERR_NOMEM;
    }
    memcpy(s->list, others, count * sizeof *others);
    struct builder b = {s->list + count, s->names};
    for (size_t i = 0; i < rows; i++)
        add_spellings(&b, table[i].name, table[i].kind == OPTION_BOOLEAN,
                      SWITCHES_FROM + 2 * (int)i);
    for (size_t i = 0; i < ARRAY_LENGTH(aliases); i++)
        add_spellings(&b, aliases[i], false,
                      SWITCHES_FROM + 2 * (int)(job_option_find(aliases[i]) - table));
    return 0;
}

void switches_release(struct switches *s)
{
    free(s->list);
    free(s->names);
    *s = (struct switches){0};
}

/* The reference writes --word_timestamps True: then the word is the switch's. */
static const char *boolean_text(char **argv)
{
    const char *next = argv[optind];
    if (optarg)
        return optarg;
    if (next && (!strcasecmp(next, "true") || !strcasecmp(next, "false"))) {
        optind++;
        return next;
    }
    return "true";
}

int switches_take(struct json_t **options, int value, char **argv)
{
    struct err e = {0};
    int row = (value - SWITCHES_FROM) / 2;
    const struct job_option *o = &job_option_table()[row];
    const char *text = optarg;
    if (o->kind == OPTION_BOOLEAN)
        text = value % 2 == NEGATED ? "false" : boolean_text(argv);
    if (!job_options_put(options, o, text, &e))
        return EXIT_OK;
    cli_error("%s", e.message);
    return EXIT_USAGE;
}

/* ---- the help -------------------------------------------------------------------- */

#define HELP_COLUMN 34

static void help_line(FILE *out, const struct job_option *o)
{
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof name, "%s", o->name);
    for (char *p = name; *p; p++)
        if (*p == '_')
            *p = '-';
    struct buf value;
    buf_init(&value, 64);
    job_option_default(o, &value);
    int width = fprintf(out, "      --%s%s%s", name, o->value ? " " : "",
                        o->value ? o->value : "");
    if (width >= HELP_COLUMN) {
        fputc('\n', out);
        width = 0;
    }
    fprintf(out, "%*s%s", HELP_COLUMN - width, "", o->help);
    if (value.length)
        fprintf(out, " (%s)", buf_cstr(&value));
    fputc('\n', out);
    buf_release(&value);
}

void switches_help(FILE *out)
{
    int group = -1;
    fputs("\nHow it is done; defaults in brackets. What is on or off is switched with\n"
          "--NAME and --no-NAME.\n",
          out);
    for (const struct job_option *o = job_option_table(); o->name; o++) {
        if ((int)o->group != group)
            fprintf(out, "\n%s:\n", job_option_group_title(o->group));
        group = (int)o->group;
        help_line(out, o);
    }
}
