/* Settings that make no sense together. Nothing is asked of the machine here: what has to
 * be tried, `check` tries.
 *
 * A default contradicts nothing: only what somebody wrote does. */
#include "base/config_checks.h"
#include "base/config_table.h"
#include "base/mem.h"

#include <limits.h>
#include <unistd.h>

typedef int rule(const struct config *c, struct err *e);

static bool was_set(const struct config *c, const char *name)
{
    size_t index = 0;
    return config_find(name, &index) && c->sources[index].origin != FROM_DEFAULT;
}

/* Written, and not what it would be anyway: the example of a settings file holds every
 * default. */
static bool was_changed(const struct config *c, const char *name)
{
    char value[64];
    size_t index = 0;
    const struct setting *s = config_find(name, &index);
    if (!s || !was_set(c, name))
        return false;
    config_value(c, s, false, value, sizeof value);
    return !s->default_value || strcmp(value, s->default_value) != 0;
}

static bool starts(const char *text, const char *prefix)
{
    return text && !strncmp(text, prefix, strlen(prefix));
}

/* ---- doors ----------------------------------------------------------------------- */

static int one_port(const struct config *c, struct err *e)
{
    const char *host = c->wyoming_host ? c->wyoming_host : c->host;
    if (!c->wyoming_port || c->wyoming_port != c->port || strcmp(host, c->host) != 0)
        return 0;
    return err_set(e, ERR_INVALID,
                   "PORT and WYOMING_PORT are both %lld: give one of them another number",
                   (long long)c->port);
}

static int no_wyoming(const struct config *c, struct err *e)
{
    if (!c->wyoming_host || c->wyoming_port)
        return 0;
    return err_set(e, ERR_INVALID,
                   "WYOMING_HOST is set, but that door is closed: set "
                   "WYOMING_PORT, too (10300), or unset WYOMING_HOST");
}

static int no_proxy(const struct config *c, struct err *e)
{
    const char *name = was_changed(c, "AUTH_PROXY_HEADER") ? "AUTH_PROXY_HEADER"
                       : c->auth_proxy_scopes_header       ? "AUTH_PROXY_SCOPES_HEADER"
                                                           : NULL;
    if (!name || c->auth == AUTH_PROXY)
        return 0;
    return err_set(e, ERR_INVALID,
                   "%s counts only with AUTH=proxy: set that, or unset %s", name, name);
}

static int too_many_each(const struct config *c, struct err *e)
{
    if (!was_set(c, "MAX_CONNECTIONS") || !was_set(c, "MAX_CONNECTIONS_PER_CLIENT") ||
        c->max_connections_per_client <= c->max_connections)
        return 0;
    return err_set(e, ERR_INVALID,
                   "MAX_CONNECTIONS_PER_CLIENT is %lld, which is more than "
                   "MAX_CONNECTIONS, %lld: one client could take all; lower the first",
                   (long long)c->max_connections_per_client,
                   (long long)c->max_connections);
}

/* ---- database and queue ---------------------------------------------------------- */

static int nobody_works(const struct config *c, struct err *e)
{
    if (c->embedded_workers || !starts(c->database_url, "sqlite:"))
        return 0;
    return err_set(e, ERR_INVALID,
                   "EMBEDDED_WORKERS=off needs a database that several processes can "
                   "share, for nobody would transcribe: set DATABASE_URL=postgresql://…, "
                   "or EMBEDDED_WORKERS=on");
}

static int no_tls(const struct config *c, struct err *e)
{
    if (!c->redis_ca_file || starts(c->redis_url, "rediss://"))
        return 0;
    return err_set(e, ERR_INVALID,
                   "REDIS_CA_FILE counts only with a rediss:// address: set "
                   "REDIS_URL=rediss://…, or unset REDIS_CA_FILE");
}

/* ---- storage --------------------------------------------------------------------- */

/* Only our own names: AWS_… may be there for other programs. */
static const char *bucket_setting(const struct config *c)
{
    static const char *const names[] = {
        "S3_ENDPOINT",      "S3_REGION",     "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY",
        "S3_SESSION_TOKEN", "S3_PATH_STYLE", "S3_CA_FILE"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        size_t index = 0;
        if (config_find(names[i], &index) && was_changed(c, names[i]) &&
            !strcmp(c->sources[index].variable, names[i]))
            return names[i];
    }
    return NULL;
}

/* Recordings, or copies of them. */
static bool has_bucket(const struct config *c)
{
    return starts(c->storage_url, "s3://") || starts(c->backup_dir, "s3://");
}

static int no_bucket(const struct config *c, struct err *e)
{
    const char *name = bucket_setting(c);
    if (!name || has_bucket(c))
        return 0;
    return err_set(e, ERR_INVALID,
                   "%s is set, but nothing is kept in object storage: set "
                   "STORAGE_URL=s3://BUCKET, or unset %s",
                   name, name);
}

static int half_a_key(const struct config *c, struct err *e)
{
    if (!has_bucket(c) || !c->s3_key_id == !c->s3_secret)
        return 0;
    return err_set(e, ERR_INVALID,
                   "%s is set without %s: a key has both, so set that, too",
                   c->s3_key_id ? "S3_ACCESS_KEY_ID" : "S3_SECRET_ACCESS_KEY",
                   c->s3_key_id ? "S3_SECRET_ACCESS_KEY" : "S3_ACCESS_KEY_ID");
}

static int kept_longer(const struct config *c, struct err *e)
{
    int64_t uploads = c->upload_retention_days, jobs = c->transcript_retention_days;
    if (!was_set(c, "UPLOAD_RETENTION_DAYS") ||
        !was_set(c, "TRANSCRIPT_RETENTION_DAYS") || jobs == 0 ||
        (uploads != 0 && uploads <= jobs))
        return 0;
    return err_set(e, ERR_INVALID,
                   "UPLOAD_RETENTION_DAYS is %lld%s, but a recording goes with its "
                   "transcript, after TRANSCRIPT_RETENTION_DAYS (%lld): raise that, or "
                   "lower UPLOAD_RETENTION_DAYS",
                   (long long)uploads, uploads ? "" : ", for ever", (long long)jobs);
}

/* An absolute path without doubled or final slashes, "." or ".."; links are not followed,
 * for the folder may not exist yet. */
static bool plain_path(const char *path, char out[PATH_MAX])
{
    char all[2 * PATH_MAX + 2], here[PATH_MAX] = "";
    if (*path != '/' && !getcwd(here, sizeof here))
        return false;
    int n = snprintf(all, sizeof all, "%s/%s", here, path);
    size_t at = 0;
    if (n < 0 || (size_t)n >= PATH_MAX)
        return false;
    for (const char *p = all; *p;) {
        p += strspn(p, "/");
        size_t length = strcspn(p, "/");
        if (length == 2 && !strncmp(p, "..", 2)) {
            while (at > 0 && out[--at] != '/')
                ;
        } else if (length > 0 && !(length == 1 && *p == '.')) {
            out[at++] = '/';
            memcpy(out + at, p, length);
            at += length;
        }
        p += length;
    }
    out[at] = '\0';
    return at > 0;
}

static bool lies_in(const char *inner, const char *outer)
{
    size_t n = strlen(outer);
    return !strncmp(inner, outer, n) && (inner[n] == '\0' || inner[n] == '/');
}

/* A copy that goes with what it is a copy of is none; and copies in the storage would be
 * copied. */
static int copies_inside(const struct config *c, struct err *e)
{
    char copies[PATH_MAX], storage[PATH_MAX];
    const char *folder =
        starts(c->storage_url, "file://") ? c->storage_url + 7 : c->storage_dir;
    if (!c->backup_dir || starts(c->backup_dir, "s3://") ||
        starts(c->storage_url, "s3://") || !plain_path(c->backup_dir, copies) ||
        !plain_path(folder, storage))
        return 0;
    if (lies_in(copies, storage))
        return err_set(e, ERR_INVALID,
                       "BACKUP_DIR (%s) lies in the storage (%s), of which it is to hold "
                       "copies: take a folder elsewhere, best on another disk",
                       c->backup_dir, folder);
    if (lies_in(storage, copies))
        return err_set(e, ERR_INVALID,
                       "the storage (%s) lies in BACKUP_DIR (%s): take another folder "
                       "for one of them",
                       folder, c->backup_dir);
    return 0;
}

/* Uploads would be refused before anything that has expired is removed for them. */
static int stop_before_low(const struct config *c, struct err *e)
{
    if (!was_set(c, "DISK_LOW_PERCENT") || !was_set(c, "DISK_STOP_PERCENT") ||
        c->disk_stop_percent <= c->disk_low_percent)
        return 0;
    return err_set(e, ERR_INVALID,
                   "DISK_STOP_PERCENT is %lld, above DISK_LOW_PERCENT (%lld): uploads "
                   "would be refused before what has expired makes room; raise "
                   "DISK_LOW_PERCENT, or lower DISK_STOP_PERCENT",
                   (long long)c->disk_stop_percent, (long long)c->disk_low_percent);
}

int config_contradictions(const struct config *c, struct err *e)
{
    static rule *const rules[] = {
        one_port,  no_wyoming, no_proxy,    too_many_each, nobody_works,   no_tls,
        no_bucket, half_a_key, kept_longer, copies_inside, stop_before_low};
    int status = 0;
    for (size_t i = 0; !status && i < ARRAY_LENGTH(rules); i++)
        status = rules[i](c, e);
    return status;
}
