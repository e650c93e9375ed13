/* Settings that change while the program runs.
 *
 * Their fields in struct config are _Atomic, so that any thread may read them; one thread
 * alone, the one that takes signals, changes them. Several settings do not change in one
 * instant: a request that is under way may meet some that are old and some that are new.
 */
#ifndef BASE_CONFIG_LIVE_H
#define BASE_CONFIG_LIVE_H

#include "base/config.h"

/* Whether config_adopt takes it over; all others wait for a restart. */
bool config_is_live(const char *name);

struct config_difference {
    const char *name;           /* borrowed, static */
    const char *before, *after; /* borrowed for the call; no secrets */
    bool live;
};

/* Calls `tell` for each setting that `next` has differently; returns how many. */
size_t config_differences(const struct config *now, const struct config *next,
                          void (*tell)(void *context, const struct config_difference *d),
                          void *context);

/* Take the live ones of `next` over into `now`, and release `next`. */
void config_adopt(struct config *now, struct config *next);

#endif
