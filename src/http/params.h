/* Names and values from outside: percent-encoding, query strings, UTF-8. */
#ifndef HTTP_PARAMS_H
#define HTTP_PARAMS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define HTTP_PARAMS_MAX 100 /* more pairs in one query or form are refused */

struct http_param {
    char *name, *value; /* owned */
};

/* Pairs in the order they came; names may repeat. All zero is empty. */
struct http_params {
    struct http_param *list; /* owned [count] */
    size_t count, capacity;
};
void http_params_release(struct http_params *p);

/* Append copies. ERR_TOO_LARGE beyond HTTP_PARAMS_MAX, ERR_NOMEM. */
int http_params_add(struct http_params *p, const char *name, const char *value);
/* The first value of that name, borrowed; NULL when there is none. */
const char *http_params_get(const struct http_params *p, const char *name);

/* Decode %XX, and '+' as a space when asked, into out[length + 1], which is ended with a
 * NUL. ERR_INVALID for a broken escape, a NUL, or bytes that are not UTF-8. */
int http_percent_decode(const char *in, size_t length, bool plus_is_space, char *out);

/* Append the pairs of "a=1&b=two+words". ERR_INVALID or ERR_TOO_LARGE with a sentence. */
int http_query_parse(struct http_params *out, const char *query, struct err *e);

/* Whether the bytes are well-formed UTF-8 (RFC 3629) without NUL. */
bool http_utf8_valid(const char *bytes, size_t length);
/* Append the bytes with everything that is not UTF-8 replaced by U+FFFD. */
void http_utf8_repair(struct buf *out, const char *bytes, size_t length);

#endif
