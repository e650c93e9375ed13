/* Names and values from outside: queries, paths, percent-encoding, UTF-8.
 *
 * The first byte says which. What was taken is UTF-8 without NUL, and written in full
 * escapes it reads back as the same. */
#include "fuzz.h"

#include "http/params.h"
#include "http/router.h"

static void put_escaped(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_printf(out, "%%%02x", (unsigned char)*text);
}

static void check_equal(const struct http_params *a, const struct http_params *b)
{
    HOLDS(a->count == b->count);
    for (size_t i = 0; i < a->count; i++)
        HOLDS(!strcmp(a->list[i].name, b->list[i].name) &&
              !strcmp(a->list[i].value, b->list[i].value));
}

static void query(const char *text)
{
    struct http_params first = {0}, again = {0};
    struct buf b;
    struct err e;
    buf_init(&b, (size_t)1 << 24);
    if (!http_query_parse(&first, text, &e)) {
        HOLDS(first.count <= HTTP_PARAMS_MAX);
        for (size_t i = 0; i < first.count; i++) {
            const struct http_param *p = &first.list[i];
            HOLDS(http_utf8_valid(p->name, strlen(p->name)) &&
                  http_utf8_valid(p->value, strlen(p->value)));
            put_escaped(&b, p->name);
            buf_char(&b, '=');
            put_escaped(&b, p->value);
            buf_char(&b, '&');
        }
        HOLDS(!http_query_parse(&again, buf_cstr(&b), &e));
        check_equal(&first, &again);
    } else {
        HOLDS(e.message[0]);
    }
    http_params_release(&first);
    http_params_release(&again);
    buf_release(&b);
}

static void path(const char *text)
{
    static const char *const patterns[] = {"/transcriptions/{id}/download", "/{name}",
                                           "/", "/v1/models/{id}"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct http_params found = {0};
        enum http_match m = http_path_match(patterns[i], text, &found);
        HOLDS(m == HTTP_MATCH ? found.count == !!strchr(patterns[i], '{') : !found.count);
        for (size_t k = 0; k < found.count; k++)
            HOLDS(found.list[k].value[0]);
        http_params_release(&found);
    }
}

static void repair(const uint8_t *data, size_t size)
{
    struct buf once, twice;
    buf_init(&once, 3 * size + 1);
    buf_init(&twice, 3 * size + 1);
    bool good = http_utf8_valid((const char *)data, size);
    http_utf8_repair(&once, (const char *)data, size);
    HOLDS(!buf_failed(&once) && http_utf8_valid(buf_cstr(&once), once.length));
    HOLDS(good ==
          (once.length == size && (!size || !memcmp(buf_cstr(&once), data, size))));
    http_utf8_repair(&twice, buf_cstr(&once), once.length);
    HOLDS(!strcmp(buf_cstr(&once), buf_cstr(&twice)));
    buf_release(&once);
    buf_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    char *text = fuzz_text(data + 1, size - 1);
    if (data[0] % 3 == 0)
        query(text);
    else if (data[0] % 3 == 1)
        path(text);
    else
        repair(data + 1, size - 1);
    free(text);
    return 0;
}
