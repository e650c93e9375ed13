/* What the native door asks of the store beside jobs: keys that make a request happen
 * once, the log of changes, and forgetting at once. The promises of store.h hold. */
#ifndef STORE_NATIVE_H
#define STORE_NATIVE_H

#include "store/event.h"
#include "store/store.h"

/* A key of a caller: the same key with the same request gives the same job. */
struct store_once {
    const char *caller, *key; /* borrowed */
    const char *request;      /* borrowed: a hash of all that was asked for */
    int64_t now_ms;
    int64_t since_ms; /* keys from before are forgotten */
};

struct store_native_ops {
    int (*insert_once)(struct store *s, const struct job *j, const char *sha256,
                       const struct store_once *once, char id[ID_SIZE], struct err *e);
    int (*log_extent)(struct store *s, struct store_log_extent *out, struct err *e);
    int (*log_read)(struct store *s, int64_t after, const char *caller, size_t max,
                    struct store_event_list *out, struct err *e);
    int (*log_trim)(struct store *s, int64_t before_ms, int64_t most, struct err *e);
    int (*shed)(struct store *s, const char *id, struct err *e);
    int (*erase)(struct store *s, const char *id, struct err *e);
    int (*tidy)(struct store *s, bool *more, struct err *e);
    int (*scrub)(struct store *s, struct err *e);
};

/* As store_insert, unless the key was used: then ERR_EXISTS, with `id` of the job that it
 * made, or ERR_STATE when that was another request. A key goes with its job. */
static inline int store_insert_once(struct store *s, const struct job *j,
                                    const char *sha256, const struct store_once *once,
                                    char id[ID_SIZE], struct err *e)
{
    return s->ops->native->insert_once(s, j, sha256, once, id, e);
}

/* Every change of a job's state is a line of the log, written with it in one commit; of
 * changes of its progress the last line stays. What is not in the log any more is below
 * the floor. A line is never committed before one with a lower number. */
static inline int store_log_extent(struct store *s, struct store_log_extent *out,
                                   struct err *e)
{
    return s->ops->native->log_extent(s, out, e);
}

/* At most `max` lines with numbers above `after`, in order, of one caller's jobs or
 * (NULL) of all. Release the list. */
static inline int store_log_read(struct store *s, int64_t after, const char *caller,
                                 size_t max, struct store_event_list *out, struct err *e)
{
    return s->ops->native->log_read(s, after, caller, max, out, e);
}

/* Drop lines that are older, and all but the newest `most`. */
static inline int store_log_trim(struct store *s, int64_t before_ms, int64_t most,
                                 struct err *e)
{
    return s->ops->native->log_trim(s, before_ms, most, e);
}

/* A job that has ended needs neither its recording nor its checkpoints: note that the
 * one is gone, and drop the others. */
static inline int store_shed(struct store *s, const char *id, struct err *e)
{
    return s->ops->native->shed(s, id, e);
}

/* Drop what an ended job said and all that tells of it: transcript, report, name,
 * options, hash. The row stays, `erased`, so that it can be said that it was there. */
static inline int store_erase(struct store *s, const char *id, struct err *e)
{
    return s->ops->native->erase(s, id, e);
}

/* One bounded step of taking the words of deleted jobs out of the search index; *more
 * says whether another is to follow. */
static inline int store_tidy(struct store *s, bool *more, struct err *e)
{
    return s->ops->native->tidy(s, more, e);
}

/* What was deleted leaves the journal, too. ERR_TIMEOUT: not now, try again. */
static inline int store_scrub(struct store *s, struct err *e)
{
    return s->ops->native->scrub(s, e);
}

#endif
