#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int fs_mkdirs(const char *path, struct err *e)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return err_set(e, ERR_INVALID, "the folder name is empty or too long");
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, 0750) && errno != EEXIST)
            return err_errno(e, "cannot make the folder %s", part);
        if (i < length)
            part[i] = '/';
    }
    struct stat st;
    if (stat(path, &st))
        return err_errno(e, "cannot open the folder %s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_INVALID, "%s is a file where a folder is needed", path);
    return 0;
}

int fs_read(const char *path, struct buf *out, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open %s", path);
    int status = 0;
    char block[65536];
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = err_errno(e, "cannot read %s", path);
        if (n <= 0)
            break;
        buf_add(out, block, (size_t)n);
        if (buf_failed(out)) {
            status = err_set(e, ERR_TOO_LARGE, "%s is larger than %zu bytes", path,
                             out->maximum);
            break;
        }
    }
    close(fd);
    return status;
}

int fs_write_all(int fd, const void *bytes, size_t length, struct err *e)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t n = write(fd, at, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "cannot write");
        at += n;
        length -= (size_t)n;
    }
    return 0;
}

int fs_open_unnamed(const char *folder, const char *prefix, struct err *e)
{
    char path[PATH_MAX];
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    /* Not every file system has O_TMPFILE (NFS, overlay on old kernels). */
    if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL) {
        int n = snprintf(path, sizeof path, "%s/%sXXXXXX", folder, prefix);
        if (n < 0 || (size_t)n >= sizeof path)
            return err_set(e, ERR_INVALID, "the name of the scratch folder is too long");
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) {
            unlink(path);
            return fd;
        }
    }
    return err_errno(e, "cannot make a scratch file in %s", folder);
}

int fs_sync_folder_of(const char *path, struct err *e)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 1;
    if (length >= sizeof folder)
        return err_set(e, ERR_INVALID, "the path is too long");
    memcpy(folder, slash ? path : ".", length);
    folder[length] = '\0';
    int fd = open(length ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open the folder of %s", path);
    int status = 0;
    if (fsync(fd) && errno != EINVAL)
        status = err_errno(e, "cannot sync the folder of %s", path);
    close(fd);
    return status;
}

int fs_rename_durable(const char *from, const char *to, struct err *e)
{
    if (rename(from, to))
        return err_errno(e, "cannot rename %s to %s", from, to);
    return fs_sync_folder_of(to, e);
}

int fs_write_atomic(const char *path, const void *bytes, size_t length, struct err *e)
{
    char part[PATH_MAX];
    int n = snprintf(part, sizeof part, "%s.%d.part", path, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof part)
        return err_set(e, ERR_INVALID, "the path is too long");
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_errno(e, "cannot create %s", part);
    int status = fs_write_all(fd, bytes, length, e);
    if (!status && fsync(fd))
        status = err_errno(e, "cannot sync %s", part);
    if (close(fd) && !status)
        status = err_errno(e, "cannot close %s", part);
    if (!status)
        status = fs_rename_durable(part, path, e);
    if (status)
        unlink(part);
    return status;
}

int fs_space(const char *path, uint64_t *free_bytes, uint64_t *all_bytes, struct err *e)
{
    struct statvfs vfs;
    if (statvfs(path, &vfs))
        return err_errno(e, "cannot ask for the free space at %s", path);
    *free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    *all_bytes = (uint64_t)(vfs.f_blocks - vfs.f_bfree + vfs.f_bavail) * vfs.f_frsize;
    return 0;
}

int fs_free_bytes(const char *path, uint64_t *out, struct err *e)
{
    uint64_t all;
    return fs_space(path, out, &all, e);
}
