/* What sittings have brought of one recording, as a text that the database keeps. Private
 * to blob_*.c. */
#ifndef STORE_BLOB_STATE_H
#define STORE_BLOB_STATE_H

#include "base/buf.h"
#include "base/err.h"
#include "s3/s3.h"

#include <nettle/sha2.h>

#define BLOB_TOKEN_SIZE 17

/* A file, or an object, that one sitting has written. */
struct blob_piece {
    char token[BLOB_TOKEN_SIZE]; /* hex; "": of a version that kept no state */
    int64_t bytes;               /* of it that count */
};

struct blob_state {
    struct sha256_ctx hash; /* of the bytes in pieces, or in parts */
    bool hashed;            /* false: not known, to be taken at the end */
    /* In a folder: one after the other. In a bucket, one at most: what follows the parts
     * and is too small for one. */
    struct blob_piece *pieces; /* owned */
    size_t n_pieces, pieces_capacity;
    /* In a bucket. */
    char *upload_id;       /* owned; NULL: none has been begun */
    int next;              /* no number from here on has been used */
    struct s3_part *parts; /* owned */
    size_t n_parts, parts_capacity;
};

void blob_state_init(struct blob_state *s);
void blob_state_release(struct blob_state *s);
/* ERR_CORRUPT for a text that is none of ours. NULL and "" are the state of nothing. */
int blob_state_parse(struct blob_state *s, const char *text, struct err *e);
int blob_state_print(const struct blob_state *s, struct buf *out, struct err *e);
/* All bytes that it tells of. */
int64_t blob_state_bytes(const struct blob_state *s);

/* Another piece, with a name that nobody has had. */
int blob_state_add_piece(struct blob_state *s, struct err *e);
void blob_token(char out[BLOB_TOKEN_SIZE]);

#endif
