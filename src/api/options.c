#include "api/options.h"

#include "base/json_text.h"
#include "base/mem.h"
#include "job/jobs.h"
#include "job/options.h"

#include <errno.h>

void api_options_release(struct api_options *o)
{
    free(o->model);
    free(o->language);
    free(o->task);
    json_decref(o->rest);
    *o = (struct api_options){0};
}

int api_set_text(char **field, const char *value, struct err *e)
{
    char *copy = strdup(value);
    if (!copy)
        return err_set(e, ERR_NOMEM, "out of memory");
    free(*field);
    *field = copy;
    return 0;
}

/* 0 to 9 for callers, who need not know that 5 is our nought. */
static int set_priority(int *out, const char *value, struct err *e)
{
    static const struct {
        const char *name;
        int value;
    } names[] = {{"low", -3}, {"normal", JOB_PRIORITY_NORMAL}, {"high", 3}};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        if (!strcmp(value, names[i].name)) {
            *out = names[i].value;
            return 0;
        }
    if (value[0] < '0' || value[0] > '9' || value[1])
        return err_set(e, ERR_INVALID,
                       "\"priority\" must be low, normal, high or a digit from 0 to 9, "
                       "not \"%.40s\"",
                       value);
    *out = JOB_PRIORITY_LOWEST + (value[0] - '0');
    return 0;
}

static int set_retain(int *out, const char *value, struct err *e)
{
    char *end;
    errno = 0;
    long days = strtol(value, &end, 10);
    if (!strcmp(value, "default"))
        *out = JOB_RETAIN_DEFAULT;
    else if (!strcmp(value, "none"))
        *out = JOB_RETAIN_NONE;
    else if (*end || errno || days < 1 || days > JOB_RETAIN_MAX)
        return err_set(
            e, ERR_INVALID,
            "\"retain\" must be default, none or a number of days from 1 to %d, "
            "not \"%.40s\"",
            JOB_RETAIN_MAX, value);
    else
        *out = (int)days;
    return 0;
}

int api_options_set(struct api_options *o, const char *name, const char *value,
                    struct err *e)
{
    if (!*value)
        return 0;
    if (!strcmp(name, "model"))
        return api_set_text(&o->model, value, e);
    if (!strcmp(name, "language"))
        return api_set_text(&o->language, value, e);
    if (!strcmp(name, "task"))
        return api_set_text(&o->task, value, e);
    if (!strcmp(name, "priority"))
        return set_priority(&o->priority, value, e);
    if (!strcmp(name, "retain"))
        return set_retain(&o->retain_days, value, e);
    const struct job_option *option = job_option_find(name);
    return option ? job_options_put(&o->rest, option, value, e) : 0;
}

int api_options_set_all(struct api_options *o, const struct http_params *p, struct err *e)
{
    for (size_t i = 0; i < p->count; i++) {
        int status = api_options_set(o, p->list[i].name, p->list[i].value, e);
        if (status)
            return status;
    }
    return 0;
}

int api_subtitle_options(const char *job_options, const struct http_params *query,
                         struct cue_options *out, struct err *e)
{
    json_t *all = json_loads(job_options, 0, NULL);
    int status = 0;
    for (size_t i = 0; !status && i < query->count; i++) {
        const struct http_param *p = &query->list[i];
        const struct job_option *option = job_option_find(p->name);
        if (option && option->group == GROUP_SUBTITLES && *p->value)
            status = job_options_put(&all, option, p->value, e);
    }
    char *json = !status && all ? json_text(all, JSON_COMPACT) : NULL;
    struct job_options parsed;
    if (!status)
        status = job_options_parse(&parsed, json, e);
    if (!status) {
        *out = parsed.subtitles;
        job_options_release(&parsed);
    }
    free(json);
    json_decref(all);
    return status;
}
