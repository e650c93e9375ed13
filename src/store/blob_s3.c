#include "store/blob_s3.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sodium.h>
#include <unistd.h>

/* How long a bucket that took a probe is not asked again. */
#define READY_NS INT64_C(15000000000)
/* The same for one that did not. */
#define AWAY_NS  INT64_C(1000000000)

#define STORE(s) ((struct s3_store *)(s))

/* ---- the bucket -------------------------------------------------------------------- */

static char *with_slash(const char *prefix)
{
    struct buf b;
    buf_init(&b, 600);
    while (*prefix == '/')
        prefix++;
    buf_str(&b, prefix);
    if (*prefix && prefix[strlen(prefix) - 1] != '/')
        buf_char(&b, '/');
    char *text = buf_take(&b);
    buf_release(&b);
    return text;
}

int blob_store_open_s3(struct blob_store **out, const struct s3_options *options,
                       const char *prefix, const char *scratch, struct err *e)
{
    *out = NULL;
    struct s3_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    s->base.ops = &blob_s3_ops;
    s->base.remote = true;
    s->base.scratch = strdup(scratch);
    s->prefix = with_slash(prefix);
    int status = s->base.scratch && s->prefix ? fs_mkdirs(scratch, e)
                                              : err_set(e, ERR_NOMEM, "out of memory");
    if (!status)
        status = s3_open(&s->s3, options, e);
    if (status) {
        blob_store_close(&s->base);
        return status;
    }
    *out = &s->base;
    return 0;
}

static void s3_store_close(struct blob_store *base)
{
    s3_close(STORE(base)->s3);
    free(STORE(base)->prefix);
    free(base);
}

static const char *name(const struct blob_store *base)
{
    return s3_name(((const struct s3_store *)base)->s3);
}

static void stop(struct blob_store *base)
{
    s3_stop(STORE(base)->s3);
}

static int make_key(char key[S3_KEY_SIZE], struct err *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int make_key(char key[S3_KEY_SIZE], struct err *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(key, S3_KEY_SIZE, format, args);
    va_end(args);
    return n > 0 && n < S3_KEY_SIZE
               ? 0
               : err_set(e, ERR_INVALID, "the prefix in STORAGE_URL is too long");
}

int s3_blob_key(const struct s3_store *s, const char *id, char key[S3_KEY_SIZE],
                struct err *e)
{
    return make_key(key, e, "%suploads/%s", s->prefix, id);
}

int s3_piece_key(const struct s3_store *s, const char *id, const struct blob_piece *piece,
                 char key[S3_KEY_SIZE], struct err *e)
{
    return make_key(key, e, "%sparts/%s.%s", s->prefix, id, piece->token);
}

/* ---- reading ----------------------------------------------------------------------- */

static int size(struct blob_store *base, const char *id, int64_t *bytes, struct err *e)
{
    char key[S3_KEY_SIZE];
    int status = s3_blob_key(STORE(base), id, key, e);
    return status ? status : s3_size(STORE(base)->s3, key, bytes, e);
}

static int read_blob(struct blob_store *base, const char *id, int64_t first,
                     int64_t length, blob_data_fn data, void *arg, struct err *e)
{
    char key[S3_KEY_SIZE];
    int status = s3_blob_key(STORE(base), id, key, e);
    return status ? status : s3_get(STORE(base)->s3, key, first, length, data, arg, e);
}

static int add_bytes(void *arg, const void *bytes, size_t length, struct err *e)
{
    return fs_write_all(*(int *)arg, bytes, length, e);
}

/* Not by its size first: who is asked for a head says nothing of why it is not there, and
 * a job would fail for a proxy that is wrong. */
static int open_blob(struct blob_store *base, const char *id, struct err *e)
{
    int fd = fs_open_unnamed(base->scratch, "fetched-", e);
    if (fd < 0)
        return fd;
    int status = read_blob(base, id, 0, -1, add_bytes, &fd, e);
    if (!status)
        return fd;
    close(fd);
    return status;
}

/* ---- going, and whether all is well ------------------------------------------------ */

static int remove_blob(struct blob_store *base, const char *id, struct err *e)
{
    char key[S3_KEY_SIZE];
    int status = s3_blob_key(STORE(base), id, key, e);
    return status ? status : s3_delete(STORE(base)->s3, key, e);
}

static int check_probe(void *arg, const void *bytes, size_t length, struct err *e)
{
    size_t *left = arg;
    (void)e;
    *left = length == *left && !memcmp(bytes, "ok", 2) ? 0 : *left;
    return 0;
}

static int try(struct blob_store *base, struct err *e)
{
    struct s3_store *s = STORE(base);
    char key[S3_KEY_SIZE], token[BLOB_TOKEN_SIZE];
    size_t left = 2;
    int64_t bytes = 0;
    blob_token(token);
    int status = make_key(key, e, "%sprobe/%s", s->prefix, token);
    if (!status)
        status = s3_put(s->s3, key, "ok", 2, e);
    if (status)
        return status;
    status = s3_size(s->s3, key, &bytes, e);
    if (!status)
        status = s3_get(s->s3, key, 0, 2, check_probe, &left, e);
    if (!status && (left || bytes != 2))
        status =
            err_set(e, ERR_IO, "%s: what it keeps is not what was sent", s3_name(s->s3));
    int gone = s3_delete(s->s3, key, status ? NULL : e);
    return status ? status : gone;
}

/* Whether the bucket still answers, which costs one small request: what is asked for is
 * not there, and who may not know that is refused, which is an answer, too. */
static int answers(struct s3_store *s, struct err *e)
{
    char key[S3_KEY_SIZE];
    int64_t bytes;
    struct err why = {0};
    int status = make_key(key, e, "%sprobe/none", s->prefix);
    if (!status)
        status = s3_size(s->s3, key, &bytes, &why);
    if (!status || status == ERR_NOT_FOUND || status == ERR_DENIED)
        return 0;
    if (e)
        *e = why;
    return status;
}

/* Asked by probes every few seconds: a bucket is tried in whole now and then only. */
static int ready(struct blob_store *base, struct err *e)
{
    struct s3_store *s = STORE(base);
    int64_t now = clock_monotonic_ns();
    if (now < atomic_load(&s->ready_ns))
        return answers(s, e);
    if (now < atomic_load(&s->away_ns))
        return err_set(e, ERR_IO, "%s: it did not take anything a moment ago",
                       s3_name(s->s3));
    int status = try(base, e);
    if (status)
        atomic_store(&s->away_ns, clock_monotonic_ns() + AWAY_NS);
    else
        atomic_store(&s->ready_ns, now + READY_NS);
    return status;
}

const struct blob_ops blob_s3_ops = {
    .close = s3_store_close,
    .name = name,
    .stop = stop,
    .begin = s3_writer_begin,
    .resume = s3_writer_resume,
    .write = s3_writer_write,
    .sync = s3_writer_sync,
    .sync_is_due = s3_writer_sync_is_due,
    .kept = s3_writer_kept,
    .finish = s3_writer_finish,
    .abort = s3_writer_abort,
    .release = s3_writer_release,
    .writer_new = s3_writer_new,
    .discard = s3_discard,
    .read_part = s3_read_part,
    .size = size,
    .read = read_blob,
    .open = open_blob,
    .writable = ready,
    .remove = remove_blob,
    .sweep = s3_sweep,
    .ready = ready,
    .try = try,
};
