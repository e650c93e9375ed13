/* WebVTT subtitles (W3C WebVTT): times with a point, hours only where there are some. */
#include "format/writers.h"

#include "format/subtitles.h"

void vtt_write(const struct transcript *t, const struct cue_options *o, struct buf *out)
{
    static const struct subtitle_style style = {
        .head = "WEBVTT\n\n", .escaped = true, .decimal_marker = '.'};
    subtitles_write(t, o, &style, out);
}
