#include "backup/manifest.h"

#include "base/json_text.h"
#include "base/mem.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define PRODUCT   "whisper-transcriber backup"
#define HASH_LINE "sha256 "
#define TAIL      (sizeof HASH_LINE - 1 + 64 + 1)

static const char *const roles[ROLE_COUNT] = {"database", "recording", "settings"};

const char *manifest_role_name(enum manifest_role role)
{
    return roles[role];
}

void manifest_release(struct manifest *m)
{
    if (!m)
        return;
    free(m->files);
    free(m->missing);
    *m = (struct manifest){0};
}

int manifest_add(struct manifest *m, const struct manifest_file *f, struct err *e)
{
    if (mem_grow(&m->files, &m->capacity, m->n_files + 1, sizeof *m->files))
        return err_set(e, ERR_NOMEM, "out of memory");
    m->files[m->n_files++] = *f;
    return 0;
}

int manifest_miss(struct manifest *m, const char *id, struct err *e)
{
    if (mem_grow(&m->missing, &m->missing_capacity, m->n_missing + 1, ID_SIZE))
        return err_set(e, ERR_NOMEM, "out of memory");
    (void)snprintf(m->missing[m->n_missing++], ID_SIZE, "%s", id);
    return 0;
}

const struct manifest_file *manifest_find(const struct manifest *m,
                                          enum manifest_role role)
{
    for (size_t i = 0; i < m->n_files; i++)
        if (m->files[i].role == role)
            return &m->files[i];
    return NULL;
}

int64_t manifest_bytes(const struct manifest *m)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < m->n_files; i++)
        if (__builtin_add_overflow(bytes, m->files[i].bytes, &bytes))
            return INT64_MAX;
    return bytes;
}

/* ---- writing --------------------------------------------------------------------- */

static json_t *present_file(const struct manifest_file *f)
{
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:I}", "role", roles[f->role], "object",
                          f->object, "bytes", (json_int_t)f->bytes, "sha256", f->sha256,
                          "stored", (json_int_t)f->stored);
    if (o && f->role == ROLE_RECORDING)
        json_object_set_new(o, "id", json_string(f->id));
    return o;
}

static json_t *present(const struct manifest *m)
{
    json_t *files = json_array(), *missing = json_array();
    bool failed = !files || !missing;
    for (size_t i = 0; !failed && i < m->n_files; i++)
        failed = json_array_append_new(files, present_file(&m->files[i])) != 0;
    for (size_t i = 0; !failed && i < m->n_missing; i++)
        failed = json_array_append_new(missing, json_string(m->missing[i])) != 0;
    if (failed) {
        json_decref(files);
        json_decref(missing);
        return NULL;
    }
    return json_pack("{s:s, s:i, s:s, s:I, s:{s:s, s:i, s:I, s:I, s:I}, s:o, s:o}",
                     "product", PRODUCT, "format", MANIFEST_FORMAT, "version", m->version,
                     "time_ms", (json_int_t)m->time_ms, "database", "kind", m->kind,
                     "schema", m->schema, "jobs", (json_int_t)m->counts.jobs,
                     "transcripts", (json_int_t)m->counts.transcripts, "keys",
                     (json_int_t)m->counts.keys, "missing", missing, "files", files);
}

static void hash_of(const char *text, size_t length, char out[65])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, (const unsigned char *)text, length);
    sodium_bin2hex(out, 65, digest, sizeof digest);
}

int manifest_compose(const struct manifest *m, struct buf *out, struct err *e)
{
    char hash[65];
    json_t *o = present(m);
    char *text = o ? json_text(o, JSON_INDENT(1)) : NULL;
    json_decref(o);
    if (text) {
        buf_str(out, text);
        buf_char(out, '\n');
        hash_of(buf_cstr(out), out->length, hash);
        buf_printf(out, HASH_LINE "%s\n", hash);
    }
    bool failed = !text || buf_failed(out);
    free(text);
    return failed ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

/* ---- reading --------------------------------------------------------------------- */

static int damaged(struct err *e)
{
    return err_set(e, ERR_CORRUPT, "the manifest of the copy is damaged");
}

static bool is_hash(const char *text)
{
    return text && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static bool take_number(const json_t *o, const char *key, int64_t *out)
{
    const json_t *v = json_object_get(o, key);
    *out = json_integer_value(v);
    return json_is_integer(v) && *out >= 0;
}

static bool take_text(const json_t *o, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(o, key));
    if (!text || strlen(text) >= size)
        return false;
    (void)snprintf(out, size, "%s", text);
    return true;
}

static bool take_file(const json_t *o, struct manifest_file *f)
{
    const char *role = json_string_value(json_object_get(o, "role"));
    *f = (struct manifest_file){.role = ROLE_COUNT};
    for (int i = 0; role && i < ROLE_COUNT; i++)
        if (!strcmp(role, roles[i]))
            f->role = (enum manifest_role)i;
    if (f->role == ROLE_COUNT)
        return false;
    bool named = f->role != ROLE_RECORDING ||
                 (take_text(o, "id", f->id, sizeof f->id) && id_valid(f->id));
    return named && take_text(o, "object", f->object, sizeof f->object) &&
           take_text(o, "sha256", f->sha256, sizeof f->sha256) && is_hash(f->object) &&
           is_hash(f->sha256) && take_number(o, "bytes", &f->bytes) &&
           take_number(o, "stored", &f->stored);
}

static int by_id(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Each recording once: two of one id would take each other's place. */
static bool are_distinct(const struct manifest *m)
{
    const char **ids = mem_array(m->n_files, sizeof *ids);
    bool distinct = ids != NULL;
    for (size_t i = 0; distinct && i < m->n_files; i++)
        ids[i] = m->files[i].id;
    if (distinct)
        qsort(ids, m->n_files, sizeof *ids, by_id);
    for (size_t i = 1; distinct && i < m->n_files; i++)
        distinct = !*ids[i] || strcmp(ids[i - 1], ids[i]) != 0;
    free(ids);
    return distinct;
}

static int take_files(const json_t *o, struct manifest *m, struct err *e)
{
    const json_t *files = json_object_get(o, "files"), *v;
    const json_t *missing = json_object_get(o, "missing");
    size_t i, count[ROLE_COUNT] = {0};
    int status = json_is_array(files) && json_is_array(missing) ? 0 : damaged(e);
    json_array_foreach(files, i, v)
    {
        struct manifest_file f;
        if (!status && !take_file(v, &f))
            status = damaged(e);
        if (!status) {
            count[f.role]++;
            status = manifest_add(m, &f, e);
        }
    }
    json_array_foreach(missing, i, v)
    {
        if (!status && (!json_is_string(v) || !id_valid(json_string_value(v))))
            status = damaged(e);
        if (!status)
            status = manifest_miss(m, json_string_value(v), e);
    }
    if (!status &&
        (count[ROLE_DATABASE] != 1 || count[ROLE_SETTINGS] > 1 || !are_distinct(m)))
        status = damaged(e);
    return status;
}

static int take_all(const json_t *o, struct manifest *m, struct err *e)
{
    const json_t *db = json_object_get(o, "database");
    int64_t format = 0, schema = 0;
    char product[64];
    if (!take_text(o, "product", product, sizeof product) ||
        strcmp(product, PRODUCT) != 0 || !take_number(o, "format", &format))
        return damaged(e);
    (void)take_text(o, "version", m->version, sizeof m->version);
    if (format > MANIFEST_FORMAT)
        return err_set(e, ERR_UNSUPPORTED,
                       "the copy was made by a newer version of this program (%s, format "
                       "%lld): install that version to use it",
                       m->version, (long long)format);
    if (!m->version[0] || !take_number(o, "time_ms", &m->time_ms) ||
        !take_text(db, "kind", m->kind, sizeof m->kind) ||
        !take_number(db, "schema", &schema) || schema > 1000000 ||
        !take_number(db, "jobs", &m->counts.jobs) ||
        !take_number(db, "transcripts", &m->counts.transcripts) ||
        !take_number(db, "keys", &m->counts.keys))
        return damaged(e);
    m->schema = (int)schema;
    return take_files(o, m, e);
}

int manifest_parse(struct manifest *out, const char *text, size_t length, struct err *e)
{
    char hash[65];
    if (length < TAIL || length > MANIFEST_MAX)
        return damaged(e);
    const char *tail = text + length - TAIL;
    hash_of(text, length - TAIL, hash);
    if (memcmp(tail, HASH_LINE, strlen(HASH_LINE)) != 0 ||
        memcmp(tail + strlen(HASH_LINE), hash, 64) != 0 || text[length - 1] != '\n')
        return damaged(e);
    json_t *o = json_loadb(text, length - TAIL, JSON_REJECT_DUPLICATES, NULL);
    struct manifest m = {0};
    int status = json_is_object(o) ? take_all(o, &m, e) : damaged(e);
    json_decref(o);
    if (status)
        manifest_release(&m);
    else
        *out = m;
    return status;
}
