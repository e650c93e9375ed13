/* What is known of a window that was done early: bytes that another process has made.
 * What is read is written again as the same bytes; what is refused holds nothing. */
#include "fuzz.h"

#include "engine/ahead.h"

#define VOCABULARY 51865

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct account a;
    struct said said;
    struct window window;
    struct buf again;
    struct err e = {0};
    bool multilingual;
    bool begins = ahead_window(data, size, &window, &multilingual);
    if (ahead_read(data, size, VOCABULARY, false, &a, &said, &e)) {
        HOLDS(e.code == ERR_CORRUPT && !a.parts && !a.notes && !said.tokens);
        return 0;
    }
    HOLDS(begins && a.window.at == window.at && a.window.frames == window.frames);
    buf_init(&again, AHEAD_MAX_BYTES);
    HOLDS(ahead_write(&a, &said, multilingual, &again, &e) == 0);
    /* Whether it was said, and booleans, have more than one form. */
    HOLDS(again.length == size);
    buf_release(&again);
    account_release(&a);
    free(said.tokens);
    return 0;
}
