/* What an operator does for a database and a storage, beside a service that runs or not:
 * what has expired is removed, what is damaged or does not fit together is found. */
#ifndef JOB_CARE_H
#define JOB_CARE_H

#include "base/config.h"
#include "store/blob.h"
#include "store/care.h"

/* ---- prune ----------------------------------------------------------------------- */

enum prune_what {
    PRUNE_JOB,        /* all of it */
    PRUNE_RECORDING,  /* its recording alone */
    PRUNE_TRANSCRIPT, /* what it said: the row stays for a day, so that this can be told
                       */
    PRUNE_LEFTOVER,   /* a file without a job */
};
const char *prune_what_name(enum prune_what w);

struct prune_item {
    enum prune_what what;
    char id[ID_SIZE];
    const char *why;      /* a phrase; static */
    const char *filename; /* borrowed; as its caller named it: any UTF-8. "": none */
    int64_t bytes;        /* of its recording, as far as it is still there */
    int64_t ended_ms;     /* 0: unknown */
};
typedef void (*prune_fn)(void *arg, const struct prune_item *item);

struct prune_wish {
    bool dry_run;
    int64_t older_than_days; /* instead of TRANSCRIPT_RETENTION_DAYS; negative: that */
};

struct prune_sums {
    int64_t jobs, recordings, transcripts, leftovers, bytes;
    int64_t held; /* jobs that would go, but are on hold */
};

/* Remove what has expired, as the settings have it, or only tell of it. `fn` hears of
 * each thing, before it goes. */
int care_prune(struct store *s, struct blob_store *blobs, const struct config *c,
               const struct prune_wish *wish, prune_fn fn, void *arg,
               struct prune_sums *out, struct err *e);

/* ---- check ----------------------------------------------------------------------- */

/* Whether the database is sound, and whether each recording that a job has is there, and
 * whole. `fn` hears what is wrong; *findings counts it. Noted for the metrics. */
int care_check(struct store *s, struct blob_store *blobs, bool quick, store_finding_fn fn,
               void *arg, int64_t *findings, struct err *e);

/* What the last check found. All zero when there was none. */
struct care_note {
    int64_t time_ms, findings;
};
int care_note_read(struct store *s, struct care_note *out, struct err *e);

#endif
