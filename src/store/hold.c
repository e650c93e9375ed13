#include "store/hold.h"

#include "base/clock.h"
#include "store/settings.h"

#include <errno.h>
#include <stdlib.h>

bool store_is_held(struct store *s)
{
    struct buf text;
    buf_init(&text, 64);
    int status = store_setting_get(s, STORE_HOLD, &text, NULL);
    bool held = status && status != ERR_NOT_FOUND;
    if (!status) {
        char *end;
        errno = 0;
        int64_t until_ms = strtoll(buf_cstr(&text), &end, 10);
        /* A server's clock is everybody's; with a file, both are on one machine. */
        int64_t now_ms = store_is_shared(s) ? clock_now_ms() : clock_wall_ms();
        /* One that lies too far ahead was set before the clock was. */
        held = !errno && !*end && until_ms > now_ms &&
               until_ms <= now_ms + 2 * STORE_HOLD_MS;
    }
    buf_release(&text);
    return held;
}
