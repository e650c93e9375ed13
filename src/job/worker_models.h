/* The models of a worker: open as long as they may be of use, each with a decoder that
 * all jobs of the model share. Thread-safe. */
#ifndef JOB_WORKER_MODELS_H
#define JOB_WORKER_MODELS_H

#include "engine/whisper.h"
#include "job/protocol.h"

struct worker_models;

/* Asked about ten times a second while a job waits: true, and it waits no longer. */
struct worker_patience {
    bool (*cancelled)(void *arg);
    void *arg;
};

/* `fd` leads to the service, which is given what is loaded, for other workers. */
int worker_models_new(struct worker_models **out, int fd, struct err *e);
void worker_models_free(struct worker_models *w);

/* A session for a job that decodes up to `batch` windows at once (0: as many as is
 * usual). Waits while other models are in use; ERR_CANCELLED when it was asked to stop.
 */
int worker_models_take(struct worker_models *w, const struct message *job, int batch,
                       const struct worker_patience *p, struct whisper_session **out,
                       struct err *e);
void worker_models_give_back(struct worker_models *w,
                             const struct whisper_session *session);

/* The service wants the memory of a model that nobody uses. */
void worker_models_let_go(struct worker_models *w, int64_t serial);

#endif
