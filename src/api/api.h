/* The doors: HTTP requests on one side, the job service on the other. */
#ifndef API_API_H
#define API_API_H

#include "base/config.h"
#include "http/server.h"
#include "job/jobs.h"

#include <stdatomic.h>

struct access;

/* What every handler finds in r->app. All are borrowed and outlive the server. */
struct api {
    const struct config *config;
    struct jobs *jobs;
    struct access *access;     /* access.h */
    struct api_events *events; /* api/events.h */
    struct teller *teller;     /* api/teller.h */
    struct vigil *vigil;       /* api/vigil.h */
    atomic_bool stopping;      /* others should be asked: see health.c */
    atomic_bool left_over;     /* a complete upload is no job yet: see tus_keeper.c */
};

/* Every route of every door. Static. */
const struct http_route *api_routes(size_t *count);

/* ---- whose jobs: caller.c ---- */
/* Whose jobs the request may see: a key's id; NULL: everybody's. Borrowed. */
const char *api_viewer(const struct http_request *r);
/* Whose a new job becomes; "" when nobody was asked. Borrowed. */
const char *api_owner(const struct http_request *r);
/* Whether the job is one that the request may see; answers 404 when it is not. */
bool api_may_see(struct http_request *r, const char *id);

/* ---- the handlers, by file ---- */
void api_root(struct http_request *r); /* root.c */
void api_asset(struct http_request *r);
void api_openapi(struct http_request *r);
void api_docs(struct http_request *r);
void api_health_live(struct http_request *r); /* health.c */
void api_health_ready(struct http_request *r);
void api_metrics(struct http_request *r);        /* metrics.c */
void api_worker_metrics(struct http_request *r); /* of a `worker` process */
void api_queue_show(struct http_request *r);     /* queue.c */
void api_queue_requeue(struct http_request *r);
void api_queue_purge_dead(struct http_request *r);
void api_workers(struct http_request *r); /* workers.c */
void api_list(struct http_request *r);    /* native.c */
void api_get(struct http_request *r);
void api_download(struct http_request *r);
void api_delete(struct http_request *r);
void api_delete_many(struct http_request *r);
void api_cancel(struct http_request *r);
void api_hold_place(struct http_request *r);
void api_hold_take_back(struct http_request *r);
void api_retry(struct http_request *r);
void api_transcribe(struct http_request *r); /* submit.c */
extern const struct http_form_handler api_transcribe_form;
/* Answer what is wrong with the parameters of a job; returns the code. */
int api_refuse_request(struct http_request *r, const struct err *e);
extern const struct http_ws_handler api_progress; /* progress.c */

#endif
