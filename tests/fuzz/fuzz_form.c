/* A form with files, from its Content-Type to its end: an input is that header, a line,
 * and the body. The first byte is the size of the pieces that the network makes of it.
 *
 * What the handler is told does not depend on the pieces, keeps to the limits, and a
 * refusal is answered; `done` comes once, whatever happened. */
#include "fuzz.h"

#include "http/form.h"
#include "http/head.h"

#define FILE_MAX 4096

struct told {
    struct buf all;
    int begun, ended, done;
    size_t bytes;
};

static int64_t max_file_bytes(struct http_request *r)
{
    (void)r;
    return FILE_MAX;
}

static int begin(struct http_request *r)
{
    (void)r;
    return 0;
}

static int on_field(struct http_request *r, const char *name, const char *value)
{
    struct told *t = r->state;
    HOLDS(http_utf8_valid(value, strlen(value)));
    buf_printf(&t->all, "[%s=%s]", name, value);
    return 0;
}

static int on_file(struct http_request *r, const char *filename)
{
    struct told *t = r->state;
    HOLDS(t->begun == t->ended && t->begun < 2);
    HOLDS(strlen(filename) <= 255 && !strpbrk(filename, "/\\\r\n"));
    t->begun++;
    buf_printf(&t->all, "{%s:", filename);
    return 0;
}

static int on_bytes(struct http_request *r, const void *bytes, size_t length)
{
    struct told *t = r->state;
    t->bytes += length;
    HOLDS(t->begun == t->ended + 1 && t->bytes <= FILE_MAX);
    buf_add(&t->all, bytes, length);
    return 0;
}

static int on_end(struct http_request *r)
{
    struct told *t = r->state;
    t->ended++;
    buf_char(&t->all, '}');
    return 0;
}

static void on_done(struct http_request *r)
{
    struct told *t = r->state;
    t->done++;
}

static const struct http_form_handler handler = {
    "file", 2, max_file_bytes, begin, on_field, on_file, on_bytes, on_end, on_done};

static int parse(const char *type, const uint8_t *body, size_t length, size_t piece,
                 struct told *told)
{
    struct http_head *head = calloc(1, sizeof *head + sizeof *head->list);
    HOLDS(head);
    head->count = 1;
    head->list[0] = (struct http_field){"Content-Type", type};
    struct http_request r = {.method = "POST", .head = head, .state = told};
    struct http_form *f = NULL;
    http_response_init(&r.response);
    int status = http_form_new(&f, &r, &handler);
    for (size_t at = 0; !status && at < length; at += piece)
        status = http_form_feed(f, body + at, length - at < piece ? length - at : piece);
    if (!status)
        status = http_form_finish(f);
    http_form_free(f);
    HOLDS(!status == !r.response.status && told->done == (f != NULL));
    HOLDS(status || told->begun == told->ended);
    http_response_release(&r.response);
    free(head);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct told whole = {0}, pieces = {0};
    char *text = fuzz_text(data + 1, size - 1), *rest = text;
    const char *type = fuzz_line(&rest);
    const uint8_t *body = data + 1 + (rest - text);
    size_t length = size - 1 - (size_t)(rest - text);
    buf_init(&whole.all, (size_t)1 << 24);
    buf_init(&pieces.all, (size_t)1 << 24);
    int a = parse(type, body, length, length + 1, &whole);
    int b = parse(type, body, length, (size_t)data[0] + 1, &pieces);
    HOLDS(a == b);
    /* Of a body that is refused, the piece in which the reason stands may be lost. */
    if (!a)
        HOLDS(whole.all.length == pieces.all.length &&
              !memcmp(buf_cstr(&whole.all), buf_cstr(&pieces.all), whole.all.length));
    buf_release(&whole.all);
    buf_release(&pieces.all);
    free(text);
    return 0;
}
