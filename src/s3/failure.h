/* What the answer of an S3 server means when it is not the one that was hoped for.
 * Private to s3. */
#ifndef S3_FAILURE_H
#define S3_FAILURE_H

#include "s3/request.h"

/* Whether another try may do better. */
bool s3_is_passing(const struct s3_answer *a);
/* The code and the sentence for an answer that is no 2xx. */
int s3_failure(const struct s3 *s, const struct s3_request *r, const struct s3_answer *a,
               struct err *e);
/* The same for what libcurl says; `reason` is its own text, or "". *passing: another try
 * may do better. */
int s3_broken(const struct s3 *s, CURLcode code, const char *reason, bool *passing,
              struct err *e);

#endif
