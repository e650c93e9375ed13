/* How loud the recordings are along their time: bytes that the store only keeps. They go
 * with their job. */
#ifndef STORE_WAVEFORM_H
#define STORE_WAVEFORM_H

#include "store/store.h"

struct store_waveform_ops {
    int (*save)(struct store *s, const char *id, int attempt, const void *bytes,
                size_t length, struct err *e);
    int (*load)(struct store *s, const char *id, struct buf *out, struct err *e);
};

/* Fenced like all that takes an attempt; one that is there is replaced. */
static inline int store_waveform_save(struct store *s, const char *id, int attempt,
                                      const void *bytes, size_t length, struct err *e)
{
    return s->ops->waveform->save(s, id, attempt, bytes, length, e);
}

/* Append it. ERR_NOT_FOUND when the job has none, or is none. */
static inline int store_waveform_load(struct store *s, const char *id, struct buf *out,
                                      struct err *e)
{
    return s->ops->waveform->load(s, id, out, e);
}

#endif
