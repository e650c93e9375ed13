/* The minutes of audio that a key has for a day. */
#ifndef STORE_QUOTA_H
#define STORE_QUOTA_H

#include "store/keys.h"

enum quota_state {
    QUOTA_LEFT,
    QUOTA_WAITING, /* may be used up by the recordings that wait */
    QUOTA_USED,
};

/* `minutes` 0: no limit. As long as something is left, a recording is taken, however long
 * it is. `urls`: recordings that are not here yet, of which nothing is known, count for a
 * minute each. */
enum quota_state quota_judge(const struct store_usage *used, int64_t minutes, bool urls);

/* The same: 0, or ERR_QUOTA with the sentence. A back end asks when it makes a job,
 * within the transaction and one at a time for each key: whoever asked before the
 * recording came may have been told so together with many others. */
int quota_check(const struct store_usage *used, int64_t minutes, bool urls,
                struct err *e);

#endif
