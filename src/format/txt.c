/* Plain text: one segment a line. */
#include "format/writers.h"

#include "format/text.h"

void txt_write(const struct transcript *t, const struct cue_options *o, struct buf *out)
{
    (void)o;
    for (size_t i = 0; i < t->n_segments; i++)
        if (text_flat(out, t->segments[i].text))
            buf_char(out, '\n');
}
