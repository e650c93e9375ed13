/* What may be said of a job besides how it is transcribed: where its recording is, and
 * whom to tell when it has ended. */
#ifndef API_EXTRAS_H
#define API_EXTRAS_H

#include "api/options.h"
#include "http/request.h"
#include "job/jobs.h"

/* Strings are owned; NULL: not said. */
struct api_extras {
    char *url;
    char *webhook_url, *webhook_secret;
    bool webhook_transcript;
    struct job_webhook webhook; /* refers to the above */
};
void api_extras_release(struct api_extras *x);

/* Take one field; an empty value and an unknown name change nothing. ERR_INVALID when the
 * value is not of its type. */
int api_extras_set(struct api_extras *x, const char *name, const char *value,
                   struct err *e);
int api_extras_set_all(struct api_extras *x, const struct http_params *p, struct err *e);

/* NULL: nobody is to be told. Borrowed. */
const struct job_webhook *api_extras_webhook(struct api_extras *x);

/* Put "webhook" into the JSON of a job that has one: how far it is, never its secret. */
void api_add_webhook(struct jobs *jobs, const char *job_id, json_t *job);
/* Put "hold" into the JSON of a job that is on hold; why, only for admins. */
void api_add_hold(struct http_request *r, const char *job_id, json_t *job);

#endif
