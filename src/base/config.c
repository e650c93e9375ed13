/* One table of settings: what they are called, what they may be and what they mean.
 *
 * Environment, command line, `doctor` and docs/settings.md are all read from it, so none
 * of them can drift from the others. */
#include "base/config.h"

#include "base/config_checks.h"
#include "base/mem.h"
#include "base/near.h"

#include <errno.h>
#include <stddef.h>
#include <strings.h>

extern char **environ;

enum setting_type {
    SETTING_TEXT,    /* char *, checked by .check if there is one */
    SETTING_INTEGER, /* int64_t in [min, max] */
    SETTING_BOOLEAN, /* bool; choices, if any, are the words for false and true */
    SETTING_CHOICE,  /* an enum of int size, the index into choices */
};

struct setting {
    const char *name, *alias; /* alias may be NULL */
    enum setting_type type;
    size_t offset;                    /* of the field in struct config */
    const char *default_value;        /* NULL: unset */
    int64_t min, max;                 /* SETTING_INTEGER */
    const char *const *choices;       /* NULL-terminated */
    bool (*check)(const char *value); /* SETTING_TEXT */
    const char *allowed;              /* for people: what a text may be */
    const char *help;
};

/* ---- the table ------------------------------------------------------------------- */

static const char *const level_choices[] = {"DEBUG", "INFO", "WARNING", "ERROR", NULL};
static const char *const log_format_choices[] = {"text", "json", NULL};
static const char *const off_on_choices[] = {"off", "on", NULL};
static const char *const auth_choices[] = {"auto", "off", "key", "proxy", NULL};

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
     "where jobs are kept"},
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
    {"LOG_LEVEL", NULL, SETTING_CHOICE, FIELD(log_level), "INFO", 0, 0, level_choices,
     NULL, NULL, "least important event that is logged"},
    {"LOG_FORMAT", NULL, SETTING_BOOLEAN, FIELD(log_json), "text", 0, 0,
     log_format_choices, NULL, NULL, "lines for people, or JSON for machines"},
    {"LOG_TO_STDOUT", NULL, SETTING_BOOLEAN, FIELD(log_to_stdout), "true", 0, 0, NULL,
     NULL, NULL, "log to the standard streams"},
    {"LOG_FILE", NULL, SETTING_TEXT, FIELD(log_file), NULL, 0, 0, NULL,
     setting_is_printable, PATH_ALLOWED,
     "log to this file as well; SIGUSR1 opens it anew"},
    {"DEBUG", NULL, SETTING_BOOLEAN, FIELD(debug), "false", 0, 0, NULL, NULL, NULL,
     "log at the level DEBUG and say more in errors"},
    {"UPLOAD_RETENTION_DAYS", NULL, SETTING_INTEGER, FIELD(upload_retention_days), "7",
     DAYS_ALLOWED, NULL, NULL, NULL, "days that uploads are kept; 0: for ever"},
    {"TRANSCRIPT_RETENTION_DAYS", NULL, SETTING_INTEGER, FIELD(transcript_retention_days),
     "30", DAYS_ALLOWED, NULL, NULL, NULL, "days that transcripts are kept; 0: for ever"},
    {"BACKUP_DIR", NULL, SETTING_TEXT, FIELD(backup_dir), NULL, 0, 0, NULL,
     setting_is_printable, PATH_ALLOWED, "folder of backups"},
    {"BACKUP_RETENTION_DAYS", NULL, SETTING_INTEGER, FIELD(backup_retention_days), "30",
     DAYS_ALLOWED, NULL, NULL, NULL, "days that backups are kept; 0: for ever"},
    {"RATE_LIMIT", NULL, SETTING_TEXT, FIELD(rate_limit), "10/minute", 0, 0, NULL,
     setting_is_rate, "N/second, N/minute, N/hour or N/day with N of at least 1, or off",
     "uploads that one address, and one key, may make"},
    {"TRUSTED_PROXIES", NULL, SETTING_TEXT, FIELD(trusted_proxies), "loopback", 0, 0,
     NULL, setting_is_address_list,
     "addresses, networks or loopback, separated by commas",
     "whose X-Forwarded-For counts, and whose word on who is asking with AUTH=proxy"},
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
};
_Static_assert(ARRAY_LENGTH(settings) <= CONFIG_MAX_SETTINGS, "sources[] is too short");

static const struct setting *find_setting(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++)
        if (!strcmp(settings[i].name, name) ||
            (settings[i].alias && !strcmp(settings[i].alias, name)))
            return &settings[i];
    return NULL;
}

/* ---- reading a value ------------------------------------------------------------- */

static void *field_of(struct config *c, const struct setting *s)
{
    return (char *)c + s->offset;
}

static const void *field_in(const struct config *c, const struct setting *s)
{
    return (const char *)c + s->offset;
}

static void list_choices(const struct setting *s, char *out, size_t size)
{
    out[0] = '\0';
    size_t at = 0;
    for (size_t i = 0; s->choices[i] && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "", s->choices[i]);
}

/* What a setting may be, in words. */
static void describe_allowed(const struct setting *s, char *out, size_t size)
{
    if (s->type == SETTING_INTEGER)
        (void)snprintf(out, size, "a whole number from %lld to %lld", (long long)s->min,
                       (long long)s->max);
    else if (s->choices)
        list_choices(s, out, size);
    else if (s->type == SETTING_BOOLEAN)
        (void)snprintf(out, size, "true or false");
    else
        (void)snprintf(out, size, "%s", s->allowed);
}

static int refuse(const struct setting *s, const char *name, const char *value,
                  struct err *e)
{
    char allowed[400];
    describe_allowed(s, allowed, sizeof allowed);
    /* An address with a user in it is one with a password, and messages end in logs. */
    if (strchr(value, '@') || s->check == setting_is_secret)
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

/* `value` may be NULL for an optional text. */
static int store(struct config *c, const struct setting *s, const char *name,
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
        *(int64_t *)field = number;
        return 0;
    case SETTING_BOOLEAN:
        if (!parse_boolean(s, value, &truth))
            return refuse(s, name, value, e);
        *(bool *)field = truth;
        return 0;
    case SETTING_CHOICE:
        if (!parse_choice(s, value, &choice))
            return refuse(s, name, value, e);
        *(int *)field = choice;
        return 0;
    case SETTING_TEXT:
        break;
    }
    if (value && s->check && !s->check(value))
        return refuse(s, name, value, e);
    char *copy = mem_strdup(value);
    if (value && !copy)
        return err_set(e, ERR_NOMEM, "out of memory");
    char **text = field;
    free(*text);
    *text = copy;
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

/* The setting that `name` is a misspelling of, or NULL. */
static const char *misspelt(const char *name, size_t length)
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

static int refuse_misspelt(struct err *e)
{
    for (char **entry = environ; entry && *entry; entry++) {
        size_t length = strcspn(*entry, "=");
        if (length >= NEAR_MAX_LENGTH)
            continue;
        char name[NEAR_MAX_LENGTH];
        memcpy(name, *entry, length);
        name[length] = '\0';
        if (find_setting(name))
            continue;
        const char *ours = misspelt(name, length);
        if (ours)
            return err_set(e, ERR_INVALID,
                           "the variable %s is not a setting; did you mean %s?", name,
                           ours);
    }
    return 0;
}

/* ---- loading --------------------------------------------------------------------- */

static const char *environment(const char *name)
{
    const char *value = name ? getenv(name) : NULL;
    return value && *value ? value : NULL;
}

static int load_setting(struct config *c, size_t index, struct err *e)
{
    const struct setting *s = &settings[index];
    const char *first = environment(s->name), *second = environment(s->alias);
    if (first && second && strcmp(first, second))
        return err_set(e, ERR_INVALID,
                       "%s is \"%.60s\" and %s is \"%.60s\", but they are one setting; "
                       "keep one of them",
                       s->name, first, s->alias, second);
    const char *name = first ? s->name : second ? s->alias : NULL;
    if (!name)
        return store(c, s, s->name, s->default_value, e);
    c->sources[index].variable = name;
    return store(c, s, name, first ? first : second, e);
}

int config_load(struct config *c, struct err *e)
{
    *c = (struct config){0};
    int status = refuse_misspelt(e);
    for (size_t i = 0; !status && i < ARRAY_LENGTH(settings); i++)
        status = load_setting(c, i, e);
    if (status)
        config_release(c);
    return status;
}

void config_release(struct config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++)
        if (settings[i].type == SETTING_TEXT)
            free(*(char **)field_of(c, &settings[i]));
    *c = (struct config){0};
}

int config_set(struct config *c, const char *name, const char *value, struct err *e)
{
    const struct setting *s = find_setting(name);
    if (!s) {
        const char *ours = misspelt(name, strlen(name));
        return err_set(e, ERR_INVALID, "there is no setting \"%.60s\"%s%s%s", name,
                       ours ? "; did you mean " : "", ours ? ours : "", ours ? "?" : "");
    }
    int status = store(c, s, s->name, value, e);
    if (!status)
        c->sources[s - settings] =
            (struct config_source){.variable = s->name, .command_line = true};
    return status;
}

/* ---- showing --------------------------------------------------------------------- */

/* A URL with its password, if it has one, replaced by stars. */
static void print_url(const char *url, char *out, size_t size)
{
    const char *host = strstr(url, "://");
    const char *end = host ? host + 3 + strcspn(host + 3, "/?#") : url;
    const char *at = NULL;
    for (const char *p = host; p && p < end; p++)
        if (*p == '@')
            at = p;
    const char *colon = at ? memchr(host + 3, ':', (size_t)(at - host - 3)) : NULL;
    if (colon)
        (void)snprintf(out, size, "%.*s:***%s", (int)(colon - url), url, at);
    else
        (void)snprintf(out, size, "%s", url);
}

static void print_value(const struct config *c, const struct setting *s, char *out,
                        size_t size)
{
    const void *field = field_in(c, s);
    const char *text;
    switch (s->type) {
    case SETTING_INTEGER:
        (void)snprintf(out, size, "%lld", (long long)*(const int64_t *)field);
        return;
    case SETTING_CHOICE:
        (void)snprintf(out, size, "%s", s->choices[*(const int *)field]);
        return;
    case SETTING_BOOLEAN:
        text = s->choices             ? s->choices[*(const bool *)field]
               : *(const bool *)field ? "true"
                                      : "false";
        (void)snprintf(out, size, "%s", text);
        return;
    case SETTING_TEXT:
        text = *(char *const *)field;
        if (text && s->check == setting_is_secret)
            (void)snprintf(out, size, "(set)");
        else if (text)
            print_url(text, out, size);
        else
            (void)snprintf(out, size, "(unset)");
        return;
    }
}

void config_print(const struct config *c, FILE *out)
{
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++) {
        const struct setting *s = &settings[i];
        const struct config_source *source = &c->sources[i];
        char value[1024];
        print_value(c, s, value, sizeof value);
        fprintf(out, "%s = %s\n    %s%s; %s\n", s->name, value,
                source->command_line ? "command line"
                : source->variable   ? "environment variable "
                                     : "default",
                source->variable && !source->command_line ? source->variable : "",
                s->help);
    }
}

/* A cell of a Markdown table: a bar would end it. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

void config_markdown(FILE *out)
{
    fputs(
        "# Settings\n\n"
        "<!-- Made by `whisper-transcriber doctor --settings-markdown`; change the table "
        "in src/base/config.c instead. -->\n\n"
        "Every setting is an environment variable. The command line wins over the "
        "environment, the\nenvironment over the default. A value that is not allowed, "
        "or a variable whose name is\nnearly one of these, stops the program with a "
        "sentence that names it. An empty variable counts\nas unset. "
        "`whisper-transcriber doctor` prints every effective value and where it came "
        "from.\n\n"
        "| variable | default | allowed | meaning |\n|---|---|---|---|\n",
        out);
    for (size_t i = 0; i < ARRAY_LENGTH(settings); i++) {
        const struct setting *s = &settings[i];
        char allowed[600];
        describe_allowed(s, allowed, sizeof allowed);
        fprintf(out, "| `%s`", s->name);
        if (s->alias)
            fprintf(out, ", also `%s`", s->alias);
        if (s->default_value)
            fprintf(out, " | `%s` | ", s->default_value);
        else
            fputs(" | unset | ", out);
        print_cell(out, allowed);
        fputs(" | ", out);
        print_cell(out, s->help);
        fputs(" |\n", out);
    }
}
