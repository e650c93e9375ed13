/* Webhooks: whoever asked to be told of a job's end is told, for up to a day.
 *
 * The notices are rows that the end of a job itself wrote; here they are delivered, as
 * the Standard Webhooks scheme has it: an id that stays the same over all attempts, the
 * time, and a signature over both and the body. */
#ifndef JOB_WEBHOOKS_H
#define JOB_WEBHOOKS_H

#include "job/jobs.h"

#define WEBHOOK_SECRET_MIN 8
#define WEBHOOK_SECRET_MAX 256

struct webhooks;

int webhooks_new(struct webhooks **out, struct jobs *s, struct err *e);
/* Begin to deliver. Once. */
int webhooks_start(struct webhooks *w, jobs_present_fn present, struct err *e);
/* Breaks off what is being sent: it is sent again at the next start. NULL is fine. */
void webhooks_close(struct webhooks *w);
/* A job has ended. From any thread; NULL is fine. */
void webhooks_wake(struct webhooks *w);

/* Base64 of 32 bytes, with its NUL. */
#define WEBHOOK_SIGNATURE_SIZE 45
/* HMAC-SHA256 over "id.timestamp.body". A secret "whsec_…" stands for the bytes behind it
 * in base64, any other for itself. */
void webhook_sign(const char *secret, const char *id, int64_t timestamp_seconds,
                  const char *body, size_t length, char out[WEBHOOK_SIGNATURE_SIZE]);

/* Milliseconds until the next attempt after `attempts` ones: longer each time, between
 * half and one and a half of a schedule, so that those who failed together do not come
 * back together. `random` is any number. */
int64_t webhook_pause_ms(int attempts, uint32_t random);

#endif
