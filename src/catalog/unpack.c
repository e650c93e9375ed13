/* Hostile archives: only gzip and tar are understood, names are compared and never
 * opened, and what all members together may unpack to is limited before it is skipped. */
#include "catalog/unpack.h"

#include "base/fs.h"

#include <archive.h>
#include <archive_entry.h>

#define MAX_MEMBERS 100000
#define EXTRA_BYTES ((int64_t)1 << 30) /* beside the model */
#define BLOCK_BYTES 65536

struct unpacking {
    struct archive *archive; /* owned */
    const char *member;
    int64_t bytes;
    int fd;
    bool (*cancelled)(void *arg);
    void *cancelled_arg;
    struct err *e;
};

static int damaged(const struct unpacking *u)
{
    const char *why = archive_error_string(u->archive);
    return err_set(u->e, ERR_CORRUPT, "the archive is damaged: %s",
                   why ? why : "unknown");
}

static int copy_member(const struct unpacking *u)
{
    char block[BLOCK_BYTES];
    int64_t copied = 0;
    for (;;) {
        if (u->cancelled && u->cancelled(u->cancelled_arg))
            return err_set(u->e, ERR_CANCELLED, "the download was stopped");
        la_ssize_t n = archive_read_data(u->archive, block, sizeof block);
        if (n < 0)
            return damaged(u);
        if (n == 0)
            break;
        copied += n;
        if (copied > u->bytes)
            break;
        int status = fs_write_all(u->fd, block, (size_t)n, u->e);
        if (status)
            return status;
    }
    if (copied != u->bytes)
        return err_set(u->e, ERR_CORRUPT, "%s in the archive has the wrong size",
                       u->member);
    return 0;
}

static bool is_wanted(const struct unpacking *u, struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry);
    return name && !strcmp(name, u->member) &&
           archive_entry_filetype(entry) == AE_IFREG && !archive_entry_hardlink(entry);
}

static int find_member(const struct unpacking *u)
{
    int64_t left = u->bytes + EXTRA_BYTES;
    for (int i = 0; i < MAX_MEMBERS; i++) {
        struct archive_entry *entry;
        int code = archive_read_next_header(u->archive, &entry);
        if (code == ARCHIVE_EOF)
            return err_set(u->e, ERR_CORRUPT, "the archive does not hold %s", u->member);
        if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
            return damaged(u);
        if (is_wanted(u, entry))
            return copy_member(u);
        int64_t size = archive_entry_size(entry);
        if (size < 0 || size > left)
            return err_set(u->e, ERR_CORRUPT, "the archive holds far more than %s",
                           u->member);
        left -= size;
        if (u->cancelled && u->cancelled(u->cancelled_arg))
            return err_set(u->e, ERR_CANCELLED, "the download was stopped");
    }
    return err_set(u->e, ERR_CORRUPT, "the archive has too many members");
}

int unpack_member(const char *archive_path, const char *member, uint64_t bytes, int fd,
                  bool (*cancelled)(void *arg), void *cancelled_arg, struct err *e)
{
    struct unpacking u = {.archive = archive_read_new(),
                          .member = member,
                          .bytes = (int64_t)bytes,
                          .fd = fd,
                          .cancelled = cancelled,
                          .cancelled_arg = cancelled_arg,
                          .e = e};
    if (!u.archive)
        return err_set(e, ERR_NOMEM, "out of memory");
    int status;
    if (archive_read_support_filter_gzip(u.archive) != ARCHIVE_OK ||
        archive_read_support_format_tar(u.archive) != ARCHIVE_OK ||
        archive_read_open_filename(u.archive, archive_path, BLOCK_BYTES) != ARCHIVE_OK)
        status = damaged(&u);
    else
        status = find_member(&u);
    archive_read_free(u.archive);
    return status;
}
