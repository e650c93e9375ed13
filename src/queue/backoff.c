#include "queue/queue.h"

#include <sodium.h>

int64_t queue_backoff_ms(int times, int64_t first_ms, int64_t most_ms)
{
    int64_t wait = first_ms;
    for (int i = 1; i < times && wait < most_ms; i++)
        wait *= 2;
    if (wait > most_ms)
        wait = most_ms;
    return wait - (int64_t)randombytes_uniform((uint32_t)(wait / 2 + 1));
}
