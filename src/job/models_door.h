/* The models of a service, for those who manage them: which there are, getting one,
 * removing one, choosing the default. Thread-safe. */
#ifndef JOB_MODELS_DOOR_H
#define JOB_MODELS_DOOR_H

#include "engine/whisper.h"
#include "job/jobs.h"
#include "job/pulls.h"

struct model_view {
    char name[64];
    bool detector; /* it is the voice detector, no model */
    bool present, loaded, in_use, is_default;
    uint64_t bytes;               /* of its file: as it is here, or as it is published */
    int languages;                /* it knows languages 0 … languages - 1 */
    struct whisper_memory memory; /* 0, 0: not known before it is here */
    bool fits;                    /* the memory can hold it, as far as that is known */
    struct pull_view pull;
};

/* Those that are here, best first, then those that can be pulled, then the voice
 * detector. The caller frees the array. */
int jobs_models(struct jobs *s, struct model_view **out, size_t *count, struct err *e);
/* ERR_NOT_FOUND for a name that is neither here nor published. */
int jobs_model(struct jobs *s, const char *name, struct model_view *out, struct err *e);

/* Begin to download it. ERR_NOT_FOUND: it is not published; ERR_STATE: too many others
 * are under way. */
int jobs_model_pull(struct jobs *s, const char *name, struct err *e);
/* Stop its download (*stopped), or else remove it from disk and memory. ERR_STATE while
 * jobs need it, ERR_NOT_FOUND when it is not here, ERR_UNSUPPORTED for a folder. */
int jobs_model_remove(struct jobs *s, const char *name, bool *stopped, struct err *e);
/* Make it the default, durably; "auto": as if nobody had chosen. ERR_STATE while
 * DEFAULT_WHISPER_MODEL is set, ERR_NOT_FOUND when it is not here. */
int jobs_model_choose(struct jobs *s, const char *name, struct err *e);

/* See pulls_subscribe. */
int jobs_model_subscribe(struct jobs *s, const char *name, pull_fn fn, void *arg);
void jobs_model_unsubscribe(struct jobs *s, int handle);

/* ---- for the service itself ---- */
/* Take over the default that the store says. */
void models_refresh_default(struct jobs *s);
/* Write a default down: a valid name, or NULL for none. Also for those without a service.
 */
struct store;
int models_write_default(struct store *store, const struct config *c, const char *name,
                         struct err *e);

#endif
