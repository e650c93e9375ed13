/* The packed image of a model: one position-independent block, in a sealed memfd or at
 * the beginning of a file (model_cache.h).
 *
 *     header | type of every slot | token offsets | token bytes | mel filters | slots
 *
 * each on a boundary of 64 bytes. Where a slot lies follows from the dimensions and the
 * types (model_plan.h), so the image holds no offset that could be wrong. */
#ifndef ENGINE_MODEL_IMAGE_H
#define ENGINE_MODEL_IMAGE_H

#include "engine/model_source.h"

#include <sys/stat.h>

/* Of the layout, and of how weights are packed: an image of another one is not ours. */
#define IMAGE_VERSION 3

/* An empty memfd for an image, and the seals that end every change to one. */
int image_memory(struct err *e);
int image_seal(int fd, struct err *e);

/* Pack a complete source. *fd is a memfd sealed against every change, owned by the
 * caller. ERR_CORRUPT names a tensor that holds an infinity or a NaN. */
int image_build(struct model_source *s, enum whisper_weights weights, int *fd,
                struct err *e);

/* Whether nobody but us and root can change a file: only then is it safe to map. */
bool image_file_is_ours(const struct stat *st);

/* Map an image that nobody can change, check it whole, and fill *m (zeroed by the
 * caller), which owns the mapping and the layers; `fd` is not kept, m->image_fd is a
 * duplicate. */
int image_attach(struct whisper_model *m, int fd, struct err *e);

#endif
