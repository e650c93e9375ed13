#include "api/fleeting.h"

#include "http/later.h"

bool api_is_erased(struct http_request *r, struct job *job)
{
    if (!job->erased || job->status != JOB_COMPLETED)
        return false;
    http_respond_error(&r->response, 410, "gone",
                       "the transcript of this job was to be kept only until it was "
                       "fetched, or for an hour (retain=none): it is gone; send the "
                       "recording again");
    job_release(job);
    return true;
}

/* r->state is the id. */
static void on_end(struct http_request *r)
{
    const struct api *api = r->app;
    bool whole = !r->gone && !r->is_head && r->response.status == 200;
    if (whole)
        jobs_fetched(api->jobs, r->state);
    free(r->state);
    r->state = NULL;
}

void api_note_fetched(struct http_request *r, const struct job *job)
{
    if (job->retain_days != JOB_RETAIN_NONE)
        return;
    r->state = strdup(job->id);
    if (r->state)
        http_request_on_end(r, on_end);
}
