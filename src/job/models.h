/* Packed models, each made once and shared by every worker.
 *
 * The first worker that needs a model reads its file, and hands the packed, sealed memory
 * back; the others get that. So the service itself never parses a model: a file that
 * crashes the parser kills a worker. A file that has changed is another model. */
#ifndef JOB_MODELS_H
#define JOB_MODELS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct models;

int models_new(struct models **out, struct err *e);
void models_free(struct models *m);

enum models_answer {
    MODELS_PACKED,  /* *image_fd is the packed model (borrowed) */
    MODELS_LOAD,    /* the asking slot shall load the file */
    MODELS_LOADING, /* another slot does: ask again later */
};

/* What slot `slot` shall do for the model at `path`. *serial names this state of the
 * file. Negative: the file is not there. */
int models_ask(struct models *m, const char *path, int slot, int64_t *serial,
               int *image_fd, struct err *e);
/* A loaded model came back; `fd` is taken over. */
void models_loaded(struct models *m, int slot, int64_t serial, int fd);
/* The slot is done with its job, or dead: what it was to load is free for another. */
void models_released(struct models *m, int slot);

/* ---- for who minds the memory ---- */
#define MODELS_MAX 3 /* that the service itself keeps alive */

struct model_state {
    int64_t serial;
    const char *path; /* borrowed until the next call of any function here */
    uint64_t bytes;   /* of its image, or what they are expected to be */
    bool loading;
    int64_t used_ns; /* monotonic: last asked for, or loaded */
};
/* All that are loaded or being loaded; returns how many. */
size_t models_states(const struct models *m, struct model_state out[MODELS_MAX]);
/* The serial of the model at `path`; 0 when it is neither. */
int64_t models_serial(const struct models *m, const char *path);
/* How large an image that is being loaded will be. */
void models_expect(struct models *m, int64_t serial, uint64_t bytes);
/* Let a model go that is not being loaded. */
void models_drop(struct models *m, int64_t serial);

#endif
