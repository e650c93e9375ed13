/* One table of settings: what they are called, what they may be and what they mean.
 *
 * Environment, file, command line, `doctor`, the manual page and docs/settings.md are all
 * read from it, so none of them can drift from the others. */
#include "base/config.h"

#include "base/config_checks.h"
#include "base/config_table.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/near.h"

#include <errno.h>
#include <stddef.h>
#include <strings.h>

/* ---- the table ------------------------------------------------------------------- */

static const char *const level_choices[] = {"DEBUG", "INFO", "WARNING", "ERROR", NULL};
static const char *const log_format_choices[] = {"text", "json", NULL};
static const char *const off_on_choices[] = {"off", "on", NULL};
static const char *const auth_choices[] = {"auto", "off", "key", "proxy", NULL};

static const char *const path_style_choices[] = {"auto", "on", "off", NULL};

#define PATH_ALLOWED "a path"
#define HOSTS_ALLOWED                                                                    \
    "names, addresses, networks or loopback, each with :PORT or without, separated by "  \
    "commas"
#define FIELD(field) offsetof(struct config, field)
#define DAYS_ALLOWED 0, 36500

static const struct setting settings[] = {
    {"HOST", NULL, SETTING_TEXT, FIELD(host), "127.0.0.1", 0, 0, NULL,
     setting_is_printable, "an address or a host name",
     "address to listen on; 0.0.0.0 for every network"},
    {"PORT", NULL, SETTING_INTEGER, FIELD(port), "8000", 0, 65535, NULL, NULL, NULL,
     "port to listen on; 0 takes any that is free"},
    {"DATABASE_URL", NULL, SETTING_TEXT, FIELD(database_url), "sqlite:///data/app.db", 0,
     0, NULL, setting_is_database_url, "sqlite:///PATH or postgresql://…",
     "where jobs are kept; several processes may share a PostgreSQL database (12 or "
     "later, UTF-8)"},
    {"DATABASE_CONNECTIONS", NULL, SETTING_INTEGER, FIELD(database_connections), "8", 2,
     200, NULL, NULL, NULL,
     "connections to PostgreSQL at most, and one to listen; what needs more waits"},
    {"REDIS_URL", NULL, SETTING_TEXT, FIELD(redis_url), NULL, 0, 0, NULL,
     setting_is_redis_url,
     "redis://[user:password@]host:port/db, rediss://… or unix:///path?db=N",
     "the queue that several machines share; unset: the embedded queue"},
    {"WHISPER_MODEL_DIR", NULL, SETTING_TEXT, FIELD(model_dir), "models", 0, 0, NULL,
     setting_is_printable, PATH_ALLOWED, "folder of the models"},
    {"DEFAULT_WHISPER_MODEL", NULL, SETTING_TEXT, FIELD(default_model), NULL, 0, 0, NULL,
     setting_is_model_name, "a model's name, such as small or large-v3-turbo",
     "model of a request that names none; unset: small, else the best that is present"},
    {"WHISPER_LANGUAGE", NULL, SETTING_TEXT, FIELD(language), "auto", 0, 0, NULL,
     setting_is_language_word, "a language code, an English name, or auto",
     "language of a request that names none"},
    {"WORKER_CONCURRENCY", "CELERY_CONCURRENCY", SETTING_INTEGER,
     FIELD(worker_concurrency), "0", 0, 1024, NULL, NULL, NULL,
     "transcriptions at once; 0: one for every four processors, 4 at most"},
    {"WORKER_THREADS", NULL, SETTING_INTEGER, FIELD(worker_threads), "0", 0, 1024, NULL,
     NULL, NULL, "threads of one transcription; 0: the processors shared out evenly"},
    {"EMBEDDED_WORKERS", NULL, SETTING_BOOLEAN, FIELD(embedded_workers), "on", 0, 0,
     off_on_choices, NULL, NULL,
     "whether `serve` transcribes itself; off: `worker` processes elsewhere do, with the "
     "same PostgreSQL database"},
    {"CELERY_WORKER_PREFETCH_MULTIPLIER", NULL, SETTING_INTEGER, FIELD(prefetch), "1", 0,
     1000, NULL, NULL, NULL, "jobs that a worker holds beyond those it runs"},
    {"CELERY_TASK_TIME_LIMIT", "WHISPER_TIMEOUT_SECONDS", SETTING_INTEGER,
     FIELD(time_limit_seconds), "7200", 1, 2592000, NULL, NULL, NULL,
     "seconds that a job may run"},
    {"MAX_FILE_SIZE_MB", NULL, SETTING_INTEGER, FIELD(max_file_size_mb), "500", 1,
     1048576, NULL, NULL, NULL, "largest upload, in MiB"},
    {"MAX_AUDIO_SECONDS", NULL, SETTING_INTEGER, FIELD(max_audio_seconds), "28800", 1,
     864000, NULL, NULL, NULL, "longest recording"},
    {"ALLOWED_AUDIO_FORMATS", NULL, SETTING_TEXT, FIELD(allowed_formats),
     ALL_AUDIO_FORMATS, 0, 0, NULL, setting_is_format_list,
     "formats from this list, or other names of theirs, separated by "
     "commas: " ALL_AUDIO_FORMATS,
     "formats that are accepted, judged by content and not by name"},
    {"STORAGE_DIR", NULL, SETTING_TEXT, FIELD(storage_dir), "storage", 0, 0, NULL,
     setting_is_printable, PATH_ALLOWED, "folder of uploads and transcripts"},
    {"STORAGE_URL", NULL, SETTING_TEXT, FIELD(storage_url), NULL, 0, 0, NULL,
     setting_is_storage_url, "s3://BUCKET, s3://BUCKET/PREFIX or file:///PATH",
     "where recordings are kept; unset: in STORAGE_DIR"},
    {"SCRATCH_DIR", NULL, SETTING_TEXT, FIELD(scratch_dir), NULL, 0, 0, NULL,
     setting_is_printable, PATH_ALLOWED,
     "folder on a disk of this machine for what is being decoded; unset: scratch in "
     "STORAGE_DIR, or with object storage TMPDIR, else /var/tmp"},
    {"S3_ENDPOINT", NULL, SETTING_TEXT, FIELD(s3_endpoint), NULL, 0, 0, NULL,
     setting_is_url, "http://HOST:PORT or https://HOST:PORT",
     "the server of object storage; unset: AWS_ENDPOINT_URL, else Amazon's",
     "AWS_ENDPOINT_URL"},
    {"S3_REGION", NULL, SETTING_TEXT, FIELD(s3_region), "us-east-1", 0, 0, NULL,
     setting_is_model_name, "a region's name", "region of the bucket", "AWS_REGION"},
    {"S3_ACCESS_KEY_ID", NULL, SETTING_TEXT, FIELD(s3_key_id), NULL, 0, 0, NULL,
     setting_is_key_id, "the name of a key",
     "key for the bucket; unset: AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"},
    {"S3_SECRET_ACCESS_KEY", NULL, SETTING_TEXT, FIELD(s3_secret), NULL, 0, 0, NULL,
     setting_is_secret, "8 to 256 characters",
     "secret of the key; unset: AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"},
    {"S3_SESSION_TOKEN", NULL, SETTING_TEXT, FIELD(s3_token), NULL, 0, 0, NULL,
     setting_is_token, "8 to 2000 characters",
     "session token of a temporary key; unset: AWS_SESSION_TOKEN", "AWS_SESSION_TOKEN"},
    {"S3_PATH_STYLE", NULL, SETTING_CHOICE, FIELD(s3_path_style), "auto", 0, 0,
     path_style_choices, NULL, NULL,
     "whether the bucket stands in the path and not in the host's name; auto: with "
     "S3_ENDPOINT"},
    {"S3_CA_FILE", NULL, SETTING_TEXT, FIELD(s3_ca_file), NULL, 0, 0, NULL,
     setting_is_printable, PATH_ALLOWED,
     "certificates that vouch for S3_ENDPOINT; unset: AWS_CA_BUNDLE, else the system's",
     "AWS_CA_BUNDLE"},
    {"LOG_LEVEL", NULL, SETTING_CHOICE, FIELD(log_level), "INFO", 0, 0, level_choices,
     NULL, NULL, "least important event that is logged"},
    {"LOG_FORMAT", NULL, SETTING_BOOLEAN, FIELD(log_json), "text", 0, 0,
     log_format_choices, NULL, NULL, "lines for people, or JSON for machines"},
    {"LOG_TO_STDOUT", NULL, SETTING_BOOLEAN, FIELD(log_to_stdout), "true", 0, 0, NULL,
     NULL, NULL, "log to the standard streams"},
    {"LOG_FILE", NULL, SETTING_TEXT, FIELD(log_file), NULL, 0, 0, NULL,
     setting_is_printable, PATH_ALLOWED,
     "log to this file as well; SIGUSR1 opens it anew"},
    {"LOG_TO_SYSLOG", NULL, SETTING_BOOLEAN, FIELD(log_to_syslog), "false", 0, 0, NULL,
     NULL, NULL, "log to the syslog daemon of this machine as well"},
    {"LOG_SYSLOG_FACILITY", NULL, SETTING_CHOICE, FIELD(log_syslog_facility), "daemon", 0,
     0, log_facilities, NULL, NULL, "what syslog files the lines under"},
    {"DEBUG", NULL, SETTING_BOOLEAN, FIELD(debug), "false", 0, 0, NULL, NULL, NULL,
     "log at the level DEBUG and say more in errors"},
    {"UPLOAD_RETENTION_DAYS", NULL, SETTING_INTEGER, FIELD(upload_retention_days), "7",
     DAYS_ALLOWED, NULL, NULL, NULL, "days that uploads are kept; 0: for ever"},
    {"TRANSCRIPT_RETENTION_DAYS", NULL, SETTING_INTEGER, FIELD(transcript_retention_days),
     "30", DAYS_ALLOWED, NULL, NULL, NULL, "days that transcripts are kept; 0: for ever"},
    {"DISK_LOW_PERCENT", NULL, SETTING_INTEGER, FIELD(disk_low_percent), "10", 0, 90,
     NULL, NULL, NULL,
     "free space of a disk, 10 GiB at most, below which what has expired is removed at "
     "once"},
    {"DISK_STOP_PERCENT", NULL, SETTING_INTEGER, FIELD(disk_stop_percent), "5", 0, 90,
     NULL, NULL, NULL,
     "free space of a disk, 2 GiB at most, below which uploads are answered 507; what "
     "is "
     "kept in reserve in any case: 64 MiB for recordings, 4 MiB for the database"},
    {"SECURE_ERASE", NULL, SETTING_BOOLEAN, FIELD(secure_erase), "off", 0, 0,
     off_on_choices, NULL, NULL,
     "whether recordings in a folder are overwritten before they are removed; see "
     "docs/operations.md for what that promises"},
    {"BACKUP_DIR", NULL, SETTING_TEXT, FIELD(backup_dir), NULL, 0, 0, NULL,
     setting_is_backup_dir, "a path, or s3://BUCKET/PREFIX",
     "where `backup` puts copies: a folder on another disk, or object storage (S3_…)"},
    {"BACKUP_RETENTION_DAYS", NULL, SETTING_INTEGER, FIELD(backup_retention_days), "30",
     DAYS_ALLOWED, NULL, NULL, NULL,
     "days that backups are kept, the newest one in any case; 0: for ever"},
    {"BACKUP_KEY_FILE", NULL, SETTING_TEXT, FIELD(backup_key_file), NULL, 0, 0, NULL,
     setting_is_printable, PATH_ALLOWED,
     "file with the key that backups are encrypted with, 16 characters or more; unset: "
     "they are not"},
    {"RATE_LIMIT", NULL, SETTING_TEXT, FIELD(rate_limit), "10/minute", 0, 0, NULL,
     setting_is_rate, "N/second, N/minute, N/hour or N/day with N of at least 1, or off",
     "uploads that one address, and one key, may make"},
    {"TRUSTED_PROXIES", NULL, SETTING_TEXT, FIELD(trusted_proxies), "loopback", 0, 0,
     NULL, setting_is_address_list,
     "addresses, networks or loopback, separated by commas",
     "whose X-Forwarded-For counts, and whose word on who is asking with AUTH=proxy"},
    {"ALLOWED_HOSTS", NULL, SETTING_TEXT, FIELD(allowed_hosts), NULL, 0, 0, NULL,
     setting_is_name_list,
     "names, with a dot in front for all names under them too, separated by commas; or *",
     "where no key is asked for: what browsers may call this server besides addresses, "
     "names without a dot, and those under localhost, local, internal and home.arpa"},
    {"AUTH", NULL, SETTING_CHOICE, FIELD(auth), "auto", 0, 0, auth_choices, NULL, NULL,
     "who may call; auto: key once a key exists or HOST is not loopback, else off"},
    {"COMPUTE_TYPE", NULL, SETTING_TEXT, FIELD(compute_type), "auto", 0, 0, NULL,
     setting_is_compute_type, "auto or f32", "numbers that the engine computes with"},
    {"WHISPER_MODEL_URL", NULL, SETTING_TEXT, FIELD(model_base_url), CONFIG_MODEL_URL, 0,
     0, NULL, setting_is_url, "an http:// or https:// URL",
     "folder that models are pulled from"},
    {"WHISPER_MODEL_MIRROR", NULL, SETTING_TEXT, FIELD(model_mirror_url), NULL, 0, 0,
     NULL, setting_is_url, "an http:// or https:// URL", "folder that is tried next"},
    {"WHISPER_MODEL_TIMEOUT_SECONDS", NULL, SETTING_INTEGER, FIELD(model_timeout_seconds),
     "30", 1, 3600, NULL, NULL, NULL,
     "seconds without a byte after which a download counts as stalled"},
    {"VAD_MODEL", NULL, SETTING_TEXT, FIELD(vad_model), NULL, 0, 0, NULL,
     setting_is_printable, PATH_ALLOWED,
     "file of the voice detector; unset: silero_vad_16k_op15.onnx in WHISPER_MODEL_DIR"},
    {"MAX_CONNECTIONS", NULL, SETTING_INTEGER, FIELD(max_connections), "8192", 16,
     1000000, NULL, NULL, NULL,
     "connections at once; the limit of open files must be above it"},
    {"MAX_CONNECTIONS_PER_CLIENT", NULL, SETTING_INTEGER,
     FIELD(max_connections_per_client), "256", 1, 1000000, NULL, NULL, NULL,
     "connections at once from one address, trusted proxies excepted"},
    {"AUTH_PROXY_HEADER", NULL, SETTING_TEXT, FIELD(auth_proxy_header), "X-Remote-User",
     0, 0, NULL, setting_is_header_name, "the name of a header",
     "with AUTH=proxy: where one of TRUSTED_PROXIES says who is asking"},
    {"AUTH_PROXY_SCOPES_HEADER", NULL, SETTING_TEXT, FIELD(auth_proxy_scopes_header),
     NULL, 0, 0, NULL, setting_is_header_name, "the name of a header",
     "with AUTH=proxy: where it says what they may (read, transcribe, admin); unset: "
     "everyone may read and transcribe"},
    {"WORKER_METRICS_PORT", NULL, SETTING_INTEGER, FIELD(worker_metrics_port), "0", 0,
     65535, NULL, NULL, NULL,
     "port at which a `worker` process tells Prometheus its figures, under the address "
     "in HOST; 0: none"},
    {"WYOMING_PORT", NULL, SETTING_INTEGER, FIELD(wyoming_port), "0", 0, 65535, NULL,
     NULL, NULL,
     "port of the Wyoming door for Home Assistant, most often 10300; 0: none"},
    {"WYOMING_HOST", NULL, SETTING_TEXT, FIELD(wyoming_host), NULL, 0, 0, NULL,
     setting_is_printable, "an address or a host name",
     "address of the Wyoming door, which asks for no password; unset: HOST"},
    {"MODEL_IDLE_SECONDS", NULL, SETTING_INTEGER, FIELD(model_idle_seconds), "900", 0,
     31536000, NULL, NULL, NULL,
     "seconds without a job after which a model leaves the memory; 0: never"},
    {"MEMORY_LIMIT_MB", NULL, SETTING_INTEGER, FIELD(memory_limit_mb), "0", 0, 1073741824,
     NULL, NULL, NULL,
     "MiB that models and transcriptions may take together; 0: 80 % of what the machine, "
     "or the container, has"},
    {"URL_FETCH", NULL, SETTING_BOOLEAN, FIELD(url_fetch), "off", 0, 0, off_on_choices,
     NULL, NULL, "whether recordings may be named by a URL that this server fetches"},
    {"URL_FETCH_ALLOW", NULL, SETTING_TEXT, FIELD(url_fetch_allow), NULL, 0, 0, NULL,
     setting_is_host_list, HOSTS_ALLOWED,
     "where recordings may be fetched from beyond the public internet"},
    {"URL_FETCH_TIMEOUT_SECONDS", NULL, SETTING_INTEGER, FIELD(url_fetch_timeout_seconds),
     "30", 1, 3600, NULL, NULL, NULL,
     "seconds without progress after which a fetch counts as stalled"},
    {"WEBHOOK_SECRET", NULL, SETTING_TEXT, FIELD(webhook_secret), NULL, 0, 0, NULL,
     setting_is_secret, "8 to 256 characters, or whsec_ and base64",
     "signs the webhooks of requests that bring no secret of their own"},
    {"WEBHOOK_ALLOW", NULL, SETTING_TEXT, FIELD(webhook_allow), NULL, 0, 0, NULL,
     setting_is_host_list, HOSTS_ALLOWED,
     "where webhooks may lead beyond the public internet"},
    {"REDIS_CA_FILE", NULL, SETTING_TEXT, FIELD(redis_ca_file), NULL, 0, 0, NULL,
     setting_is_printable, PATH_ALLOWED,
     "certificates that vouch for the server of a rediss:// URL; unset: the system's"},
    {"REDIS_NAMESPACE", NULL, SETTING_TEXT, FIELD(redis_namespace), "main", 0, 0, NULL,
     setting_is_model_name, "letters, digits, '.', '-' and '_'",
     "services that share one Redis and are not one service have different ones; those "
     "that share a queue have the same"},
    {"SHUTDOWN_DELAY", NULL, SETTING_INTEGER, FIELD(shutdown_delay_seconds), "0", 0, 3600,
     NULL, NULL, NULL,
     "seconds in which a service that was told to stop still takes connections, while "
     "/health/ready says 503: longer than a proxy takes to see that"},
    {"SHUTDOWN_TIMEOUT", NULL, SETTING_INTEGER, FIELD(shutdown_timeout_seconds), "10", 1,
     86400, NULL, NULL, NULL,
     "seconds after that for requests and uploads under way; what is not done by then is "
     "cut off"},
};
_Static_assert(ARRAY_LENGTH(settings) <= CONFIG_MAX_SETTINGS, "sources[] is too short");

const struct setting *config_table(size_t *count)
{
    *count = ARRAY_LENGTH(settings);
    return settings;
}

const struct setting *config_find(const char *name, size_t *index)
{
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++)
        if (!strcmp(settings[i].name, name) ||
            (settings[i].alias && !strcmp(settings[i].alias, name))) {
            *index = i;
            return &settings[i];
        }
    return NULL;
}

bool setting_is_confidential(const struct setting *s)
{
    return s->check == setting_is_secret || s->check == setting_is_token ||
           s->check == setting_is_key_id || s->check == setting_is_database_url ||
           s->check == setting_is_redis_url;
}

/* ---- reading a value ------------------------------------------------------------- */

static void *field_of(struct config *c, const struct setting *s)
{
    return (char *)c + s->offset;
}

char *config_text(const struct config *c, const struct setting *s)
{
    char *const *field = (char *const *)(const void *)((const char *)c + s->offset);
    return __atomic_load_n(field, __ATOMIC_SEQ_CST);
}

void config_put_text(struct config *c, const struct setting *s, char *text)
{
    __atomic_store_n((char **)field_of(c, s), text, __ATOMIC_SEQ_CST);
}

static void put_integer(void *field, int64_t value)
{
    __atomic_store_n((int64_t *)field, value, __ATOMIC_SEQ_CST);
}

static void put_boolean(void *field, bool value)
{
    __atomic_store_n((bool *)field, value, __ATOMIC_SEQ_CST);
}

static void put_choice(void *field, int value)
{
    __atomic_store_n((int *)field, value, __ATOMIC_SEQ_CST);
}

void config_copy(struct config *to, const struct config *from, const struct setting *s)
{
    const void *field = (const char *)from + s->offset;
    if (s->type == SETTING_INTEGER)
        put_integer(field_of(to, s), *(const int64_t *)field);
    else if (s->type == SETTING_BOOLEAN)
        put_boolean(field_of(to, s), *(const bool *)field);
    else if (s->type == SETTING_CHOICE)
        put_choice(field_of(to, s), *(const int *)field);
}

static int refuse(const struct setting *s, const char *name, const char *value,
                  struct err *e)
{
    char allowed[400];
    config_describe_allowed(s, allowed, sizeof allowed);
    /* An address with a user in it is one with a password, and messages end in logs. */
    if (strchr(value, '@') || strstr(value, "password=") ||
        s->check == setting_is_secret || s->check == setting_is_token)
        return err_set(e, ERR_INVALID, "%s is not understood; it must be %s%s", name,
                       s->choices ? "one of: " : "", allowed);
    return err_set(e, ERR_INVALID, "%s is \"%.60s\"; it must be %s%s", name, value,
                   s->choices ? "one of: " : "", allowed);
}

static bool parse_integer(const struct setting *s, const char *value, int64_t *out)
{
    const char *digits = value + (*value == '-');
    if (!*digits || digits[strspn(digits, "0123456789")] != '\0')
        return false;
    errno = 0;
    *out = strtoll(value, NULL, 10);
    return errno == 0 && *out >= s->min && *out <= s->max;
}

static bool parse_choice(const struct setting *s, const char *value, int *out)
{
    if (s->choices == level_choices && !strcasecmp(value, "WARN"))
        value = "WARNING";
    for (*out = 0; s->choices[*out]; (*out)++)
        if (!strcasecmp(value, s->choices[*out]))
            return true;
    return false;
}

static bool parse_boolean(const struct setting *s, const char *value, bool *out)
{
    int index;
    if (s->choices && parse_choice(s, value, &index)) {
        *out = index == 1;
        return true;
    }
    static const char *const words[] = {"false", "true", "0",   "1",
                                        "no",    "yes",  "off", "on"};
    for (size_t i = 0; !s->choices && i < ARRAY_LENGTH(words); i++)
        if (!strcasecmp(value, words[i])) {
            *out = i % 2 == 1;
            return true;
        }
    return false;
}

int config_store(struct config *c, const struct setting *s, const char *name,
                 const char *value, struct err *e)
{
    void *field = field_of(c, s);
    int64_t number;
    int choice;
    bool truth;
    switch (s->type) {
    case SETTING_INTEGER:
        if (!parse_integer(s, value, &number))
            return refuse(s, name, value, e);
        put_integer(field, number);
        return 0;
    case SETTING_BOOLEAN:
        if (!parse_boolean(s, value, &truth))
            return refuse(s, name, value, e);
        put_boolean(field, truth);
        return 0;
    case SETTING_CHOICE:
        if (!parse_choice(s, value, &choice))
            return refuse(s, name, value, e);
        put_choice(field, choice);
        return 0;
    case SETTING_TEXT:
        break;
    }
    if (value && s->check && !s->check(value))
        return refuse(s, name, value, e);
    char *copy = mem_strdup(value);
    if (value && !copy)
        return err_set(e, ERR_NOMEM, "out of memory");
    free(config_text(c, s));
    config_put_text(c, s, copy);
    return 0;
}

/* ---- names that are nearly ours -------------------------------------------------- */

/* Short names are too near to other programs' names to be called misspelt. */
static bool is_near(const char *name, size_t length, const char *ours)
{
    size_t ours_length = strlen(ours);
    size_t limit = ours_length >= 10 ? 2 : ours_length >= 6 ? 1 : 0;
    if (limit == 0 || length > ours_length + limit || ours_length > length + limit)
        return false;
    return near_distance(name, length, ours, ours_length) <= limit;
}

const char *config_misspelt(const char *name, size_t length)
{
    if (length > NEAR_MAX_LENGTH)
        return NULL;
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++) {
        if (is_near(name, length, settings[i].name))
            return settings[i].name;
        if (settings[i].alias && is_near(name, length, settings[i].alias))
            return settings[i].alias;
    }
    return NULL;
}
