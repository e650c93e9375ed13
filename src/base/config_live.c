#include "base/config_live.h"

#include "base/config_table.h"
#include "base/mem.h"
#include "base/retired.h"

/* In the order of the table. What is read once, when something is opened or started, is
 * not here. */
static const char *const live[] = {
    "DEFAULT_WHISPER_MODEL",
    "WHISPER_LANGUAGE",
    "CELERY_TASK_TIME_LIMIT",
    "MAX_FILE_SIZE_MB",
    "MAX_AUDIO_SECONDS",
    "ALLOWED_AUDIO_FORMATS",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "LOG_TO_STDOUT",
    "LOG_FILE",
    "DEBUG",
    "UPLOAD_RETENTION_DAYS",
    "TRANSCRIPT_RETENTION_DAYS",
    "BACKUP_RETENTION_DAYS",
    "RATE_LIMIT",
    "TRUSTED_PROXIES",
    "ALLOWED_HOSTS",
    "URL_FETCH_ALLOW",
    "URL_FETCH_TIMEOUT_SECONDS",
    "WEBHOOK_SECRET",
    "WEBHOOK_ALLOW",
    "SHUTDOWN_DELAY",
    "SHUTDOWN_TIMEOUT",
};

bool config_is_live(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(live); i++)
        if (!strcmp(live[i], name))
            return true;
    return false;
}

static const void *field(const struct config *c, const struct setting *s)
{
    return (const char *)c + s->offset;
}

static bool same(const struct config *a, const struct config *b, const struct setting *s)
{
    const char *x, *y;
    switch (s->type) {
    case SETTING_INTEGER:
        return *(const int64_t *)field(a, s) == *(const int64_t *)field(b, s);
    case SETTING_BOOLEAN:
        return *(const bool *)field(a, s) == *(const bool *)field(b, s);
    case SETTING_CHOICE:
        return *(const int *)field(a, s) == *(const int *)field(b, s);
    case SETTING_TEXT:
        break;
    }
    x = config_text(a, s);
    y = config_text(b, s);
    return x && y ? !strcmp(x, y) : x == y;
}

size_t config_differences(const struct config *now, const struct config *next,
                          void (*tell)(void *context, const struct config_difference *d),
                          void *context)
{
    size_t count, found = 0;
    const struct setting *settings = config_table(&count);
    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &settings[i];
        char before[400], after[400];
        if (same(now, next, s))
            continue;
        config_value(now, s, true, before, sizeof before);
        config_value(next, s, true, after, sizeof after);
        /* Two passwords look alike with stars on them. */
        if (!strcmp(before, after))
            (void)snprintf(after, sizeof after, "(changed)");
        tell(context, &(struct config_difference){s->name, before, after,
                                                  config_is_live(s->name)});
        found++;
    }
    return found;
}

static void adopt_text(struct config *now, struct config *next, const struct setting *s)
{
    char *before = config_text(now, s);
    config_put_text(now, s, config_text(next, s));
    config_put_text(next, s, NULL);
    retire(&now->retired, before, free);
}

void config_adopt(struct config *now, struct config *next)
{
    size_t count;
    const struct setting *settings = config_table(&count);
    for (size_t i = 0; i < count; i++) {
        const struct setting *s = &settings[i];
        if (!config_is_live(s->name))
            continue;
        now->sources[i] = next->sources[i];
        if (same(now, next, s))
            continue;
        if (s->type == SETTING_TEXT)
            adopt_text(now, next, s);
        else
            config_copy(now, next, s);
    }
    config_release(next);
}
