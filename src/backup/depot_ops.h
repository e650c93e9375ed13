/* What each kind of depot does: depot.h has the functions. Private to depot_*.c. */
#ifndef BACKUP_DEPOT_OPS_H
#define BACKUP_DEPOT_OPS_H

#include "backup/depot.h"

struct depot_ops {
    void (*close)(struct depot *d);
    int (*begin)(struct depot *d, const char *name, struct depot_writer **out,
                 struct err *e);
    int (*write)(struct depot_writer *w, const void *bytes, size_t length, struct err *e);
    int (*finish)(struct depot_writer *w, struct err *e);
    void (*abort)(struct depot_writer *w);
    int (*read)(struct depot *d, const char *name, depot_data_fn data, void *arg,
                struct err *e);
    int (*remove)(struct depot *d, const char *name, struct err *e);
    int (*list)(struct depot *d, const char *kind, depot_entry_fn fn, void *arg,
                struct err *e);
    int (*tidy)(struct depot *d, struct err *e);
};

struct depot {
    const struct depot_ops *ops; /* static */
    char *name;                  /* owned */
};

struct depot_writer {
    struct depot *depot; /* borrowed */
};

int depot_open_folder(struct depot **out, const char *folder, bool writes, struct err *e);
int depot_open_s3(struct depot **out, const struct config *c, const char *url,
                  struct err *e);

#endif
