#include "job/models_door.h"

#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "job/model_names.h"
#include "job/room.h"
#include "job/service.h"
#include "job/supervisor.h"
#include "store/settings.h"

/* ---- looking ---- */

static void look_at_memory(struct jobs *s, struct model_view *v)
{
    int status = room_check(s->config, supervisor_threads(s->supervisor), v->name, NULL,
                            &v->memory, NULL);
    v->fits = status != ERR_TOO_LARGE;
}

static void look_at(struct jobs *s, const char *name, const char *path, uint64_t bytes,
                    struct model_view *v)
{
    char chosen[64] = "";
    *v = (struct model_view){.bytes = bytes, .present = path != NULL, .fits = true};
    (void)snprintf(v->name, sizeof v->name, "%s", name);
    v->detector = !strcmp(name, catalog_detector()->name);
    v->languages = v->detector ? 0 : model_name_languages(name);
    pulls_view(s->pulls, name, &v->pull);
    if (!path || v->detector)
        return;
    v->loaded = room_has(supervisor_room(s->supervisor), path, &v->in_use);
    v->is_default = !catalog_default(s->config, chosen, NULL) && !strcmp(chosen, name);
    look_at_memory(s, v);
}

static void look_at_detector(struct jobs *s, struct model_view *v)
{
    char path[PATH_MAX];
    const struct catalog_entry *d = catalog_detector();
    bool here = !catalog_detector_path(s->config, path, NULL);
    look_at(s, d->name, here ? path : NULL, d->bytes, v);
}

static bool is_among(const struct catalog_present *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(list[i].name, name))
            return true;
    return false;
}

int jobs_models(struct jobs *s, struct model_view **out, size_t *count, struct err *e)
{
    struct catalog_present *present = NULL;
    size_t n_present = 0, n_entries, n = 0;
    const struct catalog_entry *entries = catalog_entries(&n_entries);
    *out = NULL;
    *count = 0;
    int status = catalog_list(s->config, &present, &n_present, e);
    if (status && status != ERR_NOT_FOUND)
        return status;
    struct model_view *list = mem_array(n_present + n_entries + 1, sizeof *list);
    if (!list) {
        free(present);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n_present; i++)
        look_at(s, present[i].name, present[i].path, present[i].bytes, &list[n++]);
    for (size_t i = 0; i < n_entries; i++)
        if (!is_among(present, n_present, entries[i].name))
            look_at(s, entries[i].name, NULL, entries[i].bytes, &list[n++]);
    look_at_detector(s, &list[n++]);
    free(present);
    *out = list;
    *count = n;
    return 0;
}

int jobs_model(struct jobs *s, const char *name, struct model_view *out, struct err *e)
{
    struct model_view *list;
    size_t count;
    int status = jobs_models(s, &list, &count, e);
    if (status)
        return status;
    status = ERR_NOT_FOUND;
    for (size_t i = 0; i < count && status; i++)
        if (!strcmp(list[i].name, name)) {
            *out = list[i];
            status = 0;
        }
    free(list);
    return status ? err_set(e, status,
                            "there is no model \"%.80s\": GET /models lists them", name)
                  : 0;
}

/* ---- getting and removing ---- */

int jobs_model_pull(struct jobs *s, const char *name, struct err *e)
{
    int status = pulls_start(s->pulls, name, e);
    return status == ERR_INVALID ? err_set(e, ERR_NOT_FOUND,
                                           "no model \"%.80s\" is published: GET /models "
                                           "lists those that are",
                                           name)
                                 : status;
}

static int check_unused(struct jobs *s, const char *name, struct err *e)
{
    int64_t jobs = 0;
    int status = store_unfinished(s->store, name, &jobs, e);
    if (!status && jobs > 0)
        status = err_set(e, ERR_STATE,
                         "%lld job(s) that are not finished need %s: wait for them, or "
                         "cancel them",
                         (long long)jobs, name);
    return status;
}

int jobs_model_remove(struct jobs *s, const char *name, bool *stopped, struct err *e)
{
    char path[PATH_MAX];
    *stopped = pulls_cancel(s->pulls, name);
    if (*stopped)
        return 0;
    int status = catalog_path(s->config, name, path, e);
    if (status == ERR_INVALID)
        return err_set(e, ERR_NOT_FOUND, "there is no model \"%.80s\"", name);
    if (!status)
        status = check_unused(s, name, e);
    if (!status)
        status = catalog_remove(s->config, name, e);
    if (status)
        return status;
    log_info("the model %s was removed", name);
    room_forget(supervisor_room(s->supervisor), path);
    supervisor_wake(s->supervisor);
    return 0;
}

/* ---- the default ---- */

void models_refresh_default(struct jobs *s)
{
    struct buf name;
    if (s->config->default_model)
        return; /* that wins */
    buf_init(&name, 64);
    int status = store_setting_get(s->store, STORE_DEFAULT_MODEL, &name, NULL);
    if (!status && catalog_name_valid(buf_cstr(&name)))
        catalog_choose(buf_cstr(&name));
    else if (!status || status == ERR_NOT_FOUND)
        catalog_choose(NULL);
    buf_release(&name);
}

int models_write_default(struct store *store, const struct config *c, const char *name,
                         struct err *e)
{
    char path[PATH_MAX];
    const char *own = c->default_model;
    if (own)
        return err_set(e, ERR_STATE,
                       "DEFAULT_WHISPER_MODEL is \"%s\" here, and wins: unset it to "
                       "choose the default while the service runs",
                       own);
    int status = name ? catalog_path(c, name, path, e) : 0;
    return status ? status : store_setting_set(store, STORE_DEFAULT_MODEL, name, e);
}

int jobs_model_choose(struct jobs *s, const char *name, struct err *e)
{
    bool none = !strcmp(name, "auto");
    int status = models_write_default(s->store, s->config, none ? NULL : name, e);
    if (status)
        return status;
    catalog_choose(none ? NULL : name);
    log_info("the default model is now %s", none ? "chosen by itself" : name);
    return 0;
}

int jobs_model_subscribe(struct jobs *s, const char *name, pull_fn fn, void *arg)
{
    return pulls_subscribe(s->pulls, name, fn, arg);
}

void jobs_model_unsubscribe(struct jobs *s, int handle)
{
    pulls_unsubscribe(s->pulls, handle);
}
