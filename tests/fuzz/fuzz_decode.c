/* libFuzzer over what the decoder's child does with a file once it is locked in. FFmpeg's
 * own libraries are not instrumented, but their heap is watched; our code is both. */
#include "fuzz.h"

#include "media/extract.h"

#include "base/err.h"

#include <math.h>

struct input {
    const uint8_t *bytes;
    size_t length;
    uint64_t taken;
};

static int read_memory(void *arg, int64_t offset, uint8_t *out, int size)
{
    const struct input *in = arg;
    if (offset < 0 || size <= 0)
        abort();
    if ((uint64_t)offset >= in->length)
        return 0;
    size_t left = in->length - (size_t)offset;
    size_t n = left < (size_t)size ? left : (size_t)size;
    memcpy(out, in->bytes + offset, n);
    return (int)n;
}

static int take(void *arg, const float *samples, size_t count)
{
    struct input *in = arg;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(samples[i]))
            abort();
    in->taken += count;
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const struct input nothing = {.bytes = NULL};
    struct extract_job job = {.io = {.read_at = read_memory, .arg = (void *)&nothing}};
    return extract_prepare(&job, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct input in = {bytes, length, 0};
    struct extract_job job = {
        .io = {.read_at = read_memory, .arg = &in, .size = (int64_t)length},
        .max_samples = 20 * MEDIA_RATE,
        .write = take,
        .write_arg = &in,
    };
    job.is_plain = plain_find(&job.io, &job.plain);
    struct record r, checked;
    record_init(&r);
    extract_audio(&job, &r);
    /* Whatever came in, the parent must understand what goes out. */
    if (!record_check(&r, sizeof r, &checked) || r.samples != in.taken)
        abort();
    return 0;
}
