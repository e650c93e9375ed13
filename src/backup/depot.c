#include "backup/depot_ops.h"

#include <stdlib.h>
#include <string.h>

int depot_open(struct depot **out, const struct config *c, const char *where, bool writes,
               struct err *e)
{
    *out = NULL;
    return strncmp(where, "s3://", 5) ? depot_open_folder(out, where, writes, e)
                                      : depot_open_s3(out, c, where, e);
}

void depot_close(struct depot *d)
{
    if (d)
        d->ops->close(d);
}

const char *depot_name(const struct depot *d)
{
    return d->name;
}

int depot_begin(struct depot *d, const char *name, struct depot_writer **out,
                struct err *e)
{
    *out = NULL;
    return d->ops->begin(d, name, out, e);
}

int depot_write(struct depot_writer *w, const void *bytes, size_t length, struct err *e)
{
    return w->depot->ops->write(w, bytes, length, e);
}

int depot_finish(struct depot_writer *w, struct err *e)
{
    return w->depot->ops->finish(w, e);
}

void depot_abort(struct depot_writer *w)
{
    if (w)
        w->depot->ops->abort(w);
}

int depot_read(struct depot *d, const char *name, depot_data_fn data, void *arg,
               struct err *e)
{
    return d->ops->read(d, name, data, arg, e);
}

int depot_remove(struct depot *d, const char *name, struct err *e)
{
    return d->ops->remove(d, name, e);
}

int depot_list(struct depot *d, const char *kind, depot_entry_fn fn, void *arg,
               struct err *e)
{
    return d->ops->list(d, kind, fn, arg, e);
}

int depot_tidy(struct depot *d, struct err *e)
{
    return d->ops->tidy(d, e);
}
