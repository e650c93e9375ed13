/* JSON files of a model's folder. */
#ifndef ENGINE_HF_JSON_H
#define ENGINE_HF_JSON_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* "folder/name" in *out, owned by the caller. ERR_NOMEM. */
int hf_path(char **out, const char *folder, const char *name, struct err *e);

/* Whether folder/name can be looked at. */
bool hf_exists(const char *folder, const char *name);

/* Parse text that must be an object without duplicate keys, nested at most as deep as
 * jansson allows (2048). `what` stands in the message. */
int hf_parse(json_t **out, const void *text, size_t length, const char *what,
             struct err *e);

/* Read and parse folder/name, of at most `maximum` bytes. *out is owned by the caller. */
int hf_read_json(json_t **out, const char *folder, const char *name, size_t maximum,
                 struct err *e);

#define HF_SHOWN_SIZE 81
/* A name from a file as a message may show it: the first 80 characters, those that are
 * not visible ASCII as '?'; "" for NULL. Returns `out`. */
const char *hf_shown(const char *text, char out[HF_SHOWN_SIZE]);

#endif
