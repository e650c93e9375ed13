/* What the service says of itself to a client that asks: its models and languages. */
#ifndef WYOMING_INFO_H
#define WYOMING_INFO_H

#include "base/config.h"

#include <jansson.h>

/* The name by which clients know the program. */
#define WYOMING_PROGRAM "Whisper Transcriber"

/* The data of an `info` event: the models that are here, the default one first. NULL when
 * memory is out. */
json_t *wyoming_info(const struct config *c);

#endif
