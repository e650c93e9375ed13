/* File names in headers, both ways: an input is a name and a header, a line each.
 *
 * A name that is sent out reads back as the same from what modern clients read; a name
 * that came in is fit for showing, and making it fit twice changes nothing. */
#include "fuzz.h"

#include "http/disposition.h"
#include "http/params.h"

static void outwards(const char *name)
{
    struct buf header, back;
    size_t length = strlen(name);
    if (!http_utf8_valid(name, length))
        return;
    buf_init(&header, 8 * length + 128);
    buf_init(&back, 2 * length + 64);
    http_disposition_attachment(&header, name);
    HOLDS(!buf_failed(&header) && !strpbrk(buf_cstr(&header), "\r\n"));
    bool found = http_disposition_param(buf_cstr(&header), "filename*", &back);
    HOLDS(found && !strcmp(buf_cstr(&back), name));
    buf_reset(&back);
    HOLDS(http_disposition_param(buf_cstr(&header), "filename", &back));
    HOLDS(!strpbrk(buf_cstr(&back), "/\\\r\n\""));
    buf_release(&header);
    buf_release(&back);
}

static void inwards(const char *name)
{
    struct buf once, twice;
    buf_init(&once, 1024);
    buf_init(&twice, 1024);
    http_display_name(&once, name);
    HOLDS(!buf_failed(&once) && once.length <= 255);
    HOLDS(http_utf8_valid(buf_cstr(&once), once.length));
    for (const char *p = buf_cstr(&once); *p; p++)
        HOLDS((unsigned char)*p >= 0x20 && *p != 0x7F && *p != '/' && *p != '\\');
    http_display_name(&twice, buf_cstr(&once));
    HOLDS(!strcmp(buf_cstr(&once), buf_cstr(&twice)));
    buf_release(&once);
    buf_release(&twice);
}

static void parameter(const char *header, const char *param)
{
    struct buf value;
    buf_init(&value, strlen(header) + 1);
    if (http_disposition_param(header, param, &value))
        HOLDS(!buf_failed(&value));
    buf_release(&value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *rest = text;
    const char *name = fuzz_line(&rest);
    outwards(name);
    inwards(name);
    parameter(rest, "name");
    parameter(rest, "filename");
    parameter(rest, "filename*");
    parameter(rest, "boundary");
    free(text);
    return 0;
}
