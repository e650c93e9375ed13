/* A client of object storage that speaks Amazon's S3, whoever runs it.
 *
 * One bucket, one key. libcurl moves the bytes and signs (Signature Version 4), expat
 * reads the answers. Every body that is sent is hashed and the hash is signed, so that
 * the server refuses what was damaged on the way. What passes (5xx, 429, a connection
 * that breaks, silence) is tried again, less and less often, for some seconds; then the
 * error says so. All functions may be called from several threads at once, and block. */
#ifndef S3_S3_H
#define S3_S3_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All borrowed, for the call only. */
struct s3_options {
    const char *bucket;
    const char *endpoint; /* http(s)://host[:port]; NULL: Amazon's of the region */
    const char *region;   /* NULL: us-east-1 */
    const char *key_id, *secret;
    const char *token;   /* of a temporary key; NULL: none */
    const char *ca_file; /* NULL: the system's */
    bool path_style;     /* https://host/bucket/key, not https://bucket.host/key */
};

struct s3;

/* Nothing is asked of the server yet. ERR_INVALID for a bucket's name or an endpoint that
 * can be none, ERR_UNSUPPORTED where libcurl is too old to sign. */
int s3_open(struct s3 **out, const struct s3_options *options, struct err *e);
void s3_close(struct s3 *s);
/* Requests that are under way, and all later ones, end soon with ERR_CANCELLED. */
void s3_stop(struct s3 *s);
/* "the bucket B at HOST", for messages. Borrowed. */
const char *s3_name(const struct s3 *s);

/* Errors of what follows: ERR_NOT_FOUND when there is no such object or multipart upload;
 * ERR_FULL when the server says that it, or what we may have of it, is full; ERR_IO for
 * everything that an operator must mend or wait for; ERR_CORRUPT when the parts are not
 * what was sent; ERR_CANCELLED. A key is made of letters, digits and "-._/". */

int s3_put(struct s3 *s, const char *key, const void *bytes, size_t length,
           struct err *e);

/* Pieces of an object as they come. A negative answer ends it. */
typedef int (*s3_data_fn)(void *arg, const void *bytes, size_t length, struct err *e);
/* `length` bytes from `first` on; -1: all that follow. What broke off goes on where it
 * stood. */
int s3_get(struct s3 *s, const char *key, int64_t first, int64_t length, s3_data_fn data,
           void *arg, struct err *e);
int s3_size(struct s3 *s, const char *key, int64_t *bytes, struct err *e);
/* What is not there counts as removed. */
int s3_delete(struct s3 *s, const char *key, struct err *e);

/* ---- large objects, in parts ---- */

#define S3_PART_MIN       ((size_t)5 << 20) /* of every part but the last */
#define S3_PARTS_MAX      10000
#define S3_ETAG_SIZE      80
#define S3_UPLOAD_ID_SIZE 1100

struct s3_part {
    int number; /* from 1 on, rising; not all need be there */
    int64_t bytes;
    char etag[S3_ETAG_SIZE];
};

int s3_upload_begin(struct s3 *s, const char *key, char upload_id[S3_UPLOAD_ID_SIZE],
                    struct err *e);
/* part->number is read, the rest filled in. Another part of that number is replaced. */
int s3_upload_part(struct s3 *s, const char *key, const char *upload_id,
                   struct s3_part *part, const void *bytes, size_t length, struct err *e);
/* The object comes into being. ERR_NOT_FOUND also when that has happened before. */
int s3_upload_finish(struct s3 *s, const char *key, const char *upload_id,
                     const struct s3_part *parts, size_t count, struct err *e);
/* Forget the parts. What is not there counts as forgotten. */
int s3_upload_abort(struct s3 *s, const char *key, const char *upload_id, struct err *e);

/* ---- what is there ---- */

struct s3_entry {
    const char *key;
    const char *upload_id; /* of an upload in parts that is not finished; "" */
    int64_t bytes;
    int64_t age_ms; /* by the server's clock */
};
/* 0: on; anything else ends it and is returned. */
typedef int (*s3_entry_fn)(void *arg, const struct s3_entry *entry, struct err *e);
int s3_list(struct s3 *s, const char *prefix, s3_entry_fn fn, void *arg, struct err *e);
/* Uploads in parts. ERR_UNSUPPORTED where the server cannot tell them. */
int s3_list_uploads(struct s3 *s, const char *prefix, s3_entry_fn fn, void *arg,
                    struct err *e);

#endif
