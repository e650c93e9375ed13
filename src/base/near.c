#include "base/near.h"

#include <ctype.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t near_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t row[3][NEAR_MAX_LENGTH + 1];
    for (size_t j = 0; j <= b_length; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *now = row[i % 3];
        const size_t *above = row[(i + 2) % 3], *two_above = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            int x = toupper((unsigned char)a[i - 1]),
                y = toupper((unsigned char)b[j - 1]);
            now[j] = least(least(above[j], now[j - 1]) + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == toupper((unsigned char)b[j - 2]) &&
                y == toupper((unsigned char)a[i - 2]))
                now[j] = least(now[j], two_above[j - 2] + 1);
        }
    }
    return row[a_length % 3][b_length];
}
