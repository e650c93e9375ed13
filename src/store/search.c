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

int search_expression(const char *text, char **out, struct err *e)
{
    struct buf b;
    int words = 0;
    buf_init(&b, 3 * MAX_BYTES);
    bool fits = strlen(text) <= MAX_BYTES;
    text += strspn(text, " \t\r\n");
    while (fits && *text && words < MAX_WORDS) {
        const char *from;
        size_t length;
        text = next_part(text, &from, &length);
        bool begins = *text == '*' || (length > 1 && from[length - 1] == '*');
        if (b.length)
            buf_char(&b, ' ');
        put_text(&b, from, length);
        if (begins)
            buf_str(&b, " *");
        text += strspn(text, "* \t\r\n");
        words++;
    }
    fits = fits && !*text;
    if (fits && !b.length)
        buf_str(&b, "\"\"");
    *out = fits ? buf_take(&b) : NULL;
    buf_release(&b);
    if (!fits)
        return err_set(e, ERR_INVALID,
                       "the text to search for is too long: at most %d words", MAX_WORDS);
    return *out ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}
