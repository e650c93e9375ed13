/* The file comes from outside: protobuf-c takes it apart with a budget of memory, and
 * every tensor must have the name, type, shape and length that the network needs, and
 * values with which no sum of it can overflow. */
#include "engine/vad_weights.h"

#include "base/mem.h"
#include "onnx.pb-c.h"

#include <math.h>
#include <stdint.h>

#define MAX_DIMS     3
#define TYPE_FLOAT   1
#define BUDGET_BYTES ((size_t)16 << 20) /* some five times what the file needs */
/* The largest value is 55. With every value at this bound no float overflows. */
#define MAX_VALUE         1e3f

#define RNN(name)         "model.decoder.rnn." name
#define CONV(index, part) "model.encoder." #index ".reparam_conv." part

static const struct part {
    const char *name;
    int n_dims, dims[MAX_DIMS];
} parts[VAD_TENSORS] = {
    [VAD_STFT] = {"model.stft.forward_basis_buffer", 3, {258, 1, 256}},
    [VAD_CONV0] = {CONV(0, "weight"), 3, {128, 129, 3}},
    [VAD_CONV1] = {CONV(1, "weight"), 3, {64, 128, 3}},
    [VAD_CONV2] = {CONV(2, "weight"), 3, {64, 64, 3}},
    [VAD_CONV3] = {CONV(3, "weight"), 3, {128, 64, 3}},
    [VAD_BIAS0] = {CONV(0, "bias"), 1, {128}},
    [VAD_BIAS1] = {CONV(1, "bias"), 1, {64}},
    [VAD_BIAS2] = {CONV(2, "bias"), 1, {64}},
    [VAD_BIAS3] = {CONV(3, "bias"), 1, {128}},
    [VAD_INPUT] = {RNN("weight_ih"), 2, {512, 128}},
    [VAD_RECURRENT] = {RNN("weight_hh"), 2, {512, 128}},
    [VAD_INPUT_BIAS] = {RNN("bias_ih"), 1, {512}},
    [VAD_RECURRENT_BIAS] = {RNN("bias_hh"), 1, {512}},
    [VAD_OUTPUT] = {"model.decoder.decoder.2.weight", 3, {1, 128, 1}},
    [VAD_OUTPUT_BIAS] = {"model.decoder.decoder.2.bias", 1, {1}},
};

/* ---- memory for protobuf-c ------------------------------------------------------- */

/* A few bytes of a hostile file can ask for a thousand times as much memory. What is
 * given back does not count, as its size is not known. */
static void *budget_alloc(void *left, size_t size)
{
    size_t *bytes = left;
    if (size > *bytes)
        return NULL;
    *bytes -= size;
    return malloc(size ? size : 1);
}

static void budget_free(void *left, void *memory)
{
    (void)left;
    free(memory);
}

/* ---- tensors --------------------------------------------------------------------- */

static size_t part_count(const struct part *p)
{
    size_t count = 1;
    for (int i = 0; i < p->n_dims; i++)
        count *= (size_t)p->dims[i];
    return count;
}

static int find_part(const char *name)
{
    for (int i = 0; i < VAD_TENSORS; i++)
        if (name && !strcmp(parts[i].name, name))
            return i;
    return -1;
}

static bool same_shape(const struct part *p, const Onnx__Tensor *t)
{
    if (t->n_dims != (size_t)p->n_dims)
        return false;
    for (size_t i = 0; i < t->n_dims; i++)
        if (t->dims[i] != p->dims[i])
            return false;
    return true;
}

static float float_at(const uint8_t *bytes)
{
    uint32_t bits = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 |
                    (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int take_tensor(float **out, const struct part *p, const Onnx__Tensor *t,
                       struct err *e)
{
    size_t count = part_count(p);
    if (*out)
        return err_set(e, ERR_CORRUPT, "the tensor %s is there twice", p->name);
    if (!t->has_data_type || t->data_type != TYPE_FLOAT)
        return err_set(e, ERR_CORRUPT, "the tensor %s is not of 32-bit floats", p->name);
    if (!same_shape(p, t))
        return err_set(e, ERR_CORRUPT, "the tensor %s has another shape", p->name);
    if (!t->has_raw_data || t->raw_data.len != 4 * count)
        return err_set(e, ERR_CORRUPT, "the tensor %s has %zu bytes instead of %zu",
                       p->name, t->has_raw_data ? t->raw_data.len : 0, 4 * count);
    *out = mem_array(count, sizeof **out);
    if (!*out)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        (*out)[i] = float_at(t->raw_data.data + 4 * i);
        if (!(fabsf((*out)[i]) <= MAX_VALUE))
            return err_set(e, ERR_CORRUPT, "the tensor %s holds a value of %g", p->name,
                           (double)(*out)[i]);
    }
    return 0;
}

static int take_all(struct vad_weights *w, const Onnx__Graph *graph, struct err *e)
{
    for (size_t i = 0; graph && i < graph->n_initializer; i++) {
        const Onnx__Tensor *t = graph->initializer[i];
        int part = find_part(t->name);
        int rc = part < 0 ? 0 : take_tensor(&w->tensors[part], &parts[part], t, e);
        if (rc < 0)
            return rc;
    }
    for (int i = 0; i < VAD_TENSORS; i++)
        if (!w->tensors[i])
            return err_set(e, ERR_CORRUPT, "the tensor %s is missing", parts[i].name);
    return 0;
}

int vad_weights_read(struct vad_weights *w, const void *bytes, size_t length,
                     struct err *e)
{
    size_t left = BUDGET_BYTES;
    ProtobufCAllocator allocator = {
        .alloc = budget_alloc, .free = budget_free, .allocator_data = &left};
    *w = (struct vad_weights){0};
    Onnx__Model *model = onnx__model__unpack(&allocator, length, bytes);
    if (!model)
        return err_set(e, ERR_CORRUPT, "it is not an ONNX file, or only a part of one");
    int rc = take_all(w, model->graph, e);
    onnx__model__free_unpacked(model, &allocator);
    if (rc < 0)
        vad_weights_release(w);
    return rc;
}

void vad_weights_release(struct vad_weights *w)
{
    for (int i = 0; i < VAD_TENSORS; i++)
        free(w->tensors[i]);
    *w = (struct vad_weights){0};
}
