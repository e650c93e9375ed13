/* POST and DELETE /jobs/{id}/hold: an operator keeps a job, whoever else wants it gone.
 */
#include "api/api.h"
#include "api/errors.h"
#include "api/extras.h"
#include "api/json_fields.h"
#include "api/present.h"

#include "http/json_body.h"
#include "job/holds.h"

void api_add_hold(struct http_request *r, const char *job_id, json_t *job)
{
    const struct api *api = r->app;
    struct store_hold hold;
    struct err e;
    if (!job || store_hold_get(jobs_store(api->jobs), job_id, &hold, &e))
        return;
    json_t *o = hold_json(&hold, !api_viewer(r));
    if (o)
        (void)json_object_set_new(job, "hold", o);
}

static int read_reason(const json_t *o, const char **reason, struct err *e)
{
    static const char *const names[] = {"reason", NULL};
    *reason = "";
    int status = json_fields_only(o, names, e);
    return status ? status : json_field_text(o, "reason", reason, e);
}

static void answer(struct http_request *r, const char *id)
{
    const struct api *api = r->app;
    struct store_hold hold;
    struct err e;
    int status = store_hold_get(jobs_store(api->jobs), id, &hold, &e);
    if (status && status != ERR_NOT_FOUND) {
        api_error(&r->response, &e);
        return;
    }
    json_t *shown = status ? json_null() : hold_json(&hold, true);
    http_respond_json(&r->response, 200,
                      json_pack("{s:s, s:o}", "job_id", id, "hold", shown));
}

void api_hold_place(struct http_request *r)
{
    const struct api *api = r->app;
    const struct key_actor actor = {api_owner(r), r->client};
    const char *id = http_request_capture(r, "id"), *reason;
    const json_t *o = http_json_body(r);
    struct err e;
    if (!o || !api_may_see(r, id))
        return;
    int status = read_reason(o, &reason, &e);
    if (!status)
        status = holds_place(jobs_store(api->jobs), id, reason, &actor, &e);
    if (status)
        api_error(&r->response, &e);
    else
        answer(r, id);
}

void api_hold_take_back(struct http_request *r)
{
    const struct api *api = r->app;
    const struct key_actor actor = {api_owner(r), r->client};
    const char *id = http_request_capture(r, "id");
    struct err e;
    if (!api_may_see(r, id))
        return;
    if (holds_take_back(jobs_store(api->jobs), id, &actor, &e))
        api_error(&r->response, &e);
    else
        answer(r, id);
}
