/* Settings: one typed table from which the environment, the settings file, the command
 * line, `doctor`, the manual page and the documentation all come.
 *
 * Precedence: command line, environment, file, default. A value that is out of range, a
 * name that is unknown in the file or nearly ours in the environment, and settings that
 * contradict each other are errors that name them.
 *
 * Fields that are _Atomic may change while the program runs (base/config_live.h): every
 * thread may read them at any time, and what a pointer led to stays until
 * config_release. Whoever needs one twice reads it once into a variable. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum config_path_style { PATH_STYLE_AUTO, PATH_STYLE_ON, PATH_STYLE_OFF };
enum config_auth { AUTH_AUTO, AUTH_OFF, AUTH_KEY, AUTH_PROXY };

/* Where a value came from, for `doctor` and `check`. */
enum config_origin {
    FROM_DEFAULT,
    FROM_FILE,        /* a line of the settings file */
    FROM_ENVIRONMENT, /* a variable: the setting's name, its alias or its fallback */
    FROM_SECRET_FILE, /* the file that NAME_FILE names */
    FROM_CREDENTIAL,  /* a credential of systemd */
    FROM_COMMAND_LINE,
};

struct config_source {
    const char *variable; /* borrowed, static: as which name; NULL: the default */
    enum config_origin origin;
    int line;     /* of the settings file */
    bool in_file; /* what was said there, be it only where the value is */
};
#define CONFIG_MAX_SETTINGS 96

/* The default of WHISPER_MODEL_URL. */
#define CONFIG_MODEL_URL "https://huggingface.co/ggerganov/whisper.cpp/resolve/main"

/* Every string is owned by the config. An unset optional string is NULL. */
struct config {
    char *host;                   /* HOST */
    int64_t port;                 /* PORT */
    char *database_url;           /* DATABASE_URL */
    int64_t database_connections; /* DATABASE_CONNECTIONS, to a server at most */
    char *redis_url;              /* REDIS_URL, optional */
    char *model_dir;              /* WHISPER_MODEL_DIR */
    char *_Atomic default_model;  /* DEFAULT_WHISPER_MODEL, optional: the best present */
    char *_Atomic language;       /* WHISPER_LANGUAGE */
    int64_t worker_concurrency;   /* WORKER_CONCURRENCY, CELERY_CONCURRENCY; 0: decide */
    int64_t worker_threads;       /* WORKER_THREADS per transcription; 0: decide */
    bool embedded_workers;        /* EMBEDDED_WORKERS: `serve` has workers, too */
    int64_t prefetch;             /* CELERY_WORKER_PREFETCH_MULTIPLIER */
    _Atomic int64_t
        time_limit_seconds; /* CELERY_TASK_TIME_LIMIT, WHISPER_TIMEOUT_SECONDS */
    _Atomic int64_t max_file_size_mb;  /* MAX_FILE_SIZE_MB */
    _Atomic int64_t max_audio_seconds; /* MAX_AUDIO_SECONDS */
    char *_Atomic allowed_formats;     /* ALLOWED_AUDIO_FORMATS */
    char *storage_dir;                 /* STORAGE_DIR */
    char *storage_url;                 /* STORAGE_URL, optional: storage_dir */
    char *scratch_dir; /* SCRATCH_DIR, optional: in the storage, or TMPDIR */
    char *s3_endpoint; /* S3_ENDPOINT, optional: Amazon's */
    char *s3_region;   /* S3_REGION */
    char *s3_key_id;   /* S3_ACCESS_KEY_ID, optional */
    char *s3_secret;   /* S3_SECRET_ACCESS_KEY, optional; never shown */
    char *s3_token;    /* S3_SESSION_TOKEN, optional; never shown */
    enum config_path_style s3_path_style;  /* S3_PATH_STYLE */
    char *s3_ca_file;                      /* S3_CA_FILE, optional: the system's */
    _Atomic enum log_level log_level;      /* LOG_LEVEL */
    _Atomic bool log_json;                 /* LOG_FORMAT: text, json */
    _Atomic bool log_to_stdout;            /* LOG_TO_STDOUT */
    char *_Atomic log_file;                /* LOG_FILE, optional */
    bool log_to_syslog;                    /* LOG_TO_SYSLOG */
    int log_syslog_facility;               /* LOG_SYSLOG_FACILITY, as log_facilities */
    _Atomic bool debug;                    /* DEBUG */
    _Atomic int64_t upload_retention_days; /* UPLOAD_RETENTION_DAYS, 0: for ever */
    _Atomic int64_t
        transcript_retention_days;         /* TRANSCRIPT_RETENTION_DAYS, 0: for ever */
    char *backup_dir;                      /* BACKUP_DIR, optional */
    int64_t disk_low_percent;              /* DISK_LOW_PERCENT */
    int64_t disk_stop_percent;             /* DISK_STOP_PERCENT */
    bool secure_erase;                     /* SECURE_ERASE */
    char *backup_key_file;                 /* BACKUP_KEY_FILE, optional */
    _Atomic int64_t backup_retention_days; /* BACKUP_RETENTION_DAYS */
    char *_Atomic rate_limit;              /* RATE_LIMIT */
    char *_Atomic trusted_proxies;         /* TRUSTED_PROXIES */
    char *_Atomic allowed_hosts;           /* ALLOWED_HOSTS, optional */
    enum config_auth auth;                 /* AUTH */
    char *auth_proxy_header;               /* AUTH_PROXY_HEADER */
    char *auth_proxy_scopes_header;        /* AUTH_PROXY_SCOPES_HEADER, optional */
    char *compute_type;                    /* COMPUTE_TYPE: auto, f32 … */
    char *model_base_url;          /* WHISPER_MODEL_URL: where models are pulled from */
    char *model_mirror_url;        /* WHISPER_MODEL_MIRROR: tried next, optional */
    int64_t model_timeout_seconds; /* WHISPER_MODEL_TIMEOUT_SECONDS: of silence */
    char *vad_model; /* VAD_MODEL: the voice detector's file, optional: in model_dir */
    int64_t max_connections;                   /* MAX_CONNECTIONS */
    int64_t max_connections_per_client;        /* MAX_CONNECTIONS_PER_CLIENT */
    int64_t worker_metrics_port;               /* WORKER_METRICS_PORT; 0: no such door */
    int64_t wyoming_port;                      /* WYOMING_PORT; 0: no such door */
    char *wyoming_host;                        /* WYOMING_HOST, optional: host */
    int64_t model_idle_seconds;                /* MODEL_IDLE_SECONDS; 0: models stay */
    int64_t memory_limit_mb;                   /* MEMORY_LIMIT_MB, MiB; 0: decide */
    bool url_fetch;                            /* URL_FETCH */
    char *_Atomic url_fetch_allow;             /* URL_FETCH_ALLOW, optional */
    _Atomic int64_t url_fetch_timeout_seconds; /* URL_FETCH_TIMEOUT_SECONDS: of silence */
    char *_Atomic webhook_secret;              /* WEBHOOK_SECRET, optional; never shown */
    char *_Atomic webhook_allow;               /* WEBHOOK_ALLOW, optional */
    char *redis_ca_file;                       /* REDIS_CA_FILE, optional: the system's */
    char *redis_namespace;                     /* REDIS_NAMESPACE */
    _Atomic int64_t shutdown_delay_seconds;    /* SHUTDOWN_DELAY */
    _Atomic int64_t shutdown_timeout_seconds;  /* SHUTDOWN_TIMEOUT */
    struct config_source sources[CONFIG_MAX_SETTINGS]; /* in the order of the table */
    char file[1024];         /* the settings file that was read; "": none */
    char file_problem[64];   /* why the file at the usual place was not; "": it was, or
                                there   is none */
    char warning[1200];      /* what is allowed and not wise; "": nothing */
    struct retired *retired; /* owned: texts that were replaced while running */
};

/* Fill from defaults, the settings file, the environment and what config_override was
 * told. An empty variable counts as unset. ERR_INVALID names the variable, its value and
 * what is allowed; also for a name that is nearly one of ours, and for a setting and its
 * alias that say different things. On error nothing needs releasing. */
int config_load(struct config *c, struct err *e);
/* The same for a program that runs with `old`: what had come from the file may come from
 * nowhere else now, although the manager that started us had put it into the environment
 * as well; and what was set after loading (config_set) stays. */
int config_load_again(struct config *c, const struct config *old, struct err *e);
void config_release(struct config *c);

/* Before config_load, from the first thread: take what is on the command line for every
 * command out of argv, that is `--config FILE` and `--max-file-size-mb N`, a setting with
 * its name in small letters and hyphens. Everything up to `--`. ERR_INVALID when a value
 * is missing. */
int config_take_arguments(int *argc, char **argv, struct err *e);
/* Forget them; for tests. */
void config_forget_arguments(void);

/* Settings that make no sense together, such as those of a bucket without one:
 * ERR_INVALID with a sentence that says what to do. config_load and config_load_again ask
 * it. */
int config_contradictions(const struct config *c, struct err *e);

/* Set one setting by its variable name or alias, as the command line does ("PORT",
 * "8001"). On error the setting is as it was. */
int config_set(struct config *c, const char *name, const char *value, struct err *e);

/* Print name, effective value, where it came from and what it means, for `doctor`.
 * Passwords in URLs are not shown. */
void config_print(const struct config *c, FILE *out);

/* One setting for people; `value` hides passwords. */
struct config_shown {
    const char *name; /* borrowed, static */
    bool is_default;  /* nobody set it */
    char value[2100], source[4200];
};
/* The setting number `index`; false behind the last. */
bool config_show(const struct config *c, size_t index, struct config_shown *out);

/* The page docs/settings.md: every setting with its default, its range and its meaning.
 */
void config_markdown(FILE *out);

/* The file that is read when none is named. */
#define CONFIG_DEFAULT_FILE "/etc/whisper-transcriber/whisper-transcriber.conf"

/* The manual page of that file, and such a file with every setting commented out. */
void config_manual(FILE *out);
void config_example(FILE *out);
/* `text` as a manual page writes it. */
void config_roff(FILE *out, const char *text);

/* The setting number `index` and what it means, or NULL behind the last. Static. */
const char *config_name(size_t index, const char **help);

/* "10/minute" → 10 and 60; "off" → 0 and 0. False when it is neither. */
bool config_rate_parse(const char *text, int64_t *count, int64_t *seconds);

/* Every name that ALLOWED_AUDIO_FORMATS may hold; NULL ends it. Static. */
const char *const *config_audio_formats(void);

#endif
