/* One writer per format; cue options concern subtitles alone. Each appends the whole file
 * to `out`; what goes wrong shows in buf_failed(out). */
#ifndef FORMAT_WRITERS_H
#define FORMAT_WRITERS_H

#include "format/cues.h"

void txt_write(const struct transcript *t, const struct cue_options *o, struct buf *out);
void srt_write(const struct transcript *t, const struct cue_options *o, struct buf *out);
void vtt_write(const struct transcript *t, const struct cue_options *o, struct buf *out);
void tsv_write(const struct transcript *t, const struct cue_options *o, struct buf *out);
void json_write(const struct transcript *t, const struct cue_options *o, struct buf *out);

#endif
