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
    char *const *report; /* [n_report]: transcripts without segments, the last one with
                            the report's figures */
    size_t n_report;
};

/* The finished transcript. */
struct checkpoint_texts {
    struct buf json, text;
    struct buf quality; /* the report alone; empty when there is none */
};
void checkpoint_texts_init(struct checkpoint_texts *t);
void checkpoint_texts_release(struct checkpoint_texts *t);

int checkpoint_finish(const struct store_resume *r, const struct checkpoint_facts *facts,
                      struct checkpoint_texts *out, struct err *e);

#endif
