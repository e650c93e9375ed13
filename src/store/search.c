#include "store/search.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#define MAX_BYTES 4096
#define MAX_WORDS 64

/* Within quotes the index takes everything for text; a quote is written twice there. */
static void put_text(struct buf *b, const char *text, size_t length)
{
    buf_char(b, '"');
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"')
            buf_char(b, '"');
        buf_char(b, text[i]);
    }
    buf_char(b, '"');
}

/* Where the word or phrase at `text` ends; *from and *length are what it says. */
static const char *next_part(const char *text, const char **from, size_t *length)
{
    const char *closing = *text == '"' ? strchr(text + 1, '"') : NULL;
    if (closing) {
        *from = text + 1;
        *length = (size_t)(closing - *from);
        return closing + 1;
    }
    *from = text;
    *length = strcspn(text, " \t\r\n");
    return text + *length;
}

bool search_next(const char **at, struct search_part *out)
{
    const char *text = *at + strspn(*at, " \t\r\n");
    if (!*text)
        return false;
    text = next_part(text, &out->text, &out->length);
    out->begins = *text == '*' || (out->length > 1 && out->text[out->length - 1] == '*');
    *at = text + strspn(text, "* \t\r\n");
    return true;
}

int search_check(const char *text, struct err *e)
{
    struct search_part part;
    const char *at = text;
    int words = 0;
    bool fits = strlen(text) <= MAX_BYTES;
    while (fits && search_next(&at, &part))
        fits = ++words <= MAX_WORDS;
    return fits ? 0
                : err_set(e, ERR_INVALID,
                          "the text to search for is too long: at most %d words",
                          MAX_WORDS);
}

int search_expression(const char *text, char **out, struct err *e)
{
    struct search_part part;
    struct buf b;
    *out = NULL;
    int status = search_check(text, e);
    if (status)
        return status;
    buf_init(&b, 3 * MAX_BYTES);
    while (search_next(&text, &part)) {
        if (b.length)
            buf_char(&b, ' ');
        put_text(&b, part.text, part.length);
        if (part.begins)
            buf_str(&b, " *");
    }
    if (!b.length)
        buf_str(&b, "\"\"");
    *out = buf_take(&b);
    buf_release(&b);
    return *out ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}
