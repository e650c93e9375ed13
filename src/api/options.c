#include "api/options.h"

#include "job/options.h"

void api_options_release(struct api_options *o)
{
    free(o->model);
    free(o->language);
    free(o->task);
    json_decref(o->rest);
    *o = (struct api_options){0};
}

static int set_text(char **field, const char *value, struct err *e)
{
    char *copy = strdup(value);
    if (!copy)
        return err_set(e, ERR_NOMEM, "out of memory");
    free(*field);
    *field = copy;
    return 0;
}

int api_options_set(struct api_options *o, const char *name, const char *value,
                    struct err *e)
{
    if (!*value)
        return 0;
    if (!strcmp(name, "model"))
        return set_text(&o->model, value, e);
    if (!strcmp(name, "language"))
        return set_text(&o->language, value, e);
    if (!strcmp(name, "task"))
        return set_text(&o->task, value, e);
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
    char *json = !status && all ? json_dumps(all, JSON_COMPACT) : NULL;
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
