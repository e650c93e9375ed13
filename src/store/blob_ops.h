/* What a kind of storage is made of. Private to blob_*.c. */
#ifndef STORE_BLOB_OPS_H
#define STORE_BLOB_OPS_H

#include "store/blob.h"
#include "store/blob_state.h"

#define BLOB_HEAD_BYTES 512

/* The functions are those of blob.h. Ids have been judged, and are valid. */
struct blob_ops {
    void (*close)(struct blob_store *s);
    const char *(*name)(const struct blob_store *s);
    void (*stop)(struct blob_store *s); /* NULL: nobody waits */
    int (*begin)(struct blob_writer *w, struct err *e);
    /* The state is in the writer. */
    int (*resume)(struct blob_writer *w, bool clean, struct err *e);
    int (*write)(struct blob_writer *w, const void *bytes, size_t length, struct err *e);
    int (*sync)(struct blob_writer *w, bool all, int64_t *bytes, struct err *e);
    bool (*sync_is_due)(const struct blob_writer *w);
    void (*kept)(struct blob_writer *w); /* NULL: nothing to do */
    int (*finish)(struct blob_writer *w, struct err *e);
    void (*abort)(struct blob_writer *w);
    void (*release)(struct blob_writer *w);
    struct blob_writer *(*writer_new)(void);
    int (*discard)(struct blob_store *s, const char *id, const struct blob_state *state,
                   struct err *e);
    /* For those who look at the head: what is in pieces. */
    int (*read_part)(struct blob_store *s, const char *id, const struct blob_state *state,
                     blob_data_fn data, void *arg, struct err *e);
    int (*size)(struct blob_store *s, const char *id, int64_t *bytes, struct err *e);
    int (*read)(struct blob_store *s, const char *id, int64_t first, int64_t length,
                blob_data_fn data, void *arg, struct err *e);
    int (*open)(struct blob_store *s, const char *id, struct err *e);
    int (*writable)(struct blob_store *s, struct err *e);
    int (*remove)(struct blob_store *s, const char *id, struct err *e);
    int (*sweep)(struct blob_store *s, int64_t age_ms, blob_wanted_fn wanted, void *arg,
                 struct err *e);
    int (*ready)(struct blob_store *s, struct err *e);
    int (*try)(struct blob_store *s, struct err *e);
};

/* The first field of what each kind has. */
struct blob_store {
    const struct blob_ops *ops; /* static */
    char *scratch;              /* owned */
    bool remote;
    bool wipe; /* overwrite what is removed; a bucket cannot */
};

struct blob_writer {
    struct blob_store *store; /* borrowed */
    char id[ID_SIZE];
    bool kept;     /* of several sittings */
    int64_t bytes; /* in all */
    struct blob_state state;
    int (*note)(void *arg, int next, struct err *e); /* NULL: see blob.h */
    void *arg;
    unsigned char head[BLOB_HEAD_BYTES];
    size_t head_length;
};

extern const struct blob_ops blob_files_ops, blob_s3_ops;

/* "uploads/<id>" and so on → 1 and what it is, or 0: not ours. */
int blob_name_parse(const char *name, char id[ID_SIZE], const char **rest);

#endif
