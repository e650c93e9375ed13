#include "base/config_secret.h"

#include "base/buf.h"
#include "base/fs.h"

#include <sys/stat.h>
#include <unistd.h>

static int one_line(struct buf *b, const char *path, struct err *e)
{
    if (b->length && b->data[b->length - 1] == '\n')
        b->data[--b->length] = '\0';
    if (b->length && b->data[b->length - 1] == '\r')
        b->data[--b->length] = '\0';
    if (!b->length)
        return err_set(e, ERR_INVALID, "%s is empty: put the secret in it", path);
    if (memchr(b->data, '\n', b->length) || memchr(b->data, '\0', b->length))
        return err_set(e, ERR_INVALID, "%s must hold one line, the secret, and no more",
                       path);
    return 0;
}

int config_secret_read(const char *path, char **out, bool *open_to_others, struct err *e)
{
    struct buf b;
    struct stat st;
    *out = NULL;
    *open_to_others = !stat(path, &st) && (st.st_mode & S_IROTH);
    buf_init(&b, CONFIG_SECRET_MAX);
    int status = fs_read(path, &b, e);
    if (!status)
        status = one_line(&b, path, e);
    if (!status && !(*out = buf_take(&b)))
        status = err_set(e, ERR_NOMEM, "out of memory");
    buf_release(&b);
    return status;
}

bool config_credential(const char *name, char *path, size_t size)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (!folder || *folder != '/')
        return false;
    int n = snprintf(path, size, "%s/%s", folder, name);
    return n > 0 && (size_t)n < size && !access(path, F_OK);
}
