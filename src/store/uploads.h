/* Uploads that come in several requests, until each is a job. */
#ifndef STORE_UPLOADS_H
#define STORE_UPLOADS_H

#include "store/store.h"

/* Strings are owned; store_upload_release frees them. */
struct store_upload {
    char id[ID_SIZE]; /* becomes the job's */
    char *caller;     /* whose it is; "" when nobody was asked */
    char *params;     /* JSON: of the job, an object of texts */
    char *metadata;   /* as it was sent */
    char *concat;     /* "partial": only a part of one; "final;…": joined; "" */
    int64_t length;   /* bytes in all; -1: not said yet */
    int64_t received; /* of them durable */
    char *state;      /* how to find those: see blob_sitting */
    int next;         /* the same */
    int64_t epoch;    /* of whoever claimed it last: fences what that one changes */
    bool clean;       /* of a claim: the one before had let go */
    bool done;        /* it is a job */
    int64_t created_ms, expires_ms;
};
void store_upload_release(struct store_upload *u);

enum store_uploads_which {
    STORE_UPLOADS_EXPIRED, /* since before `now_ms` */
    STORE_UPLOADS_WHOLE, /* all bytes are here, but it is no job yet, and is to be one */
};

struct store_uploads_ops {
    int (*insert)(struct store *s, const struct store_upload *u, struct err *e);
    int (*get)(struct store *s, const char *id, struct store_upload *out, struct err *e);
    int (*claim)(struct store *s, const char *id, struct store_upload *out,
                 struct err *e);
    int (*advance)(struct store *s, const struct store_upload *u, struct err *e);
    int (*note)(struct store *s, const char *id, int64_t epoch, int next, struct err *e);
    int (*let_go)(struct store *s, const char *id, int64_t epoch, struct err *e);
    int (*finish)(struct store *s, const char *id, struct err *e);
    int (*remove)(struct store *s, const char *id, struct err *e);
    int (*find)(struct store *s, enum store_uploads_which which, int64_t now_ms,
                char (*ids)[ID_SIZE], size_t max, size_t *count, struct err *e);
};

/* The row of a new one: received and done are not read. */
static inline int store_upload_insert(struct store *s, const struct store_upload *u,
                                      struct err *e)
{
    return s->ops->uploads->insert(s, u, e);
}

/* ERR_NOT_FOUND for an unknown id. `out` is filled on success only. */
static inline int store_upload_get(struct store *s, const char *id,
                                   struct store_upload *out, struct err *e)
{
    return s->ops->uploads->get(s, id, out, e);
}

/* Be the one who may write it, whoever was that until now. As store_upload_get, and
 * ERR_NOT_FOUND for what is a job already. */
static inline int store_upload_claim(struct store *s, const char *id,
                                     struct store_upload *out, struct err *e)
{
    return s->ops->uploads->claim(s, id, out, e);
}

/* So much is durable now: length, received, state and expires_ms of `u` are kept.
 * ERR_NOT_FOUND when it is gone or a job already, or its epoch is another. */
static inline int store_upload_advance(struct store *s, const struct store_upload *u,
                                       struct err *e)
{
    return s->ops->uploads->advance(s, u, e);
}

/* Only u->next; ERR_NOT_FOUND as above. */
static inline int store_upload_note(struct store *s, const char *id, int64_t epoch,
                                    int next, struct err *e)
{
    return s->ops->uploads->note(s, id, epoch, next, e);
}

/* Whoever claimed it writes no more. Does nothing for another epoch. */
static inline int store_upload_let_go(struct store *s, const char *id, int64_t epoch,
                                      struct err *e)
{
    return s->ops->uploads->let_go(s, id, epoch, e);
}

/* It is a job. */
static inline int store_upload_finish(struct store *s, const char *id, struct err *e)
{
    return s->ops->uploads->finish(s, id, e);
}

/* ERR_NOT_FOUND when there is none. */
static inline int store_upload_remove(struct store *s, const char *id, struct err *e)
{
    return s->ops->uploads->remove(s, id, e);
}

/* Ids of at most `max`. */
static inline int store_upload_find(struct store *s, enum store_uploads_which which,
                                    int64_t now_ms, char (*ids)[ID_SIZE], size_t max,
                                    size_t *count, struct err *e)
{
    return s->ops->uploads->find(s, which, now_ms, ids, max, count, e);
}

#endif
