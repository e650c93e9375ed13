/* A storage that is a bucket. Private to blob_s3*.c. */
#ifndef STORE_BLOB_S3_H
#define STORE_BLOB_S3_H

#include "store/blob_ops.h"

#define S3_KEY_SIZE 1024

struct s3_store {
    struct blob_store base;
    struct s3 *s3;            /* owned */
    char *prefix;             /* owned: "" or with a slash at its end */
    _Atomic int64_t away_ns;  /* the same, for one that did not */
    _Atomic int64_t ready_ns; /* monotonic: until then a probe that went well counts */
};

/* One part of a recording in memory, until it is full or the sitting ends. */
struct s3_writer {
    struct blob_writer base;
    unsigned char *buffer; /* owned [capacity]; grows up to the size of a part */
    size_t fill, capacity;
    bool rest_stored;         /* all of the buffer is in the state's piece */
    struct blob_piece old[2]; /* pieces that only former states tell of */
    size_t n_old;
    int64_t synced_at; /* bytes of parts when the caller heard of them last */
};

/* "<prefix>uploads/<id>", "<prefix>parts/<id>.<token>" */
int s3_blob_key(const struct s3_store *s, const char *id, char key[S3_KEY_SIZE],
                struct err *e);
int s3_piece_key(const struct s3_store *s, const char *id, const struct blob_piece *piece,
                 char key[S3_KEY_SIZE], struct err *e);

/* blob_s3_write.c */
struct blob_writer *s3_writer_new(void);
void s3_writer_release(struct blob_writer *w);
int s3_writer_begin(struct blob_writer *w, struct err *e);
int s3_writer_resume(struct blob_writer *w, bool clean, struct err *e);
int s3_writer_write(struct blob_writer *w, const void *bytes, size_t length,
                    struct err *e);
int s3_writer_sync(struct blob_writer *w, bool all, int64_t *bytes, struct err *e);
bool s3_writer_sync_is_due(const struct blob_writer *w);
void s3_writer_kept(struct blob_writer *w);
int s3_writer_finish(struct blob_writer *w, struct err *e);
void s3_writer_abort(struct blob_writer *w);
int s3_discard(struct blob_store *s, const char *id, const struct blob_state *state,
               struct err *e);
int s3_read_part(struct blob_store *s, const char *id, const struct blob_state *state,
                 blob_data_fn data, void *arg, struct err *e);

/* blob_s3_sweep.c */
int s3_sweep(struct blob_store *s, int64_t age_ms, blob_wanted_fn wanted, void *arg,
             struct err *e);

#endif
