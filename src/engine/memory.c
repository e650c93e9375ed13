/* What a model will take of the memory, before it is loaded.
 *
 * Both halves follow from the dimensions: the packed image as model_plan.c lays it out,
 * and the net's mapping as net.c does. What is small beside them has a round figure. */
#include "engine/kernels/kernels.h"
#include "engine/model_ggml.h"
#include "engine/model_safetensors.h"
#include "engine/search.h"
#include "engine/session.h"

#include <sys/stat.h>

/* Vocabulary, filters, header. */
#define IMAGE_BESIDE_BYTES ((uint64_t)4 << 20)
/* The program, its libraries, the heap, the decoder's process, sound at hand. */
#define PROCESS_BYTES ((uint64_t)96 << 20)
/* Sequences' caches are for 8 side by side that all reach the end of the text's context.
 * Five beams that reach the middle of it are a third of that. */
#define CACHES_REACHED 3

static int read_dimensions(const char *path, struct whisper_config *c, bool *f16,
                           struct err *e)
{
    struct stat st;
    *f16 = false;
    if (stat(path, &st))
        return err_errno(e, "cannot open the model %s", path);
    return S_ISDIR(st.st_mode) ? safetensors_read_config(path, c, e)
                               : ggml_read_config(path, c, f16, e);
}

static int image_bytes(const struct whisper_config *c, bool f16, bool exact,
                       uint64_t *out, struct err *e)
{
    struct model_plan *plan = NULL;
    size_t end = 0;
    int status = plan_new(&plan, c, e);
    if (status)
        return status;
    bool bytes = !exact && kernels_choose()->attend;
    for (int i = 0; i < plan->n_slots; i++) {
        struct image_slot *slot = &plan->slots[i];
        bool conv = i == SLOT_CONV1 || i == SLOT_CONV2;
        slot->type = !slot->panels    ? WEIGHT_F32
                     : bytes && !conv ? WEIGHT_S8
                     : f16            ? WEIGHT_F16
                                      : WEIGHT_F32;
    }
    status = plan_layout(plan, 0, &end, e);
    plan_free(plan);
    *out = end + IMAGE_BESIDE_BYTES;
    return status;
}

static int session_bytes(const struct whisper_config *c,
                         const struct whisper_session_options *options, uint64_t *out,
                         struct err *e)
{
    int windows = options->max_batch > 0 ? options->max_batch : WHISPER_DEFAULT_BATCH;
    const struct net_options net = {.threads = options->threads,
                                    .max_windows = windows,
                                    .max_slots = windows * SEARCH_SLOTS,
                                    .wide_caches = options->exact,
                                    .short_attention = !options->exact};
    size_t whole = 0, caches = 0;
    int status = net_bytes(c, &net, &whole, &caches, e);
    uint64_t logits = (uint64_t)net.max_slots * (uint64_t)c->n_vocab * sizeof(float);
    *out = whole - caches + caches / CACHES_REACHED + logits + PROCESS_BYTES;
    return status;
}

int whisper_memory_needed(const char *path, const struct whisper_session_options *options,
                          struct whisper_memory *out, struct err *e)
{
    struct whisper_config c = {0};
    bool f16;
    *out = (struct whisper_memory){0};
    int status = read_dimensions(path, &c, &f16, e);
    if (!status)
        status = image_bytes(&c, f16, options->exact, &out->weights, e);
    return status ? status : session_bytes(&c, options, &out->session, e);
}
