/* What a row of the table of settings says. Private to config.c, where the table is, and
 * to the other files whose names begin with config_. */
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

/* By name or alias, or NULL; [*index] is its place in the table. */
const struct setting *config_find(const char *name, size_t *index);
/* The setting that a name is a misspelling of, or NULL. */
const char *config_misspelt(const char *name, size_t length);

/* Read a value into its field; `name` is what messages call it. `value` may be NULL for a
 * text that is optional. On error the field is as it was. */
int config_store(struct config *c, const struct setting *s, const char *name,
                 const char *value, struct err *e);

/* The fields, as other threads may read and change them at the same time. */
char *config_text(const struct config *c, const struct setting *s);
void config_put_text(struct config *c, const struct setting *s, char *text);
/* From one to the other; not for texts. */
void config_copy(struct config *to, const struct config *from, const struct setting *s);

/* Whether it is never shown, or has a password in it: then it may stand in a file of its
 * own. */
bool setting_is_confidential(const struct setting *s);

/* The value as text, with passwords and secrets, or with stars for them. */
void config_value(const struct config *c, const struct setting *s, bool masked, char *out,
                  size_t size);

/* Where the value of setting [index] came from, in words. */
void config_source_text(const struct config *c, size_t index, char *out, size_t size);

/* What a setting may be, in words. */
void config_describe_allowed(const struct setting *s, char *out, size_t size);

#endif
