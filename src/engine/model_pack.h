/* From tensors of a file to panels of the image, on a few threads. */
#ifndef ENGINE_MODEL_PACK_H
#define ENGINE_MODEL_PACK_H

#include "engine/model_source.h"

/* Fill every slot of the plan, which has been laid out, in `image`, whose bytes are zero
 * there. ERR_CORRUPT names the first tensor that holds an infinity or a NaN. */
int pack_all(const struct model_source *s, uint8_t *image, struct err *e);

#endif
