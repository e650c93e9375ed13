/* Room in memory: which models are at work where, and whether another one fits.
 *
 * The figures are what models are known to need (engine/memory.c), not what the kernel
 * counts: they can be had before anything is loaded, so that a job waits, or is refused,
 * where it would otherwise end in the kernel killing somebody. Only the supervisor's
 * thread uses it, but for what says otherwise. */
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

/* What a model takes for a job of these options (JSON, or NULL), and whether it fits when
 * it is alone: ERR_TOO_LARGE with the figures when not. Other errors say what is wrong
 * with the model. *need may be NULL. Any thread. */
int room_check(const struct config *c, int threads, const char *model,
               const char *options_json, struct whisper_memory *need, struct err *e);

/* A job of a model is to begin in a slot. 1: it fits; what was idle may have been let go
 * for that. 0: not now, ask again. Negative: see room_check. */
int room_ask(struct room *r, int slot, const char *model, const char *options_json,
             struct whisper_memory *need, struct err *e);
/* It has begun, with the model of that serial; it has ended; the worker is dead. */
void room_begin(struct room *r, int slot, int64_t serial,
                const struct whisper_memory *need, int64_t now_ns);
void room_end(struct room *r, int slot, int64_t serial, int64_t now_ns);
void room_slot_gone(struct room *r, int slot);

/* Let go what nobody has used for MODEL_IDLE_SECONDS, and what is to be forgotten; tell
 * the other threads what is left. */
void room_mind(struct room *r, int64_t now_ns);

/* ---- any thread ---- */
/* Let the model at `path` go at the next room_mind, wherever it is idle. */
void room_forget(struct room *r, const char *path);
/* Whether it is in memory, and whether jobs are at work with it. */
bool room_has(struct room *r, const char *path, bool *in_use);

#endif
