#include "http/range.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* A number in digits alone; one that no file is as long as is the greatest. */
static bool number(const char **p, int64_t *out)
{
    if (!isdigit((unsigned char)**p))
        return false;
    char *end;
    errno = 0;
    long long value = strtoll(*p, &end, 10);
    *out = errno ? INT64_MAX : value;
    *p = end;
    return true;
}

/* "-500": the last bytes. */
static enum http_range suffix(int64_t n, int64_t length, int64_t *first, int64_t *last)
{
    if (n == 0 || length == 0)
        return HTTP_RANGE_NONE;
    *first = n < length ? length - n : 0;
    *last = length - 1;
    return HTTP_RANGE_PART;
}

enum http_range http_range_parse(const char *header, int64_t length, int64_t *first,
                                 int64_t *last)
{
    int64_t from = 0, to = INT64_MAX;
    if (!header || strncasecmp(header, "bytes=", 6) != 0)
        return HTTP_RANGE_ALL;
    const char *p = skip_blanks(header + 6);
    bool has_from = number(&p, &from);
    if (*p++ != '-')
        return HTTP_RANGE_ALL;
    bool has_to = number(&p, &to);
    if (*skip_blanks(p) || (!has_from && !has_to) || (has_from && to < from))
        return HTTP_RANGE_ALL;
    if (!has_from)
        return suffix(to, length, first, last);
    if (from >= length)
        return HTTP_RANGE_NONE;
    *first = from;
    *last = to < length ? to : length - 1;
    return HTTP_RANGE_PART;
}
