/* The voice detector with weights of the test's own making: hostile files, and what must
 * hold whatever the weights are. test_vad_real.c has the real ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "engine/threads.h"
#include "engine/vad.h"
#include "engine/vad_weights.h"

/* ---- writing a file -------------------------------------------------------------- */

struct tensor {
    const char *name;
    int n_dims, dims[3];
};

static const struct tensor tensors[VAD_TENSORS] = {
    {"model.stft.forward_basis_buffer", 3, {258, 1, 256}},
    {"model.encoder.0.reparam_conv.weight", 3, {128, 129, 3}},
    {"model.encoder.0.reparam_conv.bias", 1, {128}},
    {"model.encoder.1.reparam_conv.weight", 3, {64, 128, 3}},
    {"model.encoder.1.reparam_conv.bias", 1, {64}},
    {"model.encoder.2.reparam_conv.weight", 3, {64, 64, 3}},
    {"model.encoder.2.reparam_conv.bias", 1, {64}},
    {"model.encoder.3.reparam_conv.weight", 3, {128, 64, 3}},
    {"model.encoder.3.reparam_conv.bias", 1, {128}},
    {"model.decoder.rnn.weight_ih", 2, {512, 128}},
    {"model.decoder.rnn.weight_hh", 2, {512, 128}},
    {"model.decoder.rnn.bias_ih", 1, {512}},
    {"model.decoder.rnn.bias_hh", 1, {512}},
    {"model.decoder.decoder.2.weight", 3, {1, 128, 1}},
    {"model.decoder.decoder.2.bias", 1, {1}},
};

/* What is wrong with the file. */
struct damage {
    int part;        /* of this tensor */
    int without;     /* 1: it is not there */
    int twice;       /* 1: it is there again */
    int dims[3];     /* instead of its own, when dims[0] != 0 */
    int n_dims;      /* instead of its own, when not 0 */
    int type;        /* instead of 1 (float), when not 0 */
    ptrdiff_t extra; /* bytes more than its shape asks for */
    float value;     /* of its last element, when not 0 */
    int packed;      /* 1: dims written the other way that the format allows */
};

static uint32_t seed;

static float random_value(void)
{
    seed = seed * 1664525u + 1013904223u;
    return 0.2f * ((float)(seed >> 8) / 8388608.0f - 1.0f);
}

static void put_varint(struct buf *b, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        buf_char(b, (char)(value | 128));
    buf_char(b, (char)value);
}

static void put_bytes(struct buf *b, int field, const void *bytes, size_t length)
{
    put_varint(b, (uint64_t)field << 3 | 2);
    put_varint(b, length);
    buf_add(b, bytes, length);
}

static void put_number(struct buf *b, int field, uint64_t value)
{
    put_varint(b, (uint64_t)field << 3);
    put_varint(b, value);
}

static void put_dims(struct buf *b, const int *dims, int n, bool packed)
{
    struct buf together;
    buf_init(&together, 1000);
    for (int i = 0; i < n; i++) {
        if (packed)
            put_varint(&together, (uint64_t)dims[i]);
        else
            put_number(b, 1, (uint64_t)dims[i]);
    }
    if (packed)
        put_bytes(b, 1, together.data, together.length);
    buf_release(&together);
}

/* The values of all tensors, one after the other, as a file has them. */
#define VALUES 400000
static float values[VALUES];

static void make_values(void)
{
    seed = 1;
    for (size_t i = 0; i < VALUES; i++)
        values[i] = random_value();
}

/* Returns how many values it has. */
static size_t put_tensor(struct buf *graph, const struct tensor *t, const float *from,
                         const struct damage *d)
{
    struct buf b, raw;
    size_t count = 1;
    buf_init(&b, 1 << 20);
    buf_init(&raw, 1 << 20);
    for (int i = 0; i < t->n_dims; i++)
        count *= (size_t)t->dims[i];
    buf_add(&raw, from, count * sizeof *from);
    if (d && (d->value > 0 || d->value < 0 || isnan(d->value)))
        memcpy(raw.data + raw.length - sizeof d->value, &d->value, sizeof d->value);
    for (ptrdiff_t i = 0; d && i < d->extra; i++)
        buf_char(&raw, 0);
    if (d && d->extra < 0)
        raw.length -= (size_t)-d->extra;
    put_dims(&b, d && d->dims[0] ? d->dims : t->dims,
             d && d->n_dims ? d->n_dims : t->n_dims, d && d->packed);
    put_number(&b, 2, d && d->type ? (uint64_t)d->type : 1);
    put_bytes(&b, 8, t->name, strlen(t->name));
    put_bytes(&b, 9, raw.data, raw.length);
    put_bytes(graph, 5, b.data, b.length);
    buf_release(&b);
    buf_release(&raw);
    return count;
}

/* Where tensors end, counted from the end of the file. */
static size_t ends[VAD_TENSORS];

/* A whole file, with fields around the graph that nobody reads, as real ones have. */
static void write_file(struct buf *out, const struct damage *d)
{
    struct buf graph;
    size_t at = 0;
    buf_init(&graph, 4 << 20);
    buf_init(out, 8 << 20);
    put_bytes(&graph, 1, "a node", 6);
    put_bytes(&graph, 2, "main_graph", 10);
    for (int i = 0; i < VAD_TENSORS; i++) {
        const struct damage *here = d && d->part == i ? d : NULL;
        size_t from = at;
        if (!here || !here->without)
            at += put_tensor(&graph, &tensors[i], values + from, here);
        if (here && here->twice)
            (void)put_tensor(&graph, &tensors[i], values + from, NULL);
        ends[i] = graph.length;
    }
    for (int i = 0; i < VAD_TENSORS; i++)
        ends[i] = graph.length - ends[i];
    put_number(out, 1, 8);
    put_bytes(out, 2, "a producer", 10);
    put_bytes(out, 7, graph.data, graph.length);
    buf_release(&graph);
    assert_false(buf_failed(out));
}

/* ---- reading it ------------------------------------------------------------------ */

static int read_bytes(const void *bytes, size_t length, struct err *e)
{
    struct vad_weights w;
    int rc = vad_weights_read(&w, bytes, length, e);
    if (rc == 0)
        vad_weights_release(&w);
    return rc;
}

static void assert_damaged(const struct damage *d, const char *said)
{
    struct err e = {0};
    struct buf file;
    write_file(&file, d);
    assert_int_equal(read_bytes(file.data, file.length, &e), ERR_CORRUPT);
    if (!strstr(e.message, said))
        fail_msg("\"%s\" does not say \"%s\"", e.message, said);
    if (!d->without && !strstr(e.message, tensors[d->part].name))
        fail_msg("\"%s\" does not name the tensor", e.message);
    buf_release(&file);
}

static void a_whole_file_is_read(void **state)
{
    (void)state;
    struct buf file;
    struct vad_weights w;
    write_file(&file, NULL);
    assert_int_equal(vad_weights_read(&w, file.data, file.length, NULL), 0);
    assert_true(w.tensors[VAD_STFT][0] == values[0]);
    assert_true(w.tensors[VAD_STFT][1] == values[1]);
    vad_weights_release(&w);
    buf_release(&file);
    const struct damage packed = {.part = 1, .packed = 1}; /* which is none */
    write_file(&file, &packed);
    assert_int_equal(read_bytes(file.data, file.length, NULL), 0);
    buf_release(&file);
}

static void every_tensor_must_be_right(void **state)
{
    (void)state;
    for (int i = 0; i < VAD_TENSORS; i++) {
        const struct tensor *t = &tensors[i];
        int last = t->n_dims - 1;
        struct damage shape = {.part = i, .dims = {t->dims[0], t->dims[1], t->dims[2]}};
        shape.dims[last]++;
        assert_damaged(&shape, "another shape");
        shape.dims[last] -= 2;
        if (shape.dims[0])
            assert_damaged(&shape, "another shape");
        assert_damaged(&(struct damage){.part = i, .without = 1}, "is missing");
        assert_damaged(&(struct damage){.part = i, .twice = 1}, "twice");
        assert_damaged(&(struct damage){.part = i, .type = 10}, "32-bit floats");
        assert_damaged(&(struct damage){.part = i, .extra = 1}, "bytes instead of");
        assert_damaged(&(struct damage){.part = i, .extra = -1}, "bytes instead of");
        assert_damaged(&(struct damage){.part = i, .value = NAN}, "holds a value of");
        assert_damaged(&(struct damage){.part = i, .value = -INFINITY}, "holds a value");
        assert_damaged(&(struct damage){.part = i, .value = 1e4f}, "holds a value of");
    }
}

static void shapes_cannot_be_turned(void **state)
{
    (void)state;
    /* As many elements, in another order. */
    assert_damaged(&(struct damage){.part = 1, .dims = {129, 128, 3}}, "another shape");
    assert_damaged(&(struct damage){.part = 9, .dims = {128, 512}}, "another shape");
    assert_damaged(&(struct damage){.part = 0, .dims = {258, 256}, .n_dims = 2},
                   "another shape");
    assert_damaged(&(struct damage){.part = 9, .dims = {512, 128, 1}, .n_dims = 3},
                   "another shape");
}

static void assert_refused(const struct buf *file, size_t length)
{
    struct err e;
    /* A copy of that size: an instrumented build sees a read behind its end. */
    char *copy = malloc(length ? length : 1);
    memcpy(copy, file->data, length);
    assert_int_equal(read_bytes(copy, length, &e), ERR_CORRUPT);
    free(copy);
}

/* Cut off anywhere, it is refused: every tensor is needed, and the graph is the last. */
static void a_file_that_breaks_off_is_refused(void **state)
{
    (void)state;
    struct buf file;
    write_file(&file, NULL);
    for (size_t length = 0; length < 150; length++)
        assert_refused(&file, length);
    for (size_t length = 150; length < file.length; length += 19997)
        assert_refused(&file, length);
    for (int i = 0; i < VAD_TENSORS; i++)
        for (size_t around = 0; around < 12; around++) {
            size_t length = file.length - ends[i] + around - 6;
            if (length < file.length)
                assert_refused(&file, length);
        }
    buf_release(&file);
}

static void damaged_bytes_never_harm(void **state)
{
    (void)state;
    struct buf file;
    write_file(&file, NULL);
    uint32_t random = 5;
    for (int i = 0; i < 120; i++) {
        random = random * 1664525u + 1013904223u;
        size_t at = i < 80 ? (size_t)i : random % file.length;
        char old = file.data[at];
        file.data[at] = (char)(old ^ (char)(1 << (i % 8)));
        (void)read_bytes(file.data, file.length, NULL);
        file.data[at] = old;
    }
    assert_int_equal(read_bytes(file.data, file.length, NULL), 0);
    buf_release(&file);
}

static void a_small_file_cannot_ask_for_much_memory(void **state)
{
    (void)state;
    struct buf graph, file;
    struct err e;
    buf_init(&graph, 4 << 20);
    buf_init(&file, 4 << 20);
    while (graph.length < (3 << 20)) /* a million and a half of empty tensors */
        put_bytes(&graph, 5, "", 0);
    put_bytes(&file, 7, graph.data, graph.length);
    assert_int_equal(read_bytes(file.data, file.length, &e), ERR_CORRUPT);
    buf_release(&graph);
    buf_release(&file);
}

static void what_is_no_such_file_is_refused(void **state)
{
    (void)state;
    char path[] = "/tmp/test-vad-XXXXXX";
    struct err e;
    struct vad *v;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(vad_open(&v, path, &e), ERR_CORRUPT); /* empty */
    assert_non_null(strstr(e.message, path));
    assert_int_equal(fs_write_all(fd, "ggml, perhaps", 13, NULL), 0);
    assert_int_equal(vad_open(&v, path, &e), ERR_CORRUPT);
    assert_int_equal(ftruncate(fd, 5 << 20), 0);
    assert_true(vad_open(&v, path, &e) < 0);
    assert_null(v);
    close(fd);
    unlink(path);
    assert_int_equal(vad_open(&v, path, &e), ERR_NOT_FOUND);
    assert_true(vad_open(&v, "/tmp", &e) < 0);
    vad_close(NULL);
}

/* ---- running it ------------------------------------------------------------------ */

#define MAX_SAMPLES (512 * 40 + 100)
#define COUNT       41

static float samples[MAX_SAMPLES];

static struct vad *open_random(void)
{
    char path[] = "/tmp/test-vad-XXXXXX";
    struct buf file;
    struct vad *v;
    int fd = mkstemp(path);
    write_file(&file, NULL);
    assert_int_equal(fs_write_all(fd, file.data, file.length, NULL), 0);
    assert_int_equal(vad_open(&v, path, NULL), 0);
    close(fd);
    unlink(path);
    buf_release(&file);
    for (size_t i = 0; i < MAX_SAMPLES; i++)
        samples[i] = random_value();
    return v;
}

static void run(const struct vad *v, struct pool *pool, size_t n, float *out)
{
    assert_int_equal(vad_run(v, pool, samples, n, 1, out, NULL, NULL, NULL), 0);
}

static void any_length_has_its_probabilities(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 511, 512, 513, 1023, 1024, 16384, 16385};
    float whole[COUNT], part[COUNT + 1];
    struct vad *v = open_random();
    run(v, NULL, MAX_SAMPLES, whole);
    assert_int_equal(vad_count(0), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
        size_t count = vad_count(lengths[i]);
        assert_int_equal(count, (lengths[i] + 511) / 512);
        part[count] = -1;
        run(v, NULL, lengths[i], part);
        assert_true(part[count] == -1); /* not one too many */
        /* The whole frames are the same: nothing looks ahead. */
        assert_memory_equal(part, whole, lengths[i] / 512 * sizeof *part);
    }
    vad_close(v);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    float alone[COUNT], together[COUNT];
    struct vad *v = open_random();
    run(v, NULL, MAX_SAMPLES, alone);
    for (int threads = 1; threads < 5; threads++) {
        struct pool *pool;
        assert_int_equal(pool_new(&pool, threads, NULL), 0);
        run(v, pool, MAX_SAMPLES, together);
        assert_memory_equal(alone, together, sizeof alone);
        pool_free(pool);
    }
    vad_close(v);
}

static void odd_samples_are_taken_for_silence_or_full_scale(void **state)
{
    (void)state;
    float plain[COUNT], odd[COUNT];
    struct vad *v = open_random();
    samples[700] = 0;
    samples[701] = 1;
    samples[702] = -1;
    run(v, NULL, MAX_SAMPLES, plain);
    samples[700] = NAN;
    samples[701] = INFINITY;
    samples[702] = -1e30f;
    run(v, NULL, MAX_SAMPLES, odd);
    assert_memory_equal(plain, odd, sizeof plain);
    vad_close(v);
}

static void gain_is_as_if_it_were_louder(void **state)
{
    (void)state;
    float loud[COUNT], gained[COUNT];
    struct vad *v = open_random();
    assert_int_equal(vad_run(v, NULL, samples, MAX_SAMPLES, 4, gained, NULL, NULL, NULL),
                     0);
    for (size_t i = 0; i < MAX_SAMPLES; i++)
        samples[i] *= 4;
    run(v, NULL, MAX_SAMPLES, loud);
    assert_memory_equal(loud, gained, sizeof loud);
    vad_close(v);
}

static bool yes(void *arg)
{
    (void)arg;
    return true;
}

static void work_can_be_cancelled(void **state)
{
    (void)state;
    float out[COUNT];
    struct err e;
    struct vad *v = open_random();
    assert_int_equal(vad_run(v, NULL, samples, MAX_SAMPLES, 1, out, yes, NULL, &e),
                     ERR_CANCELLED);
    vad_close(v);
}

int main(void)
{
    make_values();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_file_is_read),
        cmocka_unit_test(every_tensor_must_be_right),
        cmocka_unit_test(shapes_cannot_be_turned),
        cmocka_unit_test(a_file_that_breaks_off_is_refused),
        cmocka_unit_test(damaged_bytes_never_harm),
        cmocka_unit_test(a_small_file_cannot_ask_for_much_memory),
        cmocka_unit_test(what_is_no_such_file_is_refused),
        cmocka_unit_test(any_length_has_its_probabilities),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(odd_samples_are_taken_for_silence_or_full_scale),
        cmocka_unit_test(gain_is_as_if_it_were_louder),
        cmocka_unit_test(work_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
