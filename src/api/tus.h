/* Uploads in several requests: the tus protocol 1.0 (https://tus.io/protocols) with its
 * extensions creation, creation-with-upload, creation-defer-length, concatenation,
 * termination, expiration and checksum. An upload that is complete becomes a job by
 * itself. */
#ifndef API_TUS_H
#define API_TUS_H

#include "api/api.h"
#include "job/resumable.h"

#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <sodium.h>

void tus_options(struct http_request *r); /* tus.c */
void tus_create(struct http_request *r);
void tus_get(struct http_request *r);
void tus_patch(struct http_request *r);
void tus_delete(struct http_request *r);
extern const struct http_body_handler tus_create_body, tus_patch_body;

/* ---- becoming a job: tus_job.c ---- */

/* Make jobs of the uploads that are complete and are none: when the service starts, those
 * of one that died; later, those that it could not make when the last bytes came. */
void tus_finish_all(struct api *api, bool starting);
/* Make the job of a complete upload; u->done says so. */
int tus_finish(struct api *api, struct store_upload *u, struct err *e);
bool tus_is_complete(const struct store_upload *u);
/* Whether it is to be made a job now. */
bool tus_is_due(const struct store_upload *u);
/* The parameters of a new upload as a text of JSON, judged, so that nothing is sent in
 * vain. The caller frees it. Answers when they are wrong, and returns the code. */
int tus_read_params(struct http_request *r, char **out);

/* ---- and if not at once: tus_keeper.c ---- */

struct tus_keeper;
/* Does tus_finish_all now and every few seconds, because a client that has sent all may
 * never ask again. `api` is borrowed. */
int tus_keeper_start(struct tus_keeper **out, struct api *api, struct err *e);
/* NULL is fine. */
void tus_keeper_stop(struct tus_keeper *k);

/* ---- heads: tus_head.c ---- */

/* What every answer of this door says. */
void tus_standard_headers(struct http_request *r);
/* Whether the request speaks our version; answers 412 otherwise. `required`: it must say
 * so. */
bool tus_check_version(struct http_request *r, bool required);
/* A header that is a number from 0 on: 1, 0 when it is not there, or ERR_INVALID with the
 * answer given. */
int tus_number(struct http_request *r, const char *name, int64_t *out);
/* The pairs of Upload-Metadata, decoded. ERR_INVALID with a sentence. */
int tus_metadata(const char *header, struct http_params *out, struct err *e);
/* Upload-Metadata as it was sent, but for what is secret, which nobody is shown again. */
void tus_metadata_header(struct http_request *r, const char *metadata);
/* The ids in "final;/uploads/a /uploads/b"; how many, or ERR_INVALID with a sentence. */
int tus_parts(const char *header, char (*ids)[ID_SIZE], size_t max, struct err *e);
/* Where an upload stands. */
void tus_state_headers(struct http_request *r, const struct store_upload *u);

/* Upload-Checksum. */
struct tus_checksum {
    enum { TUS_NONE, TUS_SHA1, TUS_SHA256 } kind;
    uint8_t expected[32];
    struct sha1_ctx sha1;
    struct sha256_ctx sha256;
};
/* ERR_INVALID with a sentence for an algorithm or a value that is none. */
int tus_checksum_begin(struct tus_checksum *c, const char *header, struct err *e);
void tus_checksum_add(struct tus_checksum *c, const void *bytes, size_t length);
bool tus_checksum_fits(struct tus_checksum *c);

#endif
