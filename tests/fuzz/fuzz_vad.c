/* The voice detector's file, as bytes. The whole is too large to be an input, so none is
 * taken; every tensor is looked at on the way to the one that is missing. What was
 * refused holds nothing. */
#include "fuzz.h"

#include "engine/vad_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vad_weights w;
    struct err e = {0};
    HOLDS(vad_weights_read(&w, data, size, &e) == ERR_CORRUPT && e.message[0]);
    for (int i = 0; i < VAD_TENSORS; i++)
        HOLDS(!w.tensors[i]);
    return 0;
}
