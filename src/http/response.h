/* What a handler answers. */
#ifndef HTTP_RESPONSE_H
#define HTTP_RESPONSE_H

#include "http/params.h"

#include <jansson.h>
#include <stdint.h>

#define HTTP_BODY_MAX ((size_t)256 << 20) /* of one answer that is composed in memory */

struct http_response;

/* The body of an error, where a door has one of its own: a new reference, NULL when
 * memory is out. `detail` is a whole sentence. It may change *status, and set headers. */
typedef json_t *(*http_error_shape)(struct http_response *r, int *status,
                                    const char *error_code, const char *detail);

struct http_response {
    int status;             /* 0: nothing has been answered yet */
    char error_code[40];    /* of the last http_respond_error; "": none */
    http_error_shape shape; /* of http_respond_error; NULL: the usual one */
    struct http_params headers;
    struct buf body;   /* owned */
    const void *fixed; /* borrowed, lives as long as the program; instead of body */
    size_t fixed_length;
    bool lacking;           /* a header was lost for want of memory */
    int fd;                 /* owned; -1: none: instead of both */
    int64_t offset, length; /* of the file */
};

void http_response_init(struct http_response *r);
void http_response_release(struct http_response *r);

/* Set a header; one of that name is replaced. A value with a line break is a defect of
 * the caller and becomes an empty one. Without the memory for it nothing is answered, and
 * the connection ends: an answer without it may say something else. */
void http_response_header(struct http_response *r, const char *name, const char *value);

/* Each of these replaces whatever answer was there, but keeps the headers. */

/* Takes the reference to `body` over; NULL (out of memory) answers 500. */
void http_respond_json(struct http_response *r, int status, json_t *body);
/* The error body: {"detail","error_code","timestamp"}, or as r->shape has it. */
void http_respond_error(struct http_response *r, int status, const char *error_code,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Takes the bytes of `body` over and leaves it empty; a failed one answers 500. */
void http_respond_bytes(struct http_response *r, int status, const char *content_type,
                        struct buf *body);
/* Borrowed bytes that live as long as the program. */
void http_respond_fixed(struct http_response *r, int status, const char *content_type,
                        const void *bytes, size_t length);

/* `length` bytes of a file from `offset` on, as they are when they are sent: the file
 * must not change. Takes the descriptor over. */
void http_respond_file(struct http_response *r, int status, const char *content_type,
                       int fd, int64_t offset, int64_t length);

/* "Not Found" …; "" when unknown. */
const char *http_reason(int status);

#endif
