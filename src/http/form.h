/* A form with a file in it, or several: fields are collected, files stream through. */
#ifndef HTTP_FORM_H
#define HTTP_FORM_H

#include "http/request.h"

#define HTTP_FIELD_MAX  ((size_t)64 << 10)  /* bytes of one field that is no file */
#define HTTP_FIELDS_MAX ((size_t)256 << 10) /* bytes of all of them */

/* The callbacks of a route that takes a form, in this order: begin, then field and file
 * in whatever order the client sent them, then the route's handler if all went well, and
 * in every case done. A callback that refuses answers in r->response and returns a
 * negative code; the rest of the body is then not read. */
struct http_form_handler {
    const char *file_field; /* name of the part that is the file */
    int max_files;          /* parts of that name; 0: one */
    /* Most bytes of the file itself, or of all files together. */
    int64_t (*max_file_bytes)(struct http_request *r);
    /* The head is here, the body is not: r->query can be judged. */
    int (*begin)(struct http_request *r);
    int (*field)(struct http_request *r, const char *name, const char *value);
    /* `filename` is fit for display, never for a path; "" when the client gave none. */
    int (*file_begin)(struct http_request *r, const char *filename);
    int (*file_data)(struct http_request *r, const void *bytes, size_t length);
    int (*file_end)(struct http_request *r);
    /* Release r->state; the request may have been broken off anywhere. */
    void (*done)(struct http_request *r);
};

/* The callbacks of a route whose body is taken as it comes, whatever it is: begin, then
 * data until the end, then the route's handler if all went well, and in every case done.
 * They refuse as those of a form do. */
struct http_body_handler {
    int64_t (*max_bytes)(struct http_request *r); /* a longer body is 413 */
    int (*begin)(struct http_request *r);
    int (*data)(struct http_request *r, const void *bytes, size_t length);
    /* Release r->state. */
    void (*done)(struct http_request *r);
};

struct http_form;

/* Answers in r->response and returns a negative code when the request has no form. */
int http_form_new(struct http_form **out, struct http_request *r,
                  const struct http_form_handler *handler);
int http_form_feed(struct http_form *f, const void *bytes, size_t length);
int http_form_finish(struct http_form *f);
void http_form_free(struct http_form *f);

#endif
