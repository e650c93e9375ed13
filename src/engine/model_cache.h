/* Packed weights on disk, beside the model: reading a file and packing it takes seconds
 * for a large model, reading what was packed a few hundredths of one.
 *
 * `DIR/.NAME.packed-8` belongs to the model `DIR/NAME` (`DIR/NAME/.packed-8` to a
 * folder): the image of model_image.h, which is the same for every processor, and behind
 * it what it was made from. It holds while size and time of the model's files stay, and
 * is checked whole by its XXH3 hash. Nobody needs it: where it cannot be written, or is
 * not what it should be, the model is packed as if there were none. */
#ifndef ENGINE_MODEL_CACHE_H
#define ENGINE_MODEL_CACHE_H

#include "engine/whisper.h"

/* The image of the model at `path` as a descriptor that image_attach takes, owned by the
 * caller: the file itself, or a copy of it in a sealed memfd where others than we and
 * root may write to the file. ERR_NOT_FOUND when there is none, or it is stale or
 * damaged. Its inside is for image_attach to check. */
int model_cache_read(const char *path, enum whisper_weights weights, int *fd);

/* Keep an image, all or nothing. Where that is not possible, or would fill the disk,
 * nothing is kept. */
void model_cache_write(const char *path, enum whisper_weights weights, int image_fd);

#endif
