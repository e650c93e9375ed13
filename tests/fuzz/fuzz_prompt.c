/* Texts from outside on their way into the model (prompt, prefix, hotwords), and what the
 * model says on its way out: an input is such a text, and the numbers of tokens.
 *
 * Whatever is written becomes ordinary tokens, and joined they are the text again, as
 * UTF-8. */
#include "fuzz.h"

#include "engine/tokenizer.h"
#include "model_files.h"

#include <unistd.h>

static struct whisper_model *model;
static struct tokenizer *tokens;

/* A model with single bytes and short words for a vocabulary, made once. */
static void prepare(void)
{
    struct model_files files;
    char path[64];
    struct err e;
    if (tokens)
        return;
    model_files_init(&files, TENSOR_Q4_0, false);
    model_files_ggml(&files);
    int fd = model_files_memory(files.bytes.data, files.bytes.length, path, sizeof path);
    HOLDS(!whisper_model_load(&model, path, WHISPER_WEIGHTS_AS_GIVEN, &e));
    HOLDS(!tokenizer_open(&tokens, model, &e));
    model_files_release(&files);
    close(fd);
}

/* The text that its tokens make; NULL when it cannot be cut into tokens. */
static char *in_and_out(const char *text)
{
    int32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    struct err e = {0};
    char *back = NULL;
    if (!tokenizer_encode(tokens, text, strlen(text), &ids, &count, &capacity, &e)) {
        const struct special_tokens *special = tokenizer_specials(tokens);
        for (size_t i = 0; i < count; i++)
            HOLDS(ids[i] >= 0 && ids[i] < special->eot);
        back = tokenizer_decode(tokens, ids, count);
        HOLDS(back);
    } else {
        HOLDS(e.message[0]);
    }
    free(ids);
    return back;
}

static void out_alone(const uint8_t *data, size_t size)
{
    int32_t ids[256];
    size_t count = size / sizeof *ids < 256 ? size / sizeof *ids : 256;
    if (count)
        memcpy(ids, data, count * sizeof *ids);
    for (size_t i = 0; i < count; i++)
        ids[i] &= 0xFFFF;
    char *text = tokenizer_decode(tokens, ids, count);
    HOLDS(text);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    prepare();
    char *text = fuzz_text(data, size);
    char *once = in_and_out(text), *twice = once ? in_and_out(once) : NULL;
    /* What is not UTF-8 is replaced the first time. */
    HOLDS(!once || (twice && !strcmp(once, twice)));
    free(once);
    free(twice);
    out_alone(data, size);
    free(text);
    return 0;
}
