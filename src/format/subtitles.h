/* Cues as a file of subtitles. Private to this layer. */
#ifndef FORMAT_SUBTITLES_H
#define FORMAT_SUBTITLES_H

#include "base/buf.h"
#include "format/cues.h"

/* What one format has and another not. */
struct subtitle_style {
    const char *head;    /* before the first cue */
    bool numbered;       /* cues have numbers */
    bool hours;          /* times always have hours */
    bool escaped;        /* & and < in the text are written as entities */
    char decimal_marker; /* of the times */
};

void subtitles_write(const struct transcript *t, const struct cue_options *o,
                     const struct subtitle_style *style, struct buf *out);

#endif
