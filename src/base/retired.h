/* What was replaced while threads may still look at it: kept until they have all ended.
 *
 * For things that a person changes now and then, such as settings: a thread reads a
 * pointer, uses what it leads to, and needs no lock, because nothing is freed before the
 * owner is. */
#ifndef BASE_RETIRED_H
#define BASE_RETIRED_H

struct retired;

/* Put `thing` (may be NULL) on the list; `release` frees it later. Without memory for
 * that it is never freed. Not for two threads at once. */
void retire(struct retired **list, void *thing, void (*release)(void *thing));
/* Free all of them, and the list. */
void retired_free(struct retired *list);

#endif
