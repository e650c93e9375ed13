/* GET /admin/workers: who works on this database, here and elsewhere. */
#include "api/api.h"
#include "api/errors.h"
#include "job/workers.h"

void api_workers(struct http_request *r)
{
    struct api *api = r->app;
    struct store_worker_list l;
    struct err e;
    if (jobs_workers(api->jobs, &l, &e)) {
        api_error(&r->response, &e);
        return;
    }
    json_t *all = json_array();
    for (size_t i = 0; i < l.count; i++)
        (void)json_array_append_new(all, worker_json(&l.workers[i]));
    store_worker_list_release(&l);
    http_respond_json(&r->response, 200, json_pack("{s:o}", "workers", all));
}
