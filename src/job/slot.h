/* A slot: the place of one worker process, which is started again when it dies. */
#ifndef JOB_SLOT_H
#define JOB_SLOT_H

#include "base/err.h"
#include "job/protocol.h"

#include <sys/types.h>

enum slot_state {
    SLOT_EMPTY,    /* no process: one is started at start_at_ns */
    SLOT_STARTING, /* not heard of yet */
    SLOT_IDLE,
    SLOT_BUSY,
    SLOT_DYING, /* killed or dead, not yet reaped */
};

struct slot {
    enum slot_state state;
    pid_t pid;
    int fd; /* owned socket; -1: closed */
    int64_t start_at_ns;
    int64_t started_ns;
    int64_t busy_ns; /* since when it has had something to do, without a break */
    int deaths;      /* in a row, without a job begun */
    char death[80];  /* how the last one ended: "signal 11 (Segmentation fault)" */
    /* It was killed, neither by us nor for lack of memory: nothing that it had to do is
     * the reason. */
    bool from_outside;
    bool ended;         /* by slot_kill */
    int64_t kill_at_ns; /* it has closed its socket: if it is still there then */
    int level;          /* of the log, that it was told of; -1: of none */
    int64_t oom_kills;  /* of the machine, when it was last known to be well */
};

void slot_init(struct slot *s);

/* Start a process: this program again, as `worker --embedded`. On failure the slot stays
 * empty, to be tried again later. */
int slot_start(struct slot *s, int64_t now_ns, struct err *e);

/* End the process and all that it started (SIGKILL to its group). The slot is dying. */
void slot_kill(struct slot *s);

/* It has closed its socket, as those do that die. One that lives on is ended soon. */
void slot_left(struct slot *s, int64_t now_ns);

/* It is well, and about to begin something that may need memory. */
void slot_well(struct slot *s);

/* Whether its processes keep dying at once. */
bool slot_fails(const struct slot *s, int64_t now_ns);
/* Whether its last death is to be told of: the first ones, and then fewer and fewer. */
bool slot_is_news(const struct slot *s);

/* Whether a dying process is gone; then the slot is empty, to be started again after a
 * pause that grows with deaths in a row, and `death` and `from_outside` say how it ended.
 */
bool slot_reap(struct slot *s, int64_t now_ns);

#endif
