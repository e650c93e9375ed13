/* Downloads of models while the service runs: one thread for each, one for each model,
 * few at a time. They can be watched, stopped, and taken up again where they stopped. */
#ifndef JOB_PULLS_H
#define JOB_PULLS_H

#include "base/config.h"
#include "catalog/catalog.h"

enum pull_state { PULL_NONE, PULL_RUNNING, PULL_DONE, PULL_FAILED, PULL_CANCELLED };

struct pull_view {
    enum pull_state state;
    uint64_t done, total; /* bytes; total 0: not known yet */
    char message[300];    /* for people: what it does, or why it ended */
    int64_t time_ms;      /* wall clock, of the last change */
};

struct pulls;

/* `c` is borrowed. */
int pulls_new(struct pulls **out, const struct config *c, struct err *e);
/* Stops every download and waits for it. */
void pulls_free(struct pulls *p);

/* Begin, unless it is under way already. ERR_INVALID: no such model is published;
 * ERR_STATE: too many others are under way. */
int pulls_start(struct pulls *p, const char *name, struct err *e);
/* Stop it; what has come is kept for the next time. Whether it was under way. */
bool pulls_cancel(struct pulls *p, const char *name);
/* The last download of a model; PULL_NONE when this process knows of none. */
void pulls_view(struct pulls *p, const char *name, struct pull_view *out);

/* Call `fn` at once with the present state, and at every change: on the download's
 * thread, be short, and call nothing here. Returns a handle above 0, or a negative error.
 * After pulls_unsubscribe `fn` is not called again. */
typedef void (*pull_fn)(void *arg, const struct pull_view *view);
int pulls_subscribe(struct pulls *p, const char *name, pull_fn fn, void *arg);
void pulls_unsubscribe(struct pulls *p, int handle);

#endif
