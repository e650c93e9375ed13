/* Room in memory: which models are at work where, and whether another one fits.
 *
 * The figures are what models are known to need (engine/memory.c), not what the kernel
 * counts: they can be had before anything is loaded, so that a job waits, or is refused,
 * where it would otherwise end in the kernel killing somebody. Only the supervisor's
 * thread uses it, but for room_check. */
#ifndef JOB_ROOM_H
#define JOB_ROOM_H

#include "base/config.h"
#include "engine/whisper.h"
#include "job/models.h"

#define ROOM_SLOTS 64 /* workers, at most */

struct room;

/* How to tell a worker to let a model go; false: it cannot be told now. */
typedef bool (*room_unload_fn)(void *arg, int slot, int64_t serial);

/* `c`, `models` and `arg` are borrowed; `threads` is what a transcription gets. */
int room_new(struct room **out, const struct config *c, struct models *models,
             int threads, room_unload_fn unload, void *arg, struct err *e);
void room_free(struct room *r);

/* Whether the model fits when it is alone: ERR_TOO_LARGE with the figures when not. The
 * errors of whisper_memory_needed as well. `batch`: windows that are asked for, or 0.
 * *need, if wanted, is what it takes. Any thread. */
int room_check(const struct config *c, int threads, const char *path, const char *model,
               int batch, struct whisper_memory *need, struct err *e);

/* A job of the model at `path` is to begin in a slot. 1: it fits; what was idle may have
 * been let go for that. 0: not now, ask again. Negative: never, see room_check. */
int room_ask(struct room *r, int slot, const char *path, const char *model, int batch,
             struct whisper_memory *need, struct err *e);
/* It has begun, with the model of that serial; it has ended; the worker is dead. */
void room_begin(struct room *r, int slot, int64_t serial,
                const struct whisper_memory *need, int64_t now_ns);
void room_end(struct room *r, int slot, int64_t serial, int64_t now_ns);
void room_slot_gone(struct room *r, int slot);

/* Let go what nobody has used for MODEL_IDLE_SECONDS. */
void room_mind_idle(struct room *r, int64_t now_ns);
/* Let a model go now, wherever it is idle. */
void room_forget(struct room *r, const char *path);
/* Jobs at work with a model, in all slots. */
int room_users(const struct room *r, int64_t serial);

#endif
