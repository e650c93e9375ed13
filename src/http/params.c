#include "http/params.h"

#include "base/mem.h"

void http_params_release(struct http_params *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->list[i].name);
        free(p->list[i].value);
    }
    free(p->list);
    *p = (struct http_params){0};
}

int http_params_add(struct http_params *p, const char *name, const char *value)
{
    if (p->count >= HTTP_PARAMS_MAX)
        return ERR_TOO_LARGE;
    if (mem_grow(&p->list, &p->capacity, p->count + 1, sizeof *p->list))
        return ERR_NOMEM;
    struct http_param *pair = &p->list[p->count];
    pair->name = strdup(name);
    pair->value = strdup(value);
    if (!pair->name || !pair->value) {
        free(pair->name);
        free(pair->value);
        return ERR_NOMEM;
    }
    p->count++;
    return 0;
}

const char *http_params_get(const struct http_params *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (!strcmp(p->list[i].name, name))
            return p->list[i].value;
    return NULL;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int http_percent_decode(const char *in, size_t length, bool plus_is_space, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        char c = in[i];
        if (c == '%') {
            if (length - i < 3)
                return ERR_INVALID;
            int high = hex_value(in[i + 1]), low = hex_value(in[i + 2]);
            if (high < 0 || low < 0)
                return ERR_INVALID;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return http_utf8_valid(out, n) ? 0 : ERR_INVALID;
}

/* One "name=value" of a query. */
static int add_pair(struct http_params *out, const char *pair, size_t length, char *name,
                    char *value, struct err *e)
{
    const char *equals = memchr(pair, '=', length);
    size_t name_length = equals ? (size_t)(equals - pair) : length;
    const char *rest = equals ? equals + 1 : "";
    size_t rest_length = equals ? length - name_length - 1 : 0;
    if (http_percent_decode(pair, name_length, true, name) ||
        http_percent_decode(rest, rest_length, true, value))
        return err_set(e, ERR_INVALID,
                       "the query string has a broken %% escape, or is not UTF-8");
    int status = http_params_add(out, name, value);
    if (status == ERR_TOO_LARGE)
        return err_set(e, status, "the query string has more than %d parameters",
                       HTTP_PARAMS_MAX);
    return status ? err_set(e, status, "out of memory") : 0;
}

int http_query_parse(struct http_params *out, const char *query, struct err *e)
{
    size_t size = strlen(query) + 1;
    char *name = malloc(size), *value = malloc(size);
    int status = 0;
    if (!name || !value) {
        free(name);
        free(value);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    while (!status && *query) {
        size_t length = strcspn(query, "&");
        if (length)
            status = add_pair(out, query, length, name, value, e);
        query += length;
        if (*query)
            query++;
    }
    free(name);
    free(value);
    return status;
}

/* Bytes of the well-formed sequence at `s`, or 0. Table 3-7 of the Unicode standard. */
static size_t sequence(const unsigned char *s, size_t left)
{
    if (s[0] < 0x80)
        return s[0] ? 1 : 0;
    size_t length = s[0] < 0xC2   ? 0
                    : s[0] < 0xE0 ? 2
                    : s[0] < 0xF0 ? 3
                    : s[0] < 0xF5 ? 4
                                  : 0;
    if (!length || length > left)
        return 0;
    unsigned char low = 0x80, high = 0xBF;
    if (s[0] == 0xE0)
        low = 0xA0; /* overlong */
    else if (s[0] == 0xED)
        high = 0x9F; /* surrogates */
    else if (s[0] == 0xF0)
        low = 0x90; /* overlong */
    else if (s[0] == 0xF4)
        high = 0x8F; /* beyond U+10FFFF */
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (s[i] < 0x80 || s[i] > 0xBF)
            return 0;
    return length;
}

bool http_utf8_valid(const char *bytes, size_t length)
{
    const unsigned char *s = (const unsigned char *)bytes;
    for (size_t i = 0; i < length;) {
        size_t n = sequence(s + i, length - i);
        if (!n)
            return false;
        i += n;
    }
    return true;
}

void http_utf8_repair(struct buf *out, const char *bytes, size_t length)
{
    const unsigned char *s = (const unsigned char *)bytes;
    for (size_t i = 0; i < length;) {
        size_t n = sequence(s + i, length - i);
        if (n)
            buf_add(out, bytes + i, n);
        else
            buf_str(out, "\xEF\xBF\xBD");
        i += n ? n : 1;
    }
}
