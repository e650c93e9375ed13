/* One request to the bucket, tried again while what is wrong may pass. Private to s3. */
#ifndef S3_REQUEST_H
#define S3_REQUEST_H

#include "base/buf.h"
#include "s3/s3.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#define S3_IDLE_HANDLES 16
#define S3_ERROR_MAX    (64u << 10)
#define S3_LIST_MAX     (8u << 20) /* of 1000 entries */

struct s3 {
    char *base;   /* owned: https://host/bucket or https://bucket.host */
    char *name;   /* owned: for messages */
    char *bucket; /* owned */
    char *region; /* owned */
    char *scope;  /* owned: for libcurl's signer */
    char *key_id; /* owned, as are the others */
    char *secret;
    char *token_header; /* NULL: none */
    char *ca_file;      /* NULL: the system's */
    atomic_bool stopping;
    /* Monotonic: until then nobody tries more than once, for it did not help just now. */
    _Atomic int64_t away_ns;
    pthread_mutex_t lock;
    CURL *idle[S3_IDLE_HANDLES]; /* owned, under lock: with their connections */
    size_t n_idle;               /* under lock */
};

struct s3_request {
    const char *method;
    const char *key;   /* NULL: the bucket itself */
    const char *query; /* encoded and in order, each name with its "="; "" */
    const void *body;  /* NULL: none */
    size_t body_length;
    const char *type;    /* of the body; NULL: bytes */
    int64_t first, last; /* range; last -1: to the end; first -1: no range */
    s3_data_fn data;     /* takes the body of 200 and 206; NULL: it goes into text */
    void *arg;
};

struct s3_answer {
    long status;
    struct buf text; /* owned */
    int64_t length;  /* Content-Length; -1: not said */
    int64_t total;   /* of Content-Range; -1: not said */
    int64_t date_ms; /* the server's clock; 0: not said */
    int64_t taken;   /* bytes that `data` took */
    char etag[S3_ETAG_SIZE];
};

/* Status 2xx, or an error as in s3.h. `out` is to be released in every case. Not tried
 * again once `data` has taken something: ERR_NETWORK then, if another try from there on
 * may do better. */
int s3_perform(struct s3 *s, const struct s3_request *r, struct s3_answer *out,
               struct err *e);
void s3_answer_release(struct s3_answer *a);

/* Wait before try number `n` (from 1 on); ERR_CANCELLED when we end. */
int s3_wait(struct s3 *s, int n, struct err *e);
#define S3_TRIES 5

#endif
