#include "base/json_text.h"

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

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

/* ---- reading ---------------------------------------------------------------------- */

static _Thread_local bool lacked;

static void *allocate(size_t size)
{
    void *p = malloc(size);
    if (!p)
        lacked = true;
    return p;
}

/* Before any thread is there. */
__attribute__((constructor)) static void watch(void)
{
    json_set_alloc_funcs(allocate, free);
}

int json_read(json_t **out, const char *text, size_t length, size_t flags,
              json_error_t *why)
{
    lacked = false;
    *out = json_loadb(text, length, flags, why);
    if (!lacked)
        return *out ? 0 : ERR_INVALID;
    json_decref(*out);
    *out = NULL;
    return ERR_NOMEM;
}
