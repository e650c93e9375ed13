#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>

int64_t clock_wall_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct {
    atomic_bool now, lease; /* whether anybody agreed on what follows */
    _Atomic int64_t now_ahead_ms, sure_ahead_ms, lease_ahead_ms;
} agreed;

int64_t clock_boot_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_now_ms(void)
{
    return atomic_load(&agreed.now) ? clock_boot_ms() + atomic_load(&agreed.now_ahead_ms)
                                    : clock_wall_ms();
}

int64_t clock_sure_ms(void)
{
    return atomic_load(&agreed.now) ? clock_boot_ms() + atomic_load(&agreed.sure_ahead_ms)
                                    : clock_wall_ms();
}

int64_t clock_lease_ms(void)
{
    return atomic_load(&agreed.lease)
               ? clock_boot_ms() + atomic_load(&agreed.lease_ahead_ms)
               : clock_wall_ms();
}

static void set_lease(int64_t ahead_ms)
{
    atomic_store(&agreed.lease_ahead_ms, ahead_ms);
    atomic_store(&agreed.lease, true);
}

void clock_agree(int64_t now_ahead_ms, int64_t sure_ahead_ms)
{
    /* Never too late for a moment: what is deleted cannot be had again. */
    atomic_store(&agreed.sure_ahead_ms, sure_ahead_ms);
    atomic_store(&agreed.now_ahead_ms, now_ahead_ms);
    atomic_store(&agreed.now, true);
    if (!atomic_load(&agreed.lease))
        set_lease(now_ahead_ms);
}

void clock_agree_server(int64_t ahead_ms)
{
    set_lease(ahead_ms);
    clock_agree(ahead_ms, ahead_ms);
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
