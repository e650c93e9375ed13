#include "format/json_out.h"

#include "format/text.h"

void json_string_out(struct buf *out, const char *text)
{
    buf_char(out, '"');
    while (*text) {
        uint32_t c = text_next(&text);
        if (c == '"' || c == '\\')
            buf_char(out, '\\');
        if (c == '\n')
            buf_str(out, "\\n");
        else if (c == '\t')
            buf_str(out, "\\t");
        else if (c < 0x20 || c == 0x7F)
            buf_printf(out, "\\u%04x", (unsigned)c);
        else
            text_put(out, c);
    }
    buf_char(out, '"');
}

void json_text_member(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, "\"%s\": ", key);
    json_string_out(out, text);
}

void json_more_float(struct buf *out, const char *key, float value)
{
    buf_printf(out, ", \"%s\": ", key);
    text_float(out, value);
}

void json_more_double(struct buf *out, const char *key, double value)
{
    buf_printf(out, ", \"%s\": ", key);
    text_double(out, value);
}

void json_more_text(struct buf *out, const char *key, const char *text)
{
    buf_str(out, ", ");
    json_text_member(out, key, text);
}
