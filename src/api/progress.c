/* WS /ws/jobs/{id}: the present state at once, then every change until the job ends. */
#include "api/access.h"
#include "api/api.h"
#include "api/errors.h"
#include "api/present.h"
#include "api/vigil.h"

#include "base/clock.h"

#include <pthread.h>

struct progress {
    struct jobs *jobs;     /* borrowed */
    struct access *access; /* borrowed */
    struct vigil *vigil;   /* borrowed */
    struct vigil_post post;
    struct http_ws *ws; /* borrowed; valid until close returns */
    int subscription;
    pthread_mutex_t lock;
    /* Under lock. Changes may be told while the present state is being read; they wait
     * here, the last one only, so that nothing is told in the wrong order. */
    bool begun, waiting;
    struct job_event last;
};

static bool has_ended(enum job_status status)
{
    return status != JOB_PENDING && status != JOB_PROCESSING;
}

static void tell(struct progress *p, const struct job_event *event)
{
    if (!access_pass_holds(p->access, &p->post.pass)) {
        http_ws_close(p->ws, 1008);
        return;
    }
    char *text = present_progress(event->job_id, event->status, event->progress,
                                  event->message, event->time_ms);
    if (text)
        http_ws_send(p->ws, text, strlen(text));
    free(text);
    if (!text)
        http_ws_close(p->ws, 1011);
    else if (has_ended(event->status))
        http_ws_close(p->ws, 1000);
}

/* On the job service's thread. */
static void on_event(void *arg, const struct job_event *event)
{
    struct progress *p = arg;
    pthread_mutex_lock(&p->lock);
    if (p->begun) {
        tell(p, event);
    } else {
        p->waiting = true;
        p->last = *event;
    }
    pthread_mutex_unlock(&p->lock);
}

/* On the vigil's thread. */
static void on_withdrawn(void *arg)
{
    struct progress *p = arg;
    http_ws_close(p->ws, 1008);
}

static struct job_event present_state(const struct job *job, int64_t now_ms)
{
    struct job_event event = {
        .status = job->status, .progress = job->progress, .time_ms = now_ms};
    memcpy(event.job_id, job->id, sizeof event.job_id);
    const char *message = job->error_message ? job->error_message
                          : job->message     ? job->message
                                             : "";
    (void)snprintf(event.message, sizeof event.message, "%s", message);
    return event;
}

static int check(struct http_request *r)
{
    return api_may_see(r, http_request_capture(r, "id")) ? 0 : ERR_NOT_FOUND;
}

static void *open(struct http_request *r, struct http_ws *ws)
{
    struct api *api = r->app;
    const char *id = http_request_capture(r, "id");
    struct progress *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->jobs = api->jobs;
    p->access = api->access;
    p->vigil = api->vigil;
    p->post = (struct vigil_post){
        .pass = access_pass_of(r), .withdrawn = on_withdrawn, .arg = p};
    p->ws = ws;
    pthread_mutex_init(&p->lock, NULL);
    /* Subscribe first: a change between the two is then told twice rather than never. */
    p->subscription = jobs_subscribe(p->jobs, id, on_event, p);
    struct job job = {0};
    int status = p->subscription > 0 ? jobs_get(p->jobs, id, &job, NULL) : -1;
    if (status) {
        if (p->subscription > 0)
            jobs_unsubscribe(p->jobs, p->subscription);
        pthread_mutex_destroy(&p->lock);
        free(p);
        return NULL;
    }
    struct job_event now = present_state(&job, clock_now_ms());
    job_release(&job);
    pthread_mutex_lock(&p->lock);
    tell(p, &now);
    if (p->waiting && (p->last.status != now.status || p->last.progress > now.progress))
        tell(p, &p->last);
    p->begun = true;
    pthread_mutex_unlock(&p->lock);
    vigil_add(p->vigil, &p->post);
    return p;
}

static void on_close(void *state)
{
    struct progress *p = state;
    vigil_remove(p->vigil, &p->post);
    jobs_unsubscribe(p->jobs, p->subscription);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

const struct http_ws_handler api_progress = {
    .check = check, .open = open, .message = NULL, .close = on_close};
