#include "base/config_checks.h"

#include "base/config.h"
#include "base/mem.h"

#include <ctype.h>
#include <strings.h>

/* ---- what a text may be ---------------------------------------------------------- */

static bool starts(const char *value, const char *prefix)
{
    return !strncmp(value, prefix, strlen(prefix));
}

bool setting_is_printable(const char *value)
{
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            return false;
    return true;
}

bool setting_is_url(const char *value)
{
    const char *host = starts(value, "https://")  ? value + 8
                       : starts(value, "http://") ? value + 7
                                                  : "";
    if (!*host || *host == '/')
        return false;
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7F)
            return false;
    return true;
}

bool setting_is_database_url(const char *value)
{
    static const char *const prefixes[] = {"sqlite:///", "postgresql://", "postgres://"};
    for (size_t i = 0; i < ARRAY_LENGTH(prefixes); i++)
        if (starts(value, prefixes[i]) && value[strlen(prefixes[i])] != '\0')
            return setting_is_printable(value);
    return false;
}

bool setting_is_redis_url(const char *value)
{
    static const char *const prefixes[] = {"redis://", "rediss://", "unix://"};
    for (size_t i = 0; i < ARRAY_LENGTH(prefixes); i++)
        if (starts(value, prefixes[i]) && value[strlen(prefixes[i])] != '\0')
            return setting_is_printable(value);
    return false;
}

/* A prefix in a bucket goes into addresses and signatures as it is. */
bool setting_is_storage_url(const char *value)
{
    if (starts(value, "file:///"))
        return value[8] != '\0' && setting_is_printable(value);
    if (!starts(value, "s3://") || !isalnum((unsigned char)value[5]) ||
        strlen(value) > 600 || strstr(value + 5, "//") || strstr(value + 5, ".."))
        return false;
    for (const char *p = value + 5; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-._/", *p))
            return false;
    return true;
}

bool setting_is_backup_dir(const char *value)
{
    return starts(value, "s3://") ? setting_is_storage_url(value)
                                  : setting_is_printable(value);
}

bool setting_is_model_name(const char *value)
{
    size_t length = strlen(value);
    if (length == 0 || length > 63 || value[0] == '.')
        return false;
    for (const char *p = value; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_", *p))
            return false;
    return true;
}

/* The engine knows the languages; here only what can be none is refused. */
bool setting_is_language_word(const char *value)
{
    for (const char *p = value; *p; p++)
        if (!isalpha((unsigned char)*p) && *p != ' ' && *p != '-')
            return false;
    return *value && strlen(value) < 32;
}

bool setting_is_rate(const char *value)
{
    int64_t count, seconds;
    return config_rate_parse(value, &count, &seconds);
}

/* Addresses, networks and names, separated by commas; the resolver judges them later. */
bool setting_is_address_list(const char *value)
{
    for (const char *p = value; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".:/-_, *", *p))
            return false;
    return true;
}

bool setting_is_host_list(const char *value)
{
    for (const char *p = value; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".:/-_, []", *p))
            return false;
    return true;
}

bool setting_is_name_list(const char *value)
{
    if (!strcmp(value, "*"))
        return true;
    for (const char *p = value; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_, ", *p))
            return false;
    return true;
}

/* Not secret by itself, but half of one. */
bool setting_is_key_id(const char *value)
{
    return *value && setting_is_printable(value);
}

bool setting_is_secret(const char *value)
{
    size_t length = strlen(value);
    return length >= 8 && length <= 256 && setting_is_printable(value);
}

bool setting_is_token(const char *value)
{
    size_t length = strlen(value);
    return length >= 8 && length <= 2000 && setting_is_printable(value);
}

/* What people call files, first the names that are the default, then other names of the
 * same. The media layer knows all of them. */
static const char *const audio_formats[] = {
    "mp3",  "wav",  "m4a",  "flac",     "ogg",  "opus",   "webm", "mp4", "aac", "mkv",
    "mov",  "3gp",  "amr",  "aiff",     "wma",  "wmv",    "asf",  "avi", "caf", "au",
    "w64",  "ac3",  "eac3", "dts",      "flv",  "ts",     "mpg",  "mxf", "dv",  "rm",
    "wv",   "ape",  "tta",  "tak",      "mpc",  "truehd", "voc",  "dss", "qcp", "wave",
    "mpga", "mp2",  "m4b",  "m4p",      "m4v",  "mpeg4",  "qt",   "oga", "ogv", "ogx",
    "spx",  "weba", "mka",  "aif",      "aifc", "3gpp",   "3g2",  "snd", "mts", "m2ts",
    "mpeg", "vob",  "adts", "matroska", NULL};

const char *const *config_audio_formats(void)
{
    return audio_formats;
}

static bool is_audio_format(const char *name, size_t length)
{
    for (size_t i = 0; audio_formats[i]; i++)
        if (strlen(audio_formats[i]) == length &&
            !strncasecmp(audio_formats[i], name, length))
            return true;
    return false;
}

/* Names from the list above, separated by commas; spaces and a leading dot are allowed.
 */
bool setting_is_format_list(const char *value)
{
    size_t names = 0;
    for (const char *p = value; *p;) {
        p += strspn(p, " ,");
        size_t length = strcspn(p, ",");
        const char *next = p + length;
        while (length > 0 && p[length - 1] == ' ')
            length--;
        if (length > 0 && *p == '.') {
            p++;
            length--;
        }
        if (length > 0 && !is_audio_format(p, length))
            return false;
        names += length > 0;
        p = next;
    }
    return names > 0;
}

bool config_rate_parse(const char *text, int64_t *count, int64_t *seconds)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } units[] = {{"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", 86400}};
    *count = *seconds = 0;
    if (!strcasecmp(text, "off"))
        return true;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits] != '/')
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++)
        if (!strcasecmp(text + digits + 1, units[i].name)) {
            *count = strtoll(text, NULL, 10);
            *seconds = units[i].seconds;
            return *count > 0;
        }
    return false;
}

/* Letters, digits and hyphens, as the names of headers are in practice: what a proxy
 * would drop or rewrite (an underscore) cannot be relied on. */
bool setting_is_header_name(const char *value)
{
    size_t length = strlen(value);
    for (const char *p = value; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-')
            return false;
    return length > 0 && length <= 64;
}

bool setting_is_compute_type(const char *value)
{
    return !strcmp(value, "auto") || !strcmp(value, "f32");
}

bool compute_type_is_exact(const char *compute_type)
{
    return !strcmp(compute_type, "f32");
}
