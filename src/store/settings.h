/* Settings that are made while the service runs, and what they are judged by. */
#ifndef STORE_SETTINGS_H
#define STORE_SETTINGS_H

#include "store/store.h"

/* The model of a request that names none. */
#define STORE_DEFAULT_MODEL "default_model"

/* A name of this database, by which a queue knows whose it is. */
#define STORE_IDENTITY "identity"

/* What time it is, for a database that has no server: see base/trust.h. */
#define STORE_CLOCK "clock"

struct store_settings_ops {
    int (*get)(struct store *s, const char *name, struct buf *value, struct err *e);
    int (*set)(struct store *s, const char *name, const char *value, struct err *e);
    int (*unfinished)(struct store *s, const char *model, int64_t *count, struct err *e);
};

/* Append a setting's value. ERR_NOT_FOUND when it was never made. */
static inline int store_setting_get(struct store *s, const char *name, struct buf *value,
                                    struct err *e)
{
    return s->ops->settings->get(s, name, value, e);
}

/* NULL: as if it had never been made. */
static inline int store_setting_set(struct store *s, const char *name, const char *value,
                                    struct err *e)
{
    return s->ops->settings->set(s, name, value, e);
}

/* How many jobs of a model are pending or processing. */
static inline int store_unfinished(struct store *s, const char *model, int64_t *count,
                                   struct err *e)
{
    return s->ops->settings->unfinished(s, model, count, e);
}

#endif
