#include "api/extras.h"

#include "base/clock.h"
#include "job/webhooks.h"

#include <strings.h>

void api_extras_release(struct api_extras *x)
{
    free(x->url);
    free(x->webhook_url);
    free(x->webhook_secret);
    *x = (struct api_extras){0};
}

static int set_truth(bool *field, const char *name, const char *value, struct err *e)
{
    bool yes = !strcasecmp(value, "true") || !strcmp(value, "1");
    if (!yes && strcasecmp(value, "false") != 0 && strcmp(value, "0") != 0)
        return err_set(e, ERR_INVALID, "\"%s\" must be true or false, not \"%.40s\"",
                       name, value);
    *field = yes;
    return 0;
}

int api_extras_set(struct api_extras *x, const char *name, const char *value,
                   struct err *e)
{
    if (!*value)
        return 0;
    if (!strcmp(name, "url"))
        return api_set_text(&x->url, value, e);
    if (!strcmp(name, "webhook_url"))
        return api_set_text(&x->webhook_url, value, e);
    if (!strcmp(name, "webhook_secret"))
        return api_set_text(&x->webhook_secret, value, e);
    if (!strcmp(name, "webhook_transcript"))
        return set_truth(&x->webhook_transcript, name, value, e);
    return 0;
}

int api_extras_set_all(struct api_extras *x, const struct http_params *p, struct err *e)
{
    for (size_t i = 0; i < p->count; i++) {
        int status = api_extras_set(x, p->list[i].name, p->list[i].value, e);
        if (status)
            return status;
    }
    return 0;
}

const struct job_webhook *api_extras_webhook(struct api_extras *x)
{
    if (!x->webhook_url)
        return NULL;
    x->webhook = (struct job_webhook){.url = x->webhook_url,
                                      .secret = x->webhook_secret,
                                      .with_transcript = x->webhook_transcript};
    return &x->webhook;
}

static json_t *time_or_null(int64_t wall_ms)
{
    char text[CLOCK_ISO_SIZE];
    return wall_ms ? json_string(clock_iso(wall_ms, text)) : json_null();
}

void api_add_webhook(struct jobs *jobs, const char *job_id, json_t *job)
{
    struct job_webhook_report r;
    if (!job || jobs_webhook_report(jobs, job_id, &r, NULL))
        return;
    json_t *o =
        json_pack("{s:s, s:s, s:i, s:o, s:o, s:o, s:o}", "to", r.origin, "state", r.state,
                  "attempts", r.attempts, "last_attempt_at", time_or_null(r.last_ms),
                  "next_attempt_at", time_or_null(r.next_ms), "last_status",
                  r.http_status ? json_integer(r.http_status) : json_null(), "last_error",
                  r.error[0] ? json_string(r.error) : json_null());
    (void)json_object_set_new(job, "webhook", o);
}
