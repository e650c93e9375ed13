#include "http/form.h"

#include "http/disposition.h"
#include "http/multipart.h"

struct http_form {
    struct http_request *request;            /* borrowed */
    const struct http_form_handler *handler; /* borrowed */
    struct multipart *parser;                /* owned */
    bool in_file;
    int files; /* begun so far */
    int64_t file_bytes, file_max;
    char name[64]; /* of the field that is being read */
    struct buf value;
    size_t all_fields; /* bytes of all fields so far */
};

static int begin_file(struct http_form *f, const struct multipart_part *part,
                      struct err *e)
{
    int most = f->handler->max_files > 0 ? f->handler->max_files : 1;
    if (f->files >= most) {
        http_respond_error(&f->request->response, 400, "invalid",
                           "the form has too many files; send at most %d per request",
                           most);
        return ERR_INVALID;
    }
    f->files++;
    f->in_file = true;
    struct buf name;
    buf_init(&name, 1024);
    http_display_name(&name, part->filename ? part->filename : "");
    int status = buf_starved(&name) ? err_set(e, ERR_NOMEM, "out of memory")
                                    : f->handler->file_begin(f->request, buf_cstr(&name));
    buf_release(&name);
    return status;
}

static int on_begin(void *arg, const struct multipart_part *part, struct err *e)
{
    struct http_form *f = arg;
    if (!strcmp(part->name, f->handler->file_field))
        return begin_file(f, part, e);
    if (part->filename) {
        http_respond_error(&f->request->response, 400, "invalid",
                           "the form has a file in the part \"%.60s\"; the recording "
                           "belongs in the part \"%s\"",
                           part->name, f->handler->file_field);
        return ERR_INVALID;
    }
    f->in_file = false;
    buf_reset(&f->value);
    (void)snprintf(f->name, sizeof f->name, "%s", part->name);
    return 0;
}

static int on_data(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct http_form *f = arg;
    if (!f->in_file) {
        f->all_fields += length;
        buf_add(&f->value, bytes, length);
        if (!buf_failed(&f->value) && f->all_fields <= HTTP_FIELDS_MAX)
            return 0;
        if (buf_starved(&f->value))
            return err_set(e, ERR_NOMEM, "out of memory");
        http_respond_error(&f->request->response, 413, "too_large",
                           "the form field \"%s\" is too long: at most %zu KiB", f->name,
                           HTTP_FIELD_MAX >> 10);
        return ERR_TOO_LARGE;
    }
    if ((int64_t)length > f->file_max - f->file_bytes) {
        http_respond_error(&f->request->response, 413, "too_large",
                           "the %s larger than %lld MB, the most that this server "
                           "takes",
                           f->files > 1 ? "files are together" : "file is",
                           (long long)(f->file_max >> 20));
        return ERR_TOO_LARGE;
    }
    f->file_bytes += (int64_t)length;
    return f->handler->file_data(f->request, bytes, length);
}

static int on_end(void *arg, struct err *e)
{
    (void)e;
    struct http_form *f = arg;
    if (f->in_file) {
        f->in_file = false;
        return f->handler->file_end(f->request);
    }
    const char *value = buf_cstr(&f->value);
    if (!http_utf8_valid(value, f->value.length)) {
        http_respond_error(&f->request->response, 400, "invalid",
                           "the form field \"%s\" is not UTF-8 text", f->name);
        return ERR_INVALID;
    }
    return f->handler->field(f->request, f->name, value);
}

/* What the parser itself refuses has no answer yet. */
static int answer(struct http_form *f, int status, const struct err *e)
{
    if (status && !f->request->response.status)
        http_respond_error(&f->request->response,
                           status == ERR_UNSUPPORTED ? 415
                           : status == ERR_TOO_LARGE ? 413
                           : status == ERR_NOMEM     ? 500
                                                     : 400,
                           err_name(status), "%s", e->message);
    return status;
}

int http_form_new(struct http_form **out, struct http_request *r,
                  const struct http_form_handler *handler)
{
    struct err e = {0};
    struct http_form *f = calloc(1, sizeof *f);
    if (!f) {
        http_respond_error(&r->response, 500, "out_of_memory", "out of memory");
        return ERR_NOMEM;
    }
    f->request = r;
    f->handler = handler;
    f->file_max = handler->max_file_bytes(r);
    buf_init(&f->value, HTTP_FIELD_MAX);
    const struct multipart_callbacks callbacks = {f, on_begin, on_data, on_end};
    int status =
        multipart_new(&f->parser, http_request_header(r, "Content-Type"), &callbacks, &e);
    answer(f, status, &e);
    if (!status)
        status = handler->begin(r);
    *out = f; /* also on error: `done` must run */
    return status;
}

int http_form_feed(struct http_form *f, const void *bytes, size_t length)
{
    struct err e = {0};
    return answer(f, multipart_feed(f->parser, bytes, length, &e), &e);
}

int http_form_finish(struct http_form *f)
{
    struct err e = {0};
    return answer(f, multipart_finish(f->parser, &e), &e);
}

void http_form_free(struct http_form *f)
{
    if (!f)
        return;
    f->handler->done(f->request);
    multipart_free(f->parser);
    buf_release(&f->value);
    free(f);
}
