/* The voice detector's file, as bytes. Give it the beginning of the published one as a
 * corpus: `head -c 70000`, and -max_len=70000. */
#include <stddef.h>
#include <stdint.h>

#include "engine/vad_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vad_weights w;
    struct err e;
    if (vad_weights_read(&w, data, size, &e) == 0)
        vad_weights_release(&w);
    return 0;
}
