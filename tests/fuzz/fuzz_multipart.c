/* A form must come out the same wherever the network cut it.
 *
 * The first byte of the input is the size of the pieces; the rest is a body. It is parsed
 * whole and in pieces, and what the parser tells must be equal. */
#include "base/buf.h"
#include "http/multipart.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_begin(void *arg, const struct multipart_part *part, struct err *e)
{
    (void)e;
    buf_printf(arg, "[%s|%s|%s]", part->name, part->filename ? part->filename : "-",
               part->content_type);
    return 0;
}

static int on_data(void *arg, const void *bytes, size_t length, struct err *e)
{
    (void)e;
    buf_add(arg, bytes, length);
    return 0;
}

static int on_end(void *arg, struct err *e)
{
    (void)e;
    buf_char(arg, ';');
    return 0;
}

static int parse(const uint8_t *body, size_t length, size_t piece, struct buf *told)
{
    const struct multipart_callbacks callbacks = {told, on_begin, on_data, on_end};
    struct multipart *m = NULL;
    struct err e;
    int status = multipart_new(&m, "multipart/form-data; boundary=X", &callbacks, &e);
    for (size_t at = 0; !status && at < length; at += piece)
        status =
            multipart_feed(m, body + at, length - at < piece ? length - at : piece, &e);
    if (!status)
        status = multipart_finish(m, &e);
    multipart_free(m);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct buf whole, pieces;
    buf_init(&whole, (size_t)1 << 24);
    buf_init(&pieces, (size_t)1 << 24);
    int a = parse(data + 1, size - 1, size, &whole);
    int b = parse(data + 1, size - 1, (size_t)data[0] + 1, &pieces);
    if (a != b || whole.length != pieces.length ||
        memcmp(buf_cstr(&whole), buf_cstr(&pieces), whole.length) != 0)
        abort();
    buf_release(&whole);
    buf_release(&pieces);
    return 0;
}
