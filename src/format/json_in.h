/* Pieces of JSON, read strictly: ERR_CORRUPT names the key. Private to this layer. */
#ifndef FORMAT_JSON_IN_H
#define FORMAT_JSON_IN_H

#include "base/err.h"
#include "format/quality.h"

#include <jansson.h>
#include <stdint.h>

int json_wrong(struct err *e, const char *key, const char *what);
/* Into a buffer of `size` bytes. */
int json_get_text(const json_t *object, const char *key, char *out, size_t size,
                  struct err *e);
/* A copy, of at most 64 KiB. */
int json_get_long_text(const json_t *object, const char *key, char **out, struct err *e);
/* null stands for `null_is`. */
int json_get_float(const json_t *object, const char *key, float null_is, float *out,
                   struct err *e);
int json_get_seconds(const json_t *object, const char *key, double *out, struct err *e);
int json_get_integer(const json_t *object, const char *key, int64_t max, int64_t *out,
                     struct err *e);

/* The "quality" object into `q`, which the caller releases in every case. */
int json_get_quality(const json_t *object, struct quality *q, struct err *e);

#endif
