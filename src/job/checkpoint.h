/* Windows that were stored one by one, put together again. */
#ifndef JOB_CHECKPOINT_H
#define JOB_CHECKPOINT_H

#include "base/buf.h"
#include "base/err.h"
#include "store/store.h"

/* The segments so far as the JSON of one transcript, in an unlinked memory file for a
 * worker. Returns a descriptor. ERR_CORRUPT for windows that cannot be read. */
int checkpoint_file(const struct store_resume *r, struct err *e);

/* Borrowed strings. */
struct checkpoint_facts {
    const char *task, *model, *language, *warning;
    double probability, seconds;
};

void checkpoint_buffers(struct buf *json, struct buf *text);
/* The finished transcript, as JSON and as text. */
int checkpoint_finish(const struct store_resume *r, const struct checkpoint_facts *facts,
                      struct buf *json, struct buf *text, struct err *e);

#endif
