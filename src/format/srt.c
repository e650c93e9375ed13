/* SubRip subtitles: numbered cues, times with a comma. */
#include "format/writers.h"

#include "format/text.h"

static void write_times(struct buf *out, const struct transcript_segment *s)
{
    int64_t start = text_milliseconds(s->start), end = text_milliseconds(s->end);
    text_time(out, start, true, ',');
    buf_str(out, " --> ");
    text_time(out, end > start ? end : start, true, ',');
    buf_char(out, '\n');
}

void srt_write(const struct transcript *t, struct buf *out)
{
    struct buf text;
    buf_init(&text, out->maximum);
    size_t number = 0;
    for (size_t i = 0; i < t->n_segments; i++) {
        buf_reset(&text);
        if (!text_cue(&text, t->segments[i].text, false))
            continue;
        buf_printf(out, "%zu\n", ++number);
        write_times(out, &t->segments[i]);
        buf_add(out, text.data, text.length);
        buf_str(out, "\n\n");
        out->failed |= text.failed;
    }
    buf_release(&text);
}
