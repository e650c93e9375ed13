/* Keys that end while somebody listens.
 *
 * What stays open for hours (a WebSocket, a stream) was allowed when it was opened. The
 * key may be revoked later, here or by the command, or expire, or its session be closed;
 * then what it opened ends within a second, whether or not there is anything to tell. One
 * thread asks the database for all of them, once for each key. */
#ifndef API_VIGIL_H
#define API_VIGIL_H

#include "api/access.h"

struct vigil;

/* Part of something larger, which `withdrawn` finds again by `arg`. */
struct vigil_post {
    struct access_pass pass;
    /* On the vigil's thread, with its lock held: short, and without a call into the
     * vigil. At most once. */
    void (*withdrawn)(void *arg);
    void *arg;
    /* The vigil's own. */
    struct vigil_post *next, *previous;
    bool added, told;
};

/* `access` is borrowed. */
int vigil_start(struct vigil **out, struct access *access, struct err *e);
/* All posts have been removed. NULL is fine. */
void vigil_stop(struct vigil *v);

/* The pass, `withdrawn` and `arg` are set. Of a caller whose right cannot end (AUTH=off,
 * a proxy's word) nothing is kept. */
void vigil_add(struct vigil *v, struct vigil_post *post);
/* Once it has returned, `withdrawn` is not running and will not be called. One that was
 * not added does nothing. */
void vigil_remove(struct vigil *v, struct vigil_post *post);

#endif
