/* Which language is spoken, and nothing else. */
#ifndef JOB_DETECT_H
#define JOB_DETECT_H

#include "engine/whisper.h"
#include "format/transcript.h"
#include "media/decode.h"

/* The task of a job that only tells the language. */
#define JOB_TASK_DETECT "detect"

/* Write the language of a recording and its probability into `out`; none, when nobody
 * speaks. ERR_UNSUPPORTED for a model that knows only English. */
int detect_into(struct whisper_session *session, const struct pcm *pcm,
                struct transcript *out, struct err *e);

#endif
