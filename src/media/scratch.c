#include "media/scratch.h"

#include "media/decode.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

const char *scratch_default(void)
{
    const char *folder = getenv("TMPDIR");
    return folder && *folder ? folder : "/tmp";
}

int scratch_open(const char *folder, struct err *e)
{
    return fs_open_unnamed(folder ? folder : scratch_default(), "samples-", e);
}

static int copy_all(int from, int to, size_t max_bytes, struct err *e)
{
    enum { BLOCK = 1 << 16 };
    char *block = malloc(BLOCK);
    if (!block)
        return err_set(e, ERR_NOMEM, "no memory to read the input");
    size_t total = 0;
    int rc = 0;
    while (!rc) {
        ssize_t n = read(from, block, BLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = err_errno(e, "cannot read the input");
        if (n <= 0)
            break;
        if ((size_t)n > max_bytes - total) {
            rc = err_set(e, ERR_TOO_LARGE, "the input is larger than the limit of %zu MB",
                         max_bytes >> 20);
            break;
        }
        total += (size_t)n;
        rc = fs_write_all(to, block, (size_t)n, e);
        if (rc)
            err_prefix(e, "the scratch file for the input");
    }
    free(block);
    return rc;
}

int media_spool(int fd, const char *scratch_dir, size_t max_bytes, struct err *e)
{
    int out = scratch_open(scratch_dir, e);
    if (out < 0)
        return out;
    int rc = copy_all(fd, out, max_bytes, e);
    if (rc) {
        close(out);
        return rc;
    }
    lseek(out, 0, SEEK_SET);
    return out;
}

void pcm_release(struct pcm *p)
{
    if (p->samples)
        munmap(p->samples, p->mapped_bytes);
    *p = (struct pcm){0};
}
