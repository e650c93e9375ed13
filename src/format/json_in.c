#include "format/json_in.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

#define MAX_SECONDS 1e9
#define MAX_TEXT    65536

int json_wrong(struct err *e, const char *key, const char *what)
{
    return err_set(e, ERR_CORRUPT, "the transcript's \"%s\" %s", key, what);
}

int json_get_text(const json_t *object, const char *key, char *out, size_t size,
                  struct err *e)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return json_wrong(e, key, "is not text");
    if (json_string_length(value) >= size)
        return json_wrong(e, key, "is too long");
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return 0;
}

static int get_number(const json_t *object, const char *key, double null_is, double *out,
                      struct err *e)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value) && !json_is_null(value))
        return json_wrong(e, key, "is not a number");
    *out = json_is_null(value) ? null_is : json_number_value(value);
    return 0;
}

int json_get_float(const json_t *object, const char *key, float null_is, float *out,
                   struct err *e)
{
    double value = 0;
    int status = get_number(object, key, (double)null_is, &value, e);
    *out = (float)value;
    return status;
}

int json_get_seconds(const json_t *object, const char *key, double *out, struct err *e)
{
    int status = get_number(object, key, (double)NAN, out, e);
    if (!status && !(*out >= 0 && *out <= MAX_SECONDS))
        return json_wrong(e, key, "is not a time");
    return status;
}

int json_get_integer(const json_t *object, const char *key, int64_t max, int64_t *out,
                     struct err *e)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > max)
        return json_wrong(e, key, "is not a whole number in range");
    *out = json_integer_value(value);
    return 0;
}

int json_get_long_text(const json_t *object, const char *key, char **out, struct err *e)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return json_wrong(e, key, "is not text");
    if (json_string_length(value) > MAX_TEXT)
        return json_wrong(e, key, "is too long");
    *out = mem_strdup(json_string_value(value));
    return *out ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}
