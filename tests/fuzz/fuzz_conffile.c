/* The settings file.
 *
 * What was accepted can be written again, each value in single or double quotes, and
 * reads as the same. What was refused left nothing behind, and says the line. */
#include "fuzz.h"

#include "base/buf.h"
#include "base/config_file.h"

/* As a careful person would write it. */
static void write_line(struct buf *out, const struct config_line *l)
{
    buf_printf(out, "%s=\"", l->name);
    for (const char *p = l->value; *p; p++) {
        if (strchr("\"\\$`", *p))
            buf_char(out, '\\');
        buf_char(out, *p);
    }
    buf_str(out, "\"\n");
}

static void reads_the_same(const struct config_file *f)
{
    struct config_file again;
    struct buf text;
    buf_init(&text, 4 * CONFIG_FILE_MAX);
    for (size_t i = 0; i < f->count; i++)
        write_line(&text, &f->lines[i]);
    HOLDS(!config_file_parse(&again, buf_cstr(&text), text.length, NULL));
    HOLDS(again.count == f->count);
    for (size_t i = 0; i < f->count; i++) {
        HOLDS(!strcmp(again.lines[i].name, f->lines[i].name));
        HOLDS(!strcmp(again.lines[i].value, f->lines[i].value));
        HOLDS(config_file_find(f, f->lines[i].name) == &f->lines[i]);
        HOLDS(!strpbrk(f->lines[i].value, "\n"));
    }
    config_file_release(&again);
    buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_file f;
    struct err e = {0};
    if (config_file_parse(&f, (const char *)data, size, &e)) {
        HOLDS(!f.lines && !f.count && strstr(e.message, "line "));
        return 0;
    }
    reads_the_same(&f);
    config_file_release(&f);
    return 0;
}
