#include "backup/made.h"

#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SUFFIX ".manifest"

void made_list_release(struct made_list *l)
{
    free(l->copies);
    *l = (struct made_list){0};
}

void made_name(int64_t time_ms, char out[MADE_NAME_SIZE])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm tm;
    char stamp[24];
    gmtime_r(&seconds, &tm);
    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    (void)snprintf(out, MADE_NAME_SIZE, "%s-%08x", stamp, randombytes_random());
}

bool made_name_parse(const char *name, int64_t *time_ms)
{
    static const char shape[] = "dddddddd'T'dddddd'Z-'xxxxxxxx";
    struct tm tm = {0};
    const char *p = name;
    bool literal = false;
    for (const char *s = shape; *s; s++) {
        if (*s == '\'') {
            literal = !literal;
            continue;
        }
        const char *allowed = *s == 'd' ? "0123456789" : "0123456789abcdef";
        if (literal ? *p != *s : !*p || !strchr(allowed, *p))
            return false;
        p++;
    }
    if (*p || !strptime(name, "%Y%m%dT%H%M%SZ", &tm))
        return false;
    *time_ms = (int64_t)timegm(&tm) * 1000;
    return true;
}

/* ---- which there are ------------------------------------------------------------- */

static int note(void *arg, const char *file, int64_t bytes, struct err *e)
{
    struct made_list *l = arg;
    struct made m = {0};
    size_t length = strlen(file), tail = strlen(SUFFIX);
    (void)bytes;
    if (length <= tail || strcmp(file + length - tail, SUFFIX) != 0 ||
        length - tail >= sizeof m.name)
        return 0;
    memcpy(m.name, file, length - tail);
    if (!made_name_parse(m.name, &m.time_ms))
        return 0;
    if (mem_grow(&l->copies, &l->capacity, l->count + 1, sizeof *l->copies))
        return err_set(e, ERR_NOMEM, "out of memory");
    l->copies[l->count++] = m;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct made *)a)->name, ((const struct made *)b)->name);
}

int made_list(struct vault *v, struct made_list *out, struct err *e)
{
    *out = (struct made_list){0};
    int status = depot_list(v->depot, "copies", note, out, e);
    if (status)
        made_list_release(out);
    else if (out->count)
        qsort(out->copies, out->count, sizeof *out->copies, by_name);
    return status;
}

/* ---- one of them ----------------------------------------------------------------- */

static void path_of(const char *name, char out[80])
{
    (void)snprintf(out, 80, "copies/%.39s" SUFFIX, name);
}

struct reading {
    struct seal_reader seal;
    struct buf text;
};

static int take_text(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct reading *r = arg;
    buf_add(&r->text, bytes, length);
    return buf_failed(&r->text) ? err_set(e, ERR_CORRUPT, "it is too large") : 0;
}

static int open_text(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct reading *r = arg;
    /* An encrypted one begins otherwise: say what is the matter. */
    bool sealed = length && *(const char *)bytes == SEAL_MAGIC[0];
    if (!r->text.length && !r->seal.begun && sealed && !r->seal.seal)
        return err_set(e, ERR_DENIED,
                       "it is encrypted: name the file of the key in BACKUP_KEY_FILE");
    if (!r->text.length && !r->seal.begun && length && *(const char *)bytes == '{' &&
        r->seal.seal)
        return err_set(e, ERR_DENIED,
                       "it is not encrypted: unset BACKUP_KEY_FILE to read it");
    return seal_read(&r->seal, bytes, length, e);
}

int made_read(struct vault *v, const char *name, struct manifest *out,
              unsigned char salt[SEAL_SALT], struct err *e)
{
    char path[80];
    struct reading r;
    path_of(name, path);
    buf_init(&r.text, MANIFEST_MAX);
    int status = seal_reader_begin(&r.seal, v->seal, take_text, &r, e);
    if (!status)
        status = depot_read(v->depot, path, open_text, &r, e);
    if (!status)
        status = seal_reader_end(&r.seal, e);
    if (!status && salt)
        memcpy(salt, r.seal.salt, SEAL_SALT);
    if (!status)
        status = manifest_parse(out, buf_cstr(&r.text), r.text.length, e);
    seal_reader_release(&r.seal);
    buf_release(&r.text);
    return status ? err_prefix(e, "the copy %s", name) : 0;
}

int made_write(struct vault *v, const char *name, const struct manifest *m, struct err *e)
{
    char path[80];
    struct buf text;
    struct object_writer w;
    struct manifest_file unused;
    path_of(name, path);
    buf_init(&text, MANIFEST_MAX);
    int status = manifest_compose(m, &text, e);
    if (!status)
        status = object_begin(&w, v, path, e);
    if (!status) {
        status = object_write(&w, buf_cstr(&text), text.length, e);
        if (!status)
            status = object_settle(&w, &unused, e);
        if (!status)
            status = object_keep(&w, e);
        object_release(&w);
    }
    buf_release(&text);
    return status;
}

/* ---- what is meant --------------------------------------------------------------- */

static int find_newest(struct vault *v, char name[MADE_NAME_SIZE], struct err *e)
{
    struct made_list l;
    int status = made_list(v, &l, e);
    if (status)
        return status;
    if (l.count)
        (void)snprintf(name, MADE_NAME_SIZE, "%s", l.copies[l.count - 1].name);
    else
        status = err_set(e, ERR_NOT_FOUND,
                         "there is no copy in %s: make one with "
                         "`backup`",
                         depot_name(v->depot));
    made_list_release(&l);
    return status;
}

/* "…/copies/NAME.manifest" → the folder, and the name. */
static bool split(const char *from, char folder[PATH_MAX], char name[MADE_NAME_SIZE])
{
    static const char middle[] = "/copies/";
    size_t length = strlen(from), tail = strlen(SUFFIX);
    const char *slash = strrchr(from, '/');
    size_t before = slash ? (size_t)(slash - from) + 1 : 0;
    if (length <= tail || strcmp(from + length - tail, SUFFIX) != 0 ||
        before < strlen(middle) || before >= PATH_MAX ||
        memcmp(from + before - strlen(middle), middle, strlen(middle)) != 0 ||
        length - tail - before >= MADE_NAME_SIZE)
        return false;
    (void)snprintf(folder, PATH_MAX, "%.*s", (int)(before - strlen(middle)), from);
    (void)snprintf(name, MADE_NAME_SIZE, "%.*s", (int)(length - tail - before),
                   from + before);
    return true;
}

int made_find(struct vault *v, const struct config *c, const char *from,
              char name[MADE_NAME_SIZE], struct err *e)
{
    char folder[PATH_MAX];
    int64_t time_ms;
    *v = (struct vault){0};
    *name = '\0';
    const char *where = NULL;
    if (from && strchr(from, '/'))
        where = split(from, folder, name) ? folder : from;
    else if (from && strcmp(from, "latest") != 0)
        (void)snprintf(name, MADE_NAME_SIZE, "%s", from);
    if (*name && !made_name_parse(name, &time_ms))
        return err_set(e, ERR_INVALID,
                       "\"%.60s\" is no copy's name: `backup list` shows them", from);
    int status = vault_open(v, c, where, false, e);
    if (!status && !*name)
        status = find_newest(v, name, e);
    if (status)
        vault_close(v);
    return status;
}
