/* What a row of the table of settings says. Private to config.c, where the table is, and
 * config_show.c. */
#ifndef BASE_CONFIG_TABLE_H
#define BASE_CONFIG_TABLE_H

#include "base/config.h"

#include <stddef.h>

enum setting_type {
    SETTING_TEXT,    /* char *, checked by .check if there is one */
    SETTING_INTEGER, /* int64_t in [min, max] */
    SETTING_BOOLEAN, /* bool; choices, if any, are the words for false and true */
    SETTING_CHOICE,  /* an enum of int size, the index into choices */
};

struct setting {
    const char *name, *alias; /* alias may be NULL */
    enum setting_type type;
    size_t offset;                    /* of the field in struct config */
    const char *default_value;        /* NULL: unset */
    int64_t min, max;                 /* SETTING_INTEGER */
    const char *const *choices;       /* NULL-terminated */
    bool (*check)(const char *value); /* SETTING_TEXT */
    const char *allowed;              /* for people: what a text may be */
    const char *help;
    const char *fallback; /* another program's name for it, read when ours is not set */
};

/* Static, [*count], in the order of config.sources. */
const struct setting *config_table(size_t *count);

/* What a setting may be, in words. */
void config_describe_allowed(const struct setting *s, char *out, size_t size);

#endif
