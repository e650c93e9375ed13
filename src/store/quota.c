#include "store/quota.h"

/* A recording whose length is not known yet counts by its size, as if it were sound on a
 * CD, nearly: what is compressed counts as less than it is, hardly anything as more. */
#define BYTES_PER_SECOND 192000
#define SECONDS_PER_URL  60

enum quota_state quota_judge(const struct store_usage *used, int64_t minutes, bool urls)
{
    double limit = 60.0 * (double)minutes;
    double waiting = (double)used->waiting_bytes / BYTES_PER_SECOND;
    if (urls)
        waiting += (double)used->waiting_urls * SECONDS_PER_URL;
    if (!minutes)
        return QUOTA_LEFT;
    if (used->seconds >= limit)
        return QUOTA_USED;
    return used->seconds + waiting >= limit ? QUOTA_WAITING : QUOTA_LEFT;
}

int quota_check(const struct store_usage *used, int64_t minutes, bool urls, struct err *e)
{
    if (quota_judge(used, minutes, urls) == QUOTA_LEFT)
        return 0;
    return err_set(
        e, ERR_QUOTA,
        "the %lld minutes of audio that this key has for a day are used up, or "
        "will be by the recordings that came before: try again when some are left",
        (long long)minutes);
}
