/* Copies of everything that cannot be made again: the database and the recordings that it
 * names, of one moment; and the way back. Models are not copied: they can be fetched. */
#ifndef BACKUP_BACKUP_H
#define BACKUP_BACKUP_H

#include "backup/made.h"
#include "store/backup_state.h"

/* What is told of while it goes on. */
struct backup_watch {
    bool (*stopped)(void *arg); /* NULL: never */
    void *arg;
    /* Something that does not break it off, a sentence; NULL: nobody listens. */
    void (*warn)(const char *text);
};

struct backup_result {
    char name[MADE_NAME_SIZE];
    struct snapshot_counts counts;
    size_t recordings, missing;
    int64_t bytes, copied_bytes; /* of all its files; of those that had to be copied */
    size_t removed;              /* copies that were old enough */
};

/* copy.c: make one. `settings` (NULL: none) is a file that goes into it. What it keeps of
 * itself (when it went well, and when not) it keeps in every case. ERR_STATE when another
 * one is running. */
int backup_make(const struct config *c, const char *settings,
                const struct backup_watch *watch, struct backup_result *out,
                struct err *e);

/* verify.c: read every file of a copy. Goes on after a damaged one; the first error is in
 * `e`, each is told to `bad`. `files` is how many are as they were. */
typedef void (*backup_bad_fn)(const char *sentence);
int backup_verify(struct vault *v, const char *name, backup_bad_fn bad, size_t *files,
                  int64_t *bytes, struct err *e);

struct backup_restored {
    char name[MADE_NAME_SIZE];
    struct snapshot_counts counts;
    size_t recordings, missing;
    struct buf aside; /* where what was there is now; "" */
};
/* restore.c: bring a copy to where the settings say. Not over what is there, unless
 * `force`; then that is put aside. `dry`: everything but the last step, elsewhere;
 * what would stand in the way is told as a warning. */
struct restore_wish {
    const char *from; /* see made_find */
    bool dry, force;
};
int backup_restore(const struct config *c, const struct restore_wish *wish,
                   const struct backup_watch *watch, struct backup_restored *out,
                   struct err *e);

/* aside.c: what such restores have put aside on disks, and with `removes` nothing of it
 * any more. `fn` hears of each before it goes. Not what is in a bucket or on a server. */
typedef void (*backup_aside_fn)(void *arg, const char *path, int64_t bytes,
                                int64_t put_ms);
int backup_aside(const struct config *c, bool removes, backup_aside_fn fn, void *arg,
                 struct err *e);

/* drill.c: see whether the newest copy could be restored, without anybody noticing. */
int backup_drill(const struct config *c, const struct backup_watch *watch,
                 struct backup_result *out, struct err *e);

/* state.c */
enum backup_event { BACKUP_MADE, BACKUP_FAILED, BACKUP_DRILLED, BACKUP_DRILL_FAILED };
/* Keep it in the database and, for a folder of copies, beside these: where it can be. */
void backup_note(const struct config *c, enum backup_event event, int64_t bytes);

/* retain.c: remove copies that are older than BACKUP_RETENTION_DAYS, but never the newest
 * of them, and what no copy needs. */
int backup_retain(struct vault *v, int64_t days, const char *newest, size_t *removed,
                  const struct backup_watch *watch, struct err *e);

/* restore.c: the folder of the storage; NULL for a bucket. Borrowed. */
const char *backup_storage_folder(const struct config *c);

/* A folder for files that are needed for a while, on a disk with room. Borrowed. */
const char *backup_scratch(const struct config *c);

#endif
