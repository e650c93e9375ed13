#include "base/json_text.h"

#include "base/buf.h"

#include <stdint.h>

static int add(const char *bytes, size_t length, void *to)
{
    buf_add(to, bytes, length);
    return buf_failed(to) ? -1 : 0;
}

char *json_text(const json_t *value, size_t flags)
{
    struct buf b;
    buf_init(&b, SIZE_MAX / 2);
    char *text =
        value && !json_dump_callback(value, add, &b, flags) ? buf_take(&b) : NULL;
    buf_release(&b);
    return text;
}
