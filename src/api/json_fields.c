#include "api/json_fields.h"

#include <string.h>

int json_field_text(const json_t *o, const char *name, const char **out, struct err *e)
{
    const json_t *value = json_object_get(o, name);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return err_set(e, ERR_INVALID, "\"%s\" must be a text", name);
    *out = json_string_value(value);
    return 0;
}

int json_field_integer(const json_t *o, const char *name, int64_t *out, struct err *e)
{
    const json_t *value = json_object_get(o, name);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_integer(value))
        return err_set(e, ERR_INVALID, "\"%s\" must be a whole number", name);
    *out = json_integer_value(value);
    return 0;
}

int json_fields_only(const json_t *o, const char *const *names, struct err *e)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)o, name, value)
    {
        size_t i = 0;
        while (names[i] && strcmp(names[i], name) != 0)
            i++;
        if (!names[i])
            return err_set(e, ERR_INVALID, "there is no member \"%.40s\" here", name);
    }
    return 0;
}
