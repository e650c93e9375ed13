#include "api/api.h"
#include "api/errors.h"

const char *api_viewer(const struct http_request *r)
{
    (void)r;
    return NULL;
}

const char *api_owner(const struct http_request *r)
{
    (void)r;
    return "";
}

bool api_may_see(struct http_request *r, const char *id)
{
    struct api *api = r->app;
    struct err e;
    if (!jobs_of_caller(api->jobs, api_viewer(r), id, &e))
        return true;
    api_error(&r->response, &e);
    return false;
}
