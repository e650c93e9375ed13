/* SubRip subtitles: numbered cues, times with a comma. */
#include "format/writers.h"

#include "format/subtitles.h"

void srt_write(const struct transcript *t, const struct cue_options *o, struct buf *out)
{
    static const struct subtitle_style style = {
        .head = "", .numbered = true, .hours = true, .decimal_marker = ','};
    subtitles_write(t, o, &style, out);
}
