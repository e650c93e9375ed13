/* WebVTT subtitles (W3C WebVTT): times with a point, hours only where there are some. */
#include "format/writers.h"

#include "format/subtitles.h"

void vtt_write(const struct transcript *t, const struct cue_options *o, struct buf *out)
{
    const struct subtitle_style style = {.head = "WEBVTT\n\n",
                                         .hours = o->always_hours,
                                         .escaped = true,
                                         .decimal_marker = '.'};
    subtitles_write(t, o, &style, out);
}
