/* Tab-separated values: start and end in whole milliseconds, and the text. */
#include "format/writers.h"

#include "format/text.h"

void tsv_write(const struct transcript *t, const struct cue_options *o, struct buf *out)
{
    (void)o;
    struct buf text;
    buf_init(&text, out->maximum);
    buf_str(out, "start\tend\ttext\n");
    for (size_t i = 0; i < t->n_segments; i++) {
        const struct transcript_segment *s = &t->segments[i];
        buf_reset(&text);
        if (!text_flat(&text, s->text))
            continue;
        buf_printf(out, "%lld\t%lld\t", (long long)text_milliseconds(s->start),
                   (long long)text_milliseconds(s->end));
        buf_add(out, text.data, text.length);
        buf_char(out, '\n');
        out->failed |= text.failed;
    }
    buf_release(&text);
}
