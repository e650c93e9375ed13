/* A run: one attempt at one job, from its claim until its end is written down.
 *
 * It keeps what the worker has said until the store has it, so that a full disk delays a
 * checkpoint or an end, and loses none. Only the supervisor's thread touches it. */
#ifndef JOB_RUN_H
#define JOB_RUN_H

#include "job/models.h"
#include "job/protocol.h"
#include "job/service.h"

enum run_end {
    RUN_GOES_ON,
    RUN_FINISHED, /* all windows are here */
    RUN_FAILED,   /* `why` says why */
    RUN_CRASHED,  /* its worker died: `why` says how */
    RUN_RETURNED, /* to the queue, by no fault of its own */
    RUN_PUT_OFF,  /* the same, for a while: there is no room on a disk */
    RUN_LOST,     /* cancelled, deleted or taken: nothing is left to write */
};

/* Texts that a worker sent. */
struct bodies {
    char **list; /* owned [count] */
    size_t count, capacity;
};

/* Windows that are done early. */
struct ahead_list {
    struct ahead_text {
        int64_t until_frame;
        char *text; /* owned */
    } * list;       /* owned [count] */
    size_t count, capacity;
};

struct run {
    bool active;
    bool first;     /* its worker had nothing else when it was taken */
    bool sent;      /* a worker has got it … */
    bool working;   /* … and has not said that it is done */
    struct job job; /* owned: as the store has it, as far as we know */
    enum run_end end;
    struct err why;
    bool killed;    /* of RUN_CRASHED: from outside, see slot.h */
    int64_t serial; /* of the model that it was sent with */
    bool waits;     /* for memory, and somebody was told */
    bool modelless; /* the same: for any model to be here */
    int64_t sent_ns, deadline_ns;
    int64_t heard_ns;      /* of RUN_FINISHED: when its worker said so */
    int64_t from_frame;    /* where this attempt began */
    int64_t asked_ns;      /* when its worker was asked to stop it; 0: not asked */
    int64_t not_before_ns; /* the store failed: try again then */

    /* Not in the store yet: */
    bool decoded_unsaved, window_unsaved;
    struct bodies windows; /* the last ones may be parts … */
    size_t n_parts;        /* … of a window whose end has not come: so many */
    struct ahead_list ahead;
    struct bodies report; /* what came with the end */
    struct buf waveform;  /* of what is decoded_unsaved; may be empty */

    int64_t next_frame, total_frames;
    char language[16];
    double probability;
    double seconds;
    struct transcribe_times times; /* as the worker says */
    char warning[256];
};

struct run_context {
    struct jobs *jobs; /* borrowed, as are all */
    struct models *models;
    const char *owner; /* names this process in the store */
    int threads;       /* per transcription */
};

/* Claim the next job that is as wished, or (NULL) whichever. ERR_NOT_FOUND: none is due.
 */
int run_claim(struct run *r, const struct run_context *c, const struct store_wish *wish,
              struct err *e);

/* Send it to the worker on `fd` in slot `slot`. 1: sent, or ended by an error of its own;
 * 0: another worker loads its model, ask again. Negative: the worker cannot be reached.
 */
int run_send(struct run *r, const struct run_context *c, int slot, int fd, int64_t now_ns,
             struct err *e);

/* What the worker says of this job. Negative: that cannot be true. */
int run_hear(struct run *r, const struct message *m, struct err *e);

/* Write the checkpoint, and the end if there is one and no worker is busy with it any
 * more. After the end is written the run is no longer active. */
void run_save(struct run *r, const struct run_context *c, int64_t now_ns);

/* Renew the lease; a job that was taken away is lost. */
void run_renew(struct run *r, const struct run_context *c);

/* Decide that it cannot be done, unless the end is decided: a full disk is no fault of
 * the recording, and is not for ever. */
void run_fail(struct run *r, int code, const char *message);

/* Decide the end, unless it is decided. */
void run_set_end(struct run *r, enum run_end end, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
