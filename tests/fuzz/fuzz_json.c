/* Bodies of JSON. What is taken is an object that is nested no deeper than we say, and
 * written it reads back as the same. */
#include "fuzz.h"

#include "http/json_body.h"

static int depth(const json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;
    int deepest = 0, d;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        if ((d = depth(item)) > deepest)
            deepest = d;
    }
    json_array_foreach(value, i, item)
    {
        if ((d = depth(item)) > deepest)
            deepest = d;
    }
    return deepest + (json_is_object(value) || json_is_array(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    char *copy = malloc(size ? size : 1); /* of the exact size, without a NUL */
    HOLDS(copy);
    if (size)
        memcpy(copy, data, size);
    json_t *value = http_json_parse(copy, size, &e);
    HOLDS(value ? json_is_object(value) : e.code < 0 && e.message[0]);
    if (value) {
        HOLDS(depth(value) <= HTTP_JSON_DEPTH);
        char *text = json_dumps(value, JSON_COMPACT);
        HOLDS(text);
        json_t *again = http_json_parse(text, strlen(text), &e);
        HOLDS(again && json_equal(value, again));
        json_decref(again);
        free(text);
    }
    json_decref(value);
    free(copy);
    return 0;
}
