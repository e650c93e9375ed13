#include "base/clock.h"

int64_t clock_wall_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_monotonic_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

double clock_monotonic_seconds(void)
{
    return (double)clock_monotonic_ns() * 1e-9;
}

const char *clock_iso(int64_t wall_ms, char out[CLOCK_ISO_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    if (wall_ms < 0 || !gmtime_r(&seconds, &utc) || utc.tm_year > 8099) {
        (void)snprintf(out, CLOCK_ISO_SIZE, "1970-01-01T00:00:00.000Z");
        return out;
    }
    size_t length = strftime(out, CLOCK_ISO_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(out + length, CLOCK_ISO_SIZE - length, ".%03dZ",
                   (int)(wall_ms % 1000));
    return out;
}
