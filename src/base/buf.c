#include "base/buf.h"

#include <stdarg.h>

void buf_init(struct buf *b, size_t maximum)
{
    *b = (struct buf){.maximum = maximum};
}

void buf_release(struct buf *b)
{
    if (!b)
        return;
    free(b->data);
    *b = (struct buf){.maximum = b->maximum};
}

void buf_reset(struct buf *b)
{
    b->length = 0;
    b->failed = b->starved = false;
    if (b->data)
        b->data[0] = '\0';
}

/* Room for `more` bytes and the NUL behind them. */
static bool reserve(struct buf *b, size_t more)
{
    if (b->failed)
        return false;
    if (more > b->maximum || b->length > b->maximum - more) {
        b->failed = true;
        return false;
    }
    size_t wanted = b->length + more + 1;
    if (wanted <= b->capacity)
        return true;
    size_t grown = b->capacity + b->capacity / 2 + 64;
    if (grown < wanted)
        grown = wanted;
    char *data = realloc(b->data, grown);
    if (!data) {
        b->failed = b->starved = true;
        return false;
    }
    b->data = data;
    b->capacity = grown;
    return true;
}

void buf_add(struct buf *b, const void *bytes, size_t length)
{
    if (!reserve(b, length))
        return;
    if (length)
        memcpy(b->data + b->length, bytes, length);
    b->length += length;
    b->data[b->length] = '\0';
}

void buf_str(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        b->failed = true;
    else if (reserve(b, (size_t)length)) {
        (void)vsnprintf(b->data + b->length, (size_t)length + 1, format, again);
        b->length += (size_t)length;
    }
    va_end(again);
}

bool buf_failed(const struct buf *b)
{
    return b->failed;
}

bool buf_starved(const struct buf *b)
{
    return b->starved;
}

const char *buf_cstr(const struct buf *b)
{
    return b->data ? b->data : "";
}

char *buf_take(struct buf *b)
{
    if (b->failed)
        return NULL;
    if (!reserve(b, 0))
        return NULL;
    b->data[b->length] = '\0';
    char *data = b->data;
    *b = (struct buf){.maximum = b->maximum};
    return data;
}
