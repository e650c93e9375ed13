/* Loading whole models: every element of every tensor is where the kernels look for it.
 */
#include "base/mem.h"
#include "engine/model.h"
#include "model_files.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* Where the tensor of this name must be found: a linear weight and the row where it
 * begins, or a vector of f32. */
struct place {
    const struct weight *weight;
    int first_row;
    const float *vector;
};

static struct place in_layer(const struct decoder_layer *l, const char *name)
{
    const int state = 64;
    const struct {
        const char *name;
        struct place place;
    } places[] = {
        {"attn_ln.weight", {.vector = l->attn_norm.gain}},
        {"attn_ln.bias", {.vector = l->attn_norm.bias}},
        {"attn.query.weight", {.weight = &l->attn_qkv}},
        {"attn.query.bias", {.vector = l->attn_qkv.bias}},
        {"attn.key.weight", {.weight = &l->attn_qkv, .first_row = state}},
        {"attn.value.weight", {.weight = &l->attn_qkv, .first_row = 2 * state}},
        {"attn.value.bias", {.vector = l->attn_qkv.bias + 2 * state}},
        {"attn.out.weight", {.weight = &l->attn_out}},
        {"attn.out.bias", {.vector = l->attn_out.bias}},
        {"cross_attn_ln.weight", {.vector = l->cross_norm.gain}},
        {"cross_attn_ln.bias", {.vector = l->cross_norm.bias}},
        {"cross_attn.query.weight", {.weight = &l->cross_q}},
        {"cross_attn.query.bias", {.vector = l->cross_q.bias}},
        {"cross_attn.key.weight", {.weight = &l->cross_kv}},
        {"cross_attn.value.weight", {.weight = &l->cross_kv, .first_row = state}},
        {"cross_attn.value.bias",
         {.vector = l->cross_kv.bias ? l->cross_kv.bias + state : NULL}},
        {"cross_attn.out.weight", {.weight = &l->cross_out}},
        {"cross_attn.out.bias", {.vector = l->cross_out.bias}},
        {"mlp_ln.weight", {.vector = l->mlp_norm.gain}},
        {"mlp_ln.bias", {.vector = l->mlp_norm.bias}},
        {"mlp.0.weight", {.weight = &l->mlp_up}},
        {"mlp.0.bias", {.vector = l->mlp_up.bias}},
        {"mlp.2.weight", {.weight = &l->mlp_down}},
        {"mlp.2.bias", {.vector = l->mlp_down.bias}},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(places); i++)
        if (!strcmp(name, places[i].name))
            return places[i].place;
    fail_msg("no place for %s", name);
    return (struct place){0};
}

static struct place find_place(const struct whisper_model *m, const char *name)
{
    const struct {
        const char *name;
        struct place place;
    } places[] = {
        {"encoder.conv1.weight", {.weight = &m->conv1}},
        {"encoder.conv1.bias", {.vector = m->conv1.bias}},
        {"encoder.conv2.weight", {.weight = &m->conv2}},
        {"encoder.conv2.bias", {.vector = m->conv2.bias}},
        {"encoder.positional_embedding", {.vector = m->audio_positions}},
        {"encoder.ln_post.weight", {.vector = m->audio_norm.gain}},
        {"encoder.ln_post.bias", {.vector = m->audio_norm.bias}},
        {"decoder.token_embedding.weight", {.weight = &m->token_embedding}},
        {"decoder.positional_embedding", {.vector = m->text_positions}},
        {"decoder.ln.weight", {.vector = m->text_norm.gain}},
        {"decoder.ln.bias", {.vector = m->text_norm.bias}},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(places); i++)
        if (!strcmp(name, places[i].name))
            return places[i].place;
    static const char encoder[] = "encoder.blocks.0.", decoder[] = "decoder.blocks.0.";
    if (!strncmp(name, decoder, strlen(decoder)))
        return in_layer(&m->decoder[0], name + strlen(decoder));
    assert_memory_equal(name, encoder, strlen(encoder));
    const struct encoder_layer *e = &m->encoder[0];
    static struct decoder_layer layer; /* the place points into it */
    layer = (struct decoder_layer){.attn_norm = e->attn_norm,
                                   .mlp_norm = e->mlp_norm,
                                   .attn_qkv = e->attn_qkv,
                                   .attn_out = e->attn_out,
                                   .mlp_up = e->mlp_up,
                                   .mlp_down = e->mlp_down};
    return in_layer(&layer, name + strlen(encoder));
}

/* The element of the header's layout, written out here once more. */
static float element(const struct weight *w, int row, int column)
{
    size_t at = (size_t)(row / 16) * (size_t)w->cols * 16 + (size_t)column * 16 +
                (size_t)(row % 16);
    if (w->type == WEIGHT_F16)
        return f16_to_f32(((const uint16_t *)w->data)[at]);
    return ((const float *)w->data)[at];
}

static void check_part(const struct model_files *f, const struct whisper_model *m,
                       int part)
{
    const struct model_part *p = &f->plan->parts[part];
    struct place place = find_place(m, p->ggml);
    size_t n = plan_part_elements(p), cols = n / (size_t)p->dims[0];
    for (size_t i = 0; i < n; i++) {
        float expected = model_files_value(f, part, i), found;
        int row = place.first_row + (int)(i / cols), column = (int)(i % cols);
        if (p->conv)
            column = column % 3 * p->dims[1] + column / 3;
        if (place.weight)
            found = element(place.weight, row, column);
        else
            found = place.vector[i];
        if (found != expected)
            fail_msg("%s [%zu] is %g instead of %g", p->ggml, i, (double)found,
                     (double)expected);
    }
    if (!place.weight)
        return;
    assert_int_equal(((uintptr_t)place.weight->data) % 64, 0);
    assert_int_equal(place.weight->type, model_files_part_type(f, part) == TENSOR_F16
                                             ? WEIGHT_F16
                                             : WEIGHT_F32);
    assert_true(weight_at(place.weight, place.first_row + 17, 5) ==
                element(place.weight, place.first_row + 17, 5));
}

static void check_rest(const struct whisper_model *m)
{
    for (int i = 0; i < 64; i++) {
        assert_true(m->encoder[0].attn_qkv.bias[64 + i] == 0);
        assert_true(m->decoder[0].attn_qkv.bias[64 + i] == 0);
        assert_true(m->decoder[0].cross_kv.bias[i] == 0);
    }
    /* 51864 rows are 8 short of a whole panel. */
    assert_int_equal(m->token_embedding.rows % 16, 8);
    for (int row = m->token_embedding.rows; row % 16; row++)
        for (int column = 0; column < 64; column++)
            assert_true(element(&m->token_embedding, row, column) == 0);
    assert_null(m->token_embedding.bias);
    assert_int_equal(m->conv1.cols, 240);
    assert_int_equal(m->decoder[0].cross_kv.rows, 128);
    assert_int_equal(m->encoder[0].mlp_down.cols, 256);
    for (int i = 0; i < 80 * 201; i++)
        assert_true(m->mel_filters[i] == (float)i / 1024);
    assert_int_equal(m->vocab_offsets[256], 256);
    assert_int_equal(m->vocab_offsets[257] - m->vocab_offsets[256], 2);
    assert_memory_equal(m->vocab_bytes + m->vocab_offsets[256 + 0x4142], "AB", 2);
    assert_int_equal(m->vocab_offsets[51864], m->vocab_offsets[50256]);
}

static void check_type(enum tensor_type type)
{
    struct model_files f;
    char path[64];
    struct err e = {0};
    struct whisper_model *m = NULL;
    model_files_init(&f, type, false);
    model_files_ggml(&f);
    int fd = model_files_memory(f.bytes.data, f.bytes.length, path, sizeof path);
    if (whisper_model_load(&m, path, WHISPER_WEIGHTS_AS_GIVEN, &e))
        fail_msg("%s: %s", quant_name(type), e.message);
    for (int part = 0; part < f.plan->n_parts; part++)
        check_part(&f, m, part);
    check_rest(m);
    struct whisper_model_info info;
    whisper_model_describe(m, &info);
    assert_string_equal(info.weights, quant_name(type));
    assert_string_equal(info.type, "1+1 layers of 64");
    assert_false(info.multilingual);
    assert_int_equal(info.n_languages, 0);
    whisper_model_free(m);
    close(fd);
    model_files_release(&f);
}

static void test_packs_every_element_of_every_type(void **state)
{
    (void)state;
    for (int type = 0; type < TENSOR_TYPES; type++)
        check_type((enum tensor_type)type);
}

/* In 8 bits every element is the nearest multiple of its row's scale, which is a 127th of
 * the greatest; convolutions stay as they are. */
static void check_part_8(const struct model_files *f, const struct whisper_model *m,
                         int part)
{
    const struct model_part *p = &f->plan->parts[part];
    struct place place = find_place(m, p->ggml);
    if (!place.weight)
        return;
    assert_int_equal(place.weight->type == WEIGHT_S8, !p->conv);
    size_t n = plan_part_elements(p), cols = n / (size_t)p->dims[0];
    for (size_t row = 0; !p->conv && row < (size_t)p->dims[0]; row++) {
        int at = place.first_row + (int)row;
        float scale = place.weight->scales[at], most = 0;
        for (size_t i = 0; i < cols; i++) {
            float wanted = model_files_value(f, part, row * cols + i);
            float found = weight_at(place.weight, at, (int)i);
            most = fmaxf(most, fabsf(wanted));
            if (!(fabsf(found - wanted) <= 0.5001f * scale))
                fail_msg("%s: row %zu, column %zu is %g, not near %g", p->ggml, row, i,
                         (double)found, (double)wanted);
        }
        assert_true(scale == most / 127);
    }
}

static void test_packs_in_8_bits(void **state)
{
    (void)state;
    static const enum tensor_type types[] = {TENSOR_F16, TENSOR_F32, TENSOR_Q5_1};
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
        struct model_files f;
        char path[64];
        struct err e = {0};
        struct whisper_model *m = NULL;
        model_files_init(&f, types[i], false);
        model_files_ggml(&f);
        int fd = model_files_memory(f.bytes.data, f.bytes.length, path, sizeof path);
        if (whisper_model_load(&m, path, WHISPER_WEIGHTS_8_BITS, &e))
            fail_msg("%s", e.message);
        for (int part = 0; part < f.plan->n_parts; part++)
            check_part_8(&f, m, part);
        /* The rows that fill the last panel are nothing. */
        const struct weight *w = &m->token_embedding;
        const uint8_t *last =
            (const uint8_t *)w->data +
            (size_t)(w->rows / 16) * weight_panel_bytes(w->type, w->cols);
        for (int row = w->rows % 16; row < 16; row++)
            for (int column = 0; column < w->cols; column++)
                assert_int_equal(last[column / 4 * 64 + row * 4 + column % 4], 128);
        whisper_model_free(m);
        close(fd);
        model_files_release(&f);
    }
}

static struct whisper_model *load_small(void)
{
    struct model_files f;
    char path[64];
    struct whisper_model *m = NULL;
    model_files_init(&f, TENSOR_F16, true);
    model_files_ggml(&f);
    int fd = model_files_memory(f.bytes.data, f.bytes.length, path, sizeof path);
    assert_int_equal(whisper_model_load(&m, path, WHISPER_WEIGHTS_AS_GIVEN, NULL), 0);
    close(fd);
    model_files_release(&f);
    return m;
}

static void test_a_child_attaches_to_the_same_memory(void **state)
{
    (void)state;
    struct whisper_model *m = load_small();
    pid_t child = fork();
    if (child == 0) {
        int fd = dup(whisper_model_image_fd(m));
        struct whisper_model *mine = NULL;
        bool good = !whisper_model_attach(&mine, fd, NULL);
        close(fd);
        good = good && mine->image != m->image && mine->image_bytes == m->image_bytes &&
               !memcmp(mine->image, m->image, m->image_bytes) &&
               mine->token_embedding.rows == 51865 && mine->config.multilingual &&
               mine->config.n_languages == 99 && !strcmp(mine->weights_name, "f16") &&
               mine->decoder[0].mlp_down.bias[3] == m->decoder[0].mlp_down.bias[3];
        whisper_model_free(mine);
        whisper_model_free(m);
        _exit(good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    whisper_model_free(m);
}

static void test_nobody_can_change_the_image(void **state)
{
    (void)state;
    struct whisper_model *m = load_small();
    int fd = whisper_model_image_fd(m);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 10), -1);
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_equal(map, MAP_FAILED);
    whisper_model_free(m);
    whisper_model_free(NULL);
}

static int attach_copy(const struct whisper_model *m, size_t flip, size_t length,
                       bool seal, struct err *e)
{
    int fd = memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(fd, m->image, length), (ssize_t)length);
    uint8_t byte = (uint8_t) ~((const uint8_t *)m->image)[flip];
    if (flip < length)
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)flip), 1);
    if (seal)
        assert_int_equal(fcntl(fd, F_ADD_SEALS,
                               F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL),
                         0);
    struct whisper_model *mine = NULL;
    int status = whisper_model_attach(&mine, fd, e);
    whisper_model_free(mine);
    close(fd);
    return status;
}

static void test_refuses_images_that_are_not_ours(void **state)
{
    (void)state;
    struct whisper_model *m = load_small();
    struct err e;
    size_t n = m->image_bytes;
    assert_int_equal(attach_copy(m, n, n, true, &e), 0);
    assert_int_equal(attach_copy(m, n, n, false, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.message, "not sealed"));
    assert_int_equal(attach_copy(m, n, n - 1, true, &e), ERR_CORRUPT);
    assert_int_equal(attach_copy(m, n, 100, true, &e), ERR_CORRUPT);
    assert_int_equal(attach_copy(m, n, 0, true, &e), ERR_CORRUPT);
    /* Magic, version, count, length, vocabulary's length, every dimension. */
    for (size_t at = 0; at < 32 + 10 * 4; at++)
        assert_true(attach_copy(m, at, n, true, &e) < 0);
    int pipes[2];
    struct whisper_model *none = NULL;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(whisper_model_attach(&none, pipes[0], &e), ERR_CORRUPT);
    assert_true(whisper_model_attach(&none, -1, &e) < 0);
    assert_null(none);
    close(pipes[0]);
    close(pipes[1]);
    whisper_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packs_every_element_of_every_type),
        cmocka_unit_test(test_packs_in_8_bits),
        cmocka_unit_test(test_a_child_attaches_to_the_same_memory),
        cmocka_unit_test(test_nobody_can_change_the_image),
        cmocka_unit_test(test_refuses_images_that_are_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
