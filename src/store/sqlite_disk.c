/* The system's own layer (sqlite3_vfs), but for one result: when a file gives EIO, ENXIO
 * or the like, it says SQLITE_IOERR_CORRUPTFS, and the engine makes SQLITE_CORRUPT of
 * that, which cannot be told from pages that hold nonsense. After those nothing is
 * promised any more; a disk that could not be read for a moment is only asked again. */
#include "store/sqlite_disk.h"

#include <pthread.h>
#include <sqlite3.h>

#define NAME "whisper-transcriber"
/* What this program was built to know of. */
#define METHODS_VERSION 3
#define VFS_VERSION     3

/* Lies behind the system's file, in the same memory. */
struct behind {
    sqlite3_io_methods methods; /* the system's, with our way to read */
    int (*read)(sqlite3_file *, void *, int, sqlite3_int64);
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static sqlite3_vfs *system_vfs;
static sqlite3_vfs vfs;
static int registered = SQLITE_ERROR;

static int offset_behind(void)
{
    const int align = (int)_Alignof(struct behind);
    return (system_vfs->szOsFile + align - 1) / align * align;
}

static struct behind *behind(sqlite3_file *file)
{
    return (struct behind *)(void *)((char *)file + offset_behind());
}

static int disk_read(sqlite3_file *file, void *to, int length, sqlite3_int64 at)
{
    int result = behind(file)->read(file, to, length, at);
    return result == SQLITE_IOERR_CORRUPTFS ? SQLITE_IOERR_READ : result;
}

static int disk_open(sqlite3_vfs *own, const char *name, sqlite3_file *file, int flags,
                     int *out_flags)
{
    (void)own;
    int result = system_vfs->xOpen(system_vfs, name, file, flags, out_flags);
    if (!file->pMethods)
        return result;
    struct behind *b = behind(file);
    b->methods = *file->pMethods;
    if (b->methods.iVersion > METHODS_VERSION)
        b->methods.iVersion = METHODS_VERSION;
    b->read = b->methods.xRead;
    b->methods.xRead = disk_read;
    file->pMethods = &b->methods;
    return result;
}

static void make(void)
{
    if (sqlite3_initialize() != SQLITE_OK || !(system_vfs = sqlite3_vfs_find(NULL)))
        return;
    vfs = *system_vfs;
    if (vfs.iVersion > VFS_VERSION)
        vfs.iVersion = VFS_VERSION;
    vfs.pNext = NULL;
    vfs.zName = NAME;
    vfs.szOsFile = offset_behind() + (int)sizeof(struct behind);
    vfs.xOpen = disk_open;
    registered = sqlite3_vfs_register(&vfs, 0);
}

int sqlite_disk_name(const char **out, struct err *e)
{
    pthread_once(&once, make);
    *out = NAME;
    return registered == SQLITE_OK
               ? 0
               : err_set(e, ERR_NOMEM, "the library SQLite cannot be started");
}
