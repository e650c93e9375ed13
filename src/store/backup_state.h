/* When copies were made last and looked at last: a setting, and a file beside the copies
 * for when there is no database to ask. */
#ifndef STORE_BACKUP_STATE_H
#define STORE_BACKUP_STATE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define STORE_BACKUP_STATE "backup_state"
#define BACKUP_STATE_FILE  ".state.json"
#define BACKUP_STATE_MAX   4096

/* 0: never. Milliseconds since 1970, of the machine that did it. */
struct backup_state {
    int64_t success_ms, failure_ms, bytes; /* bytes: of the last copy, all its files */
    int64_t drill_success_ms, drill_failure_ms;
};

/* Take over from a text what is newer than what is there; what is no such text says
 * nothing. */
void backup_state_merge(struct backup_state *s, const char *text);
void backup_state_compose(const struct backup_state *s, struct buf *out);

#endif
