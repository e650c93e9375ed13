/* The copies that are there. A copy's name is the moment that it is of and chance:
 * "20260801T031500Z-1a2b3c4d"; so names sort by time. */
#ifndef BACKUP_MADE_H
#define BACKUP_MADE_H

#include "backup/object.h"

#define MADE_NAME_SIZE 40

struct made {
    char name[MADE_NAME_SIZE];
    int64_t time_ms; /* as the name says */
};
struct made_list {
    struct made *copies; /* owned [count], oldest first */
    size_t count, capacity;
};
int made_list(struct vault *v, struct made_list *out, struct err *e);
void made_list_release(struct made_list *l);

void made_name(int64_t time_ms, char out[MADE_NAME_SIZE]);
/* Whether it is such a name; *time_ms is filled then. */
bool made_name_parse(const char *name, int64_t *time_ms);

/* Read a copy's manifest. `salt` (NULL: not asked) is that of an encrypted one. */
int made_read(struct vault *v, const char *name, struct manifest *out,
              unsigned char salt[SEAL_SALT], struct err *e);
int made_write(struct vault *v, const char *name, const struct manifest *m,
               struct err *e);

/* What FROM on a command line names: a copy's name in BACKUP_DIR, "latest", the path of a
 * manifest, or a folder or s3:// with copies, of which it is the newest. Opens the vault
 * for reading and fills `name`. */
int made_find(struct vault *v, const struct config *c, const char *from,
              char name[MADE_NAME_SIZE], struct err *e);

#endif
