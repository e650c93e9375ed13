#include "store/store.h"

#include "store/pg.h"
#include "store/share.h"
#include "store/sqlite.h"
#include "store/waiting.h"

static bool starts_with(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

int store_open(struct store **out, const char *url, const struct store_options *options,
               struct err *e)
{
    *out = NULL;
    if (starts_with(url, "sqlite:///")) {
        const char *path = url + strlen("sqlite:///");
        if (!*path || path[strlen(path) - 1] == '/')
            return err_set(e, ERR_INVALID,
                           "DATABASE_URL \"%s\" names no file: write "
                           "sqlite:///data/app.db or sqlite:////absolute/path.db",
                           url);
        return sqlite_store_open(out, path, options, e);
    }
    if (starts_with(url, "postgresql://") || starts_with(url, "postgres://"))
        return pg_store_open(out, url, options, e);
    /* The value is not repeated: it may hold a password. */
    return err_set(e, ERR_INVALID,
                   "DATABASE_URL is not understood: write sqlite:///data/app.db, "
                   "sqlite:////absolute/path.db or postgresql://USER:PASSWORD@HOST/"
                   "DATABASE");
}

void store_resume_release(struct store_resume *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_windows; i++)
        free(r->windows[i]);
    for (size_t i = 0; i < r->n_ahead; i++)
        free(r->ahead[i]);
    free(r->windows);
    free(r->ahead);
    free(r->language);
    *r = (struct store_resume){0};
}

void store_windows_release(struct store_windows *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->count; i++)
        free(w->list[i]);
    free(w->list);
    *w = (struct store_windows){0};
}

void store_waiting_release(struct store_waiting *w)
{
    if (!w)
        return;
    free(w->caller);
    free(w->model);
    *w = (struct store_waiting){0};
}

void store_waiting_list_release(struct store_waiting_list *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->count; i++)
        store_waiting_release(&l->list[i]);
    free(l->list);
    *l = (struct store_waiting_list){0};
}
