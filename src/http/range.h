/* The Range header (RFC 9110, 14): which bytes of an answer are asked for. Pure. */
#ifndef HTTP_RANGE_H
#define HTTP_RANGE_H

#include <stdint.h>

enum http_range {
    HTTP_RANGE_ALL,  /* none, one that is malformed, or several: answer with all */
    HTTP_RANGE_PART, /* [*first, *last] */
    HTTP_RANGE_NONE, /* nothing of it is there: 416 */
};

/* `header` may be NULL. */
enum http_range http_range_parse(const char *header, int64_t length, int64_t *first,
                                 int64_t *last);

#endif
