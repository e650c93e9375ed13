/* The net on a small model of random weights: against a plain second implementation in
 * double precision, alone and in batches, and its limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/kernels/kernels.h"
#include "engine/session.h"
#include "random_model.h"

#include <math.h>

#define VOCAB   101
#define CONTEXT 40
#define WINDOWS 2
#define SLOTS   6

/* ---- the same decoder, written plainly ----------------------------------------------
 */

static double weight_value(const struct weight *w, int row, int col)
{
    return (double)weight_at(w, row, col);
}

static void plain_linear(const struct weight *w, const double *x, int first, int count,
                         double *y)
{
    for (int r = 0; r < count; r++) {
        y[r] = w->bias ? (double)w->bias[first + r] : 0;
        for (int c = 0; c < w->cols; c++)
            y[r] += weight_value(w, first + r, c) * x[c];
    }
}

static void plain_norm(const struct layer_norm *norm, const double *x, int n, double *y)
{
    double mean = 0, variance = 0;
    for (int i = 0; i < n; i++)
        mean += x[i] / n;
    for (int i = 0; i < n; i++)
        variance += (x[i] - mean) * (x[i] - mean) / n;
    for (int i = 0; i < n; i++)
        y[i] = (x[i] - mean) / sqrt(variance + 1e-5) * (double)norm->gain[i] +
               (double)norm->bias[i];
}

static double looked_at[3][1500]; /* by the last query */

/* One query over `keys` rows of [S] each, 3 heads of 16. */
static void plain_attention(const double *q, const double *k, const double *v, int keys,
                            double *out)
{
    double p[1500];
    for (int h = 0; h < 3; h++) {
        double most = -INFINITY, sum = 0;
        for (int t = 0; t < keys; t++) {
            p[t] = 0;
            for (int i = h * 16; i < h * 16 + 16; i++)
                p[t] += q[i] * k[t * 48 + i] / 4;
            most = fmax(most, p[t]);
        }
        for (int t = 0; t < keys; t++)
            sum += p[t] = exp(p[t] - most);
        for (int t = 0; t < keys; t++)
            looked_at[h][t] = p[t] / sum;
        for (int i = h * 16; i < h * 16 + 16; i++) {
            out[i] = 0;
            for (int t = 0; t < keys; t++)
                out[i] += p[t] / sum * v[t * 48 + i];
        }
    }
}

struct plain {
    const struct whisper_model *m;
    double *cross_k[2], *cross_v[2]; /* owned [1500][48] */
    double self_k[2][CONTEXT * 48], self_v[2][CONTEXT * 48];
    int length;
};

static void plain_begin(struct plain *p, const struct whisper_model *m,
                        const float *encoded)
{
    p->m = m;
    p->length = 0;
    for (int i = 0; i < 2; i++) {
        p->cross_k[i] = mem_array(1500 * 48, sizeof(double));
        p->cross_v[i] = mem_array(1500 * 48, sizeof(double));
        assert_true(p->cross_k[i] && p->cross_v[i]);
        for (int t = 0; t < 1500; t++) {
            double x[32];
            for (int c = 0; c < 32; c++)
                x[c] = (double)encoded[t * 32 + c];
            plain_linear(&m->decoder[i].cross_kv, x, 0, 48, p->cross_k[i] + t * 48);
            plain_linear(&m->decoder[i].cross_kv, x, 48, 48, p->cross_v[i] + t * 48);
        }
    }
}

static void plain_end(struct plain *p)
{
    for (int i = 0; i < 2; i++) {
        free(p->cross_k[i]);
        free(p->cross_v[i]);
    }
}

static void add(double *x, const double *y)
{
    for (int i = 0; i < 48; i++)
        x[i] += y[i];
}

static void plain_layer(struct plain *p, int i, double *x)
{
    const struct decoder_layer *l = &p->m->decoder[i];
    double y[48], q[48], a[48], hidden[192];
    plain_norm(&l->attn_norm, x, 48, y);
    plain_linear(&l->attn_qkv, y, 0, 48, q);
    plain_linear(&l->attn_qkv, y, 48, 48, p->self_k[i] + p->length * 48);
    plain_linear(&l->attn_qkv, y, 96, 48, p->self_v[i] + p->length * 48);
    plain_attention(q, p->self_k[i], p->self_v[i], p->length + 1, a);
    plain_linear(&l->attn_out, a, 0, 48, y);
    add(x, y);
    plain_norm(&l->cross_norm, x, 48, y);
    plain_linear(&l->cross_q, y, 0, 48, q);
    plain_attention(q, p->cross_k[i], p->cross_v[i], 1500, a);
    plain_linear(&l->cross_out, a, 0, 48, y);
    add(x, y);
    plain_norm(&l->mlp_norm, x, 48, y);
    plain_linear(&l->mlp_up, y, 0, 192, hidden);
    for (int j = 0; j < 192; j++)
        hidden[j] *= 0.5 * (1 + erf(hidden[j] * M_SQRT1_2));
    plain_linear(&l->mlp_down, hidden, 0, 48, y);
    add(x, y);
}

static void plain_step(struct plain *p, int32_t token, double *logits)
{
    double x[48], y[48];
    for (int i = 0; i < 48; i++)
        x[i] = weight_value(&p->m->token_embedding, token, i) +
               (double)p->m->text_positions[p->length * 48 + i];
    plain_layer(p, 0, x);
    plain_layer(p, 1, x);
    p->length++;
    plain_norm(&p->m->text_norm, x, 48, y);
    plain_linear(&p->m->token_embedding, y, 0, VOCAB, logits);
}

/* ---- the net ------------------------------------------------------------------------
 */

struct fixture {
    struct whisper_model *m;
    struct net *net;
    float *mel[WINDOWS];
};

static void open_fixture(struct fixture *f, enum weight_type type, int threads,
                         bool wide_caches)
{
    struct net_options o = {.threads = threads,
                            .max_windows = WINDOWS,
                            .max_slots = SLOTS,
                            .wide_caches = wide_caches};
    struct err e = {0};
    f->m = random_model_new(type);
    if (net_open(&f->net, f->m, &o, &e))
        fail_msg("%s", e.message);
    for (int w = 0; w < WINDOWS; w++) {
        f->mel[w] = mem_array(3000 * 10, sizeof(float));
        assert_non_null(f->mel[w]);
        for (int i = 0; i < 3000 * 10; i++)
            f->mel[w][i] = sinf((float)(i * (w + 3)) * 0.37f);
    }
    net_encode(f->net, 0, (const float *const *)f->mel, WINDOWS);
    for (int s = 0; s < SLOTS; s++)
        net_slot_begin(f->net, s, s % WINDOWS);
}

static void close_fixture(struct fixture *f)
{
    for (int w = 0; w < WINDOWS; w++)
        free(f->mel[w]);
    net_close(f->net);
    random_model_free(f->m);
}

static void decode(struct fixture *f, const struct net_input *inputs, int count,
                   float *logits)
{
    struct err e = {0};
    if (net_decode(f->net, inputs, count, logits, &e))
        fail_msg("%s", e.message);
}

/* Token t of sequence s. */
static int32_t token_of(int s, int t)
{
    return (int32_t)((s * 31 + t * 17 + t * t) % VOCAB);
}

/* The bounds are on logits of about 1. */
static void check_against_plain(enum weight_type type, bool wide_caches, double bound)
{
    struct fixture f;
    struct plain p;
    float logits[VOCAB];
    double wanted[VOCAB];
    open_fixture(&f, type, 2, wide_caches);
    plain_begin(&p, f.m, net_encoded(f.net));
    for (int t = 0; t < 18; t++) { /* past a panel of keys */
        int32_t token = token_of(1, t);
        decode(&f, &(struct net_input){1, &token, 1, 0}, 1, logits);
        plain_step(&p, token, wanted);
        for (int i = 0; i < VOCAB; i++)
            assert_true(fabs((double)logits[i] - wanted[i]) < bound);
    }
    assert_int_equal(net_slot_length(f.net, 1), 18);
    plain_end(&p);
    close_fixture(&f);
}

static void agrees_with_the_plain_one(void **state)
{
    (void)state;
    const struct kernels *level;
    for (int l = 0; (level = kernels_level(l)); l++) {
        setenv("WT_CPU_LEVEL", level->name, 1);
        check_against_plain(WEIGHT_F16, true, 2e-5);
        check_against_plain(WEIGHT_F16, false, 5e-3);
        check_against_plain(WEIGHT_S8, false, 8e-2); /* inputs in 8 bits, too */
    }
    unsetenv("WT_CPU_LEVEL");
}

/* A prompt in one pass, with all logits, gives the very bits of token by token. */
static void prompt_is_the_same_as_steps(void **state)
{
    (void)state;
    struct fixture f;
    static float all[CONTEXT * VOCAB], one[VOCAB];
    int32_t tokens[CONTEXT];
    open_fixture(&f, WEIGHT_F32, 3, true);
    for (int t = 0; t < CONTEXT; t++)
        tokens[t] = token_of(0, t);
    decode(&f, &(struct net_input){0, tokens, CONTEXT, 0}, 1, all);
    for (int t = 0; t < CONTEXT; t++) {
        decode(&f, &(struct net_input){4, &tokens[t], 1, 0}, 1, one);
        assert_memory_equal(one, all + t * VOCAB, sizeof one);
    }
    close_fixture(&f);
}

/* Six sequences of two windows and different lengths at once: each gets the very bits
 * that it gets alone, in the order of the inputs. */
static void check_batch(enum weight_type type)
{
    struct fixture f;
    static float together[SLOTS * VOCAB], alone[VOCAB];
    int32_t tokens[SLOTS][3];
    struct net_input inputs[SLOTS];
    open_fixture(&f, type, 2, false);
    for (int t = 0; t < 4; t++) {
        for (int s = 0; s < SLOTS; s++) {
            for (int i = 0; i < 3; i++)
                tokens[s][i] = token_of(s, 3 * t + i);
            int n = 1 + (s + t) % 3;
            inputs[SLOTS - 1 - s] = (struct net_input){s, tokens[s], n, n - 1};
        }
        decode(&f, inputs, SLOTS, together);
        for (int i = 0; i < SLOTS; i++) {
            int length = net_slot_length(f.net, inputs[i].slot);
            net_slot_truncate(f.net, inputs[i].slot, length - inputs[i].n_tokens);
            decode(&f, &inputs[i], 1, alone);
            assert_memory_equal(alone, together + i * VOCAB, sizeof alone);
        }
    }
    close_fixture(&f);
}

static void batch_is_the_same_as_alone(void **state)
{
    (void)state;
    check_batch(WEIGHT_F16);
    check_batch(WEIGHT_S8);
}

/* More rows than one pass holds: 6 x 30 over a context of 40. */
static void many_rows_take_several_passes(void **state)
{
    (void)state;
    struct fixture f;
    static float together[SLOTS * 2 * VOCAB], alone[2 * VOCAB];
    int32_t tokens[SLOTS][30];
    struct net_input inputs[SLOTS];
    open_fixture(&f, WEIGHT_F16, 2, false);
    for (int s = 0; s < SLOTS; s++) {
        for (int i = 0; i < 30; i++)
            tokens[s][i] = token_of(s, i);
        inputs[s] = (struct net_input){s, tokens[s], 30, 28};
    }
    decode(&f, inputs, SLOTS, together);
    for (int s = 0; s < SLOTS; s++) {
        net_slot_begin(f.net, s, s % WINDOWS);
        decode(&f, &inputs[s], 1, alone);
        assert_memory_equal(alone, together + (ptrdiff_t)s * 2 * VOCAB, sizeof alone);
    }
    close_fixture(&f);
}

struct captured {
    float *out;     /* borrowed [heads][rows][columns] */
    double *wanted; /* borrowed [rows][3][1500], of layer 1 */
    int columns, calls;
};

static void compare_layer(void *arg, int first, int count, int rows)
{
    struct captured *c = arg;
    static const int heads[] = {1, 0, 2}; /* of the list in the test */
    c->calls++;
    assert_int_equal(rows, 5);
    assert_int_equal(first, c->calls == 1 ? 0 : 1);
    assert_int_equal(count, c->calls == 1 ? 1 : 2);
    for (int i = 0; c->calls == 2 && i < count; i++)
        for (int r = 0; r < rows; r++)
            for (int k = 0; k < c->columns; k++)
                assert_true(fabs((double)c->out[(i * rows + r) * c->columns + k] -
                                 c->wanted[(r * 3 + heads[first + i]) * 1500 + k]) <
                            1e-6);
}

static void what_is_looked_at_can_be_seen(void **state)
{
    (void)state;
    static const struct net_head heads[] = {{0, 1}, {1, 0}, {1, 2}};
    struct fixture f;
    struct plain p;
    static float seen[2 * 5 * 701], logits[VOCAB];
    static double wanted[5 * 3 * 1500], ignored[VOCAB];
    struct captured c = {seen, wanted, 701, 0};
    struct net_capture capture = {heads, 3, c.columns, seen, compare_layer, &c};
    int32_t tokens[5];
    open_fixture(&f, WEIGHT_F16, 2, true);
    plain_begin(&p, f.m, net_encoded(f.net));
    for (int t = 0; t < 5; t++) {
        tokens[t] = token_of(1, t);
        plain_step(&p, tokens[t], ignored);
        memcpy(wanted + (ptrdiff_t)t * 3 * 1500, looked_at, sizeof looked_at);
    }
    struct net_input inputs[] = {{1, tokens, 5, 4}, {2, tokens, 5, 4}};
    net_set_capture(f.net, &capture);
    decode(&f, inputs, 1, logits);
    assert_int_equal(c.calls, 2);
    struct err e = {0};
    assert_int_equal(net_decode(f.net, inputs, 2, logits, &e), ERR_INVALID);
    net_set_capture(f.net, NULL);
    net_slot_begin(f.net, 1, 1);
    decode(&f, inputs, 1, logits);
    assert_int_equal(c.calls, 2);
    plain_end(&p);
    close_fixture(&f);
}

static void logits_may_be_asked_for_later(void **state)
{
    (void)state;
    struct fixture f;
    static float all[7 * VOCAB], later[3 * VOCAB];
    int32_t tokens[7];
    open_fixture(&f, WEIGHT_F16, 2, false);
    for (int t = 0; t < 7; t++)
        tokens[t] = token_of(3, t);
    decode(&f, &(struct net_input){0, tokens, 7, 0}, 1, all);
    net_slot_begin(f.net, 0, 0);
    decode(&f, &(struct net_input){0, tokens, 7, 7}, 1, NULL);
    net_logits(f.net, 4, 3, later);
    assert_memory_equal(later, all + 4 * VOCAB, sizeof later);
    net_logits(f.net, 0, 1, later);
    assert_memory_equal(later, all, VOCAB * sizeof *later);
    close_fixture(&f);
}

static void a_copied_slot_goes_its_own_way(void **state)
{
    (void)state;
    struct fixture f;
    float a[VOCAB], b[VOCAB], c[VOCAB];
    int32_t prompt[19], left = 5, right = 77;
    open_fixture(&f, WEIGHT_F32, 1, true);
    for (int t = 0; t < 19; t++)
        prompt[t] = token_of(2, t);
    decode(&f, &(struct net_input){0, prompt, 19, 19}, 1, NULL);
    net_slot_copy(f.net, 4, 0, 0);
    assert_int_equal(net_slot_length(f.net, 4), 19);
    decode(&f, &(struct net_input){0, &left, 1, 0}, 1, a);
    decode(&f, &(struct net_input){4, &right, 1, 0}, 1, b);
    assert_memory_not_equal(a, b, sizeof a);
    net_slot_truncate(f.net, 4, 19);
    decode(&f, &(struct net_input){4, &left, 1, 0}, 1, c);
    assert_memory_equal(a, c, sizeof a);
    close_fixture(&f);
}

static void check_threads(enum weight_type type)
{
    static float encoded[1500 * 32], logits[2][VOCAB];
    int32_t token = 9;
    for (int threads = 1; threads <= 4; threads += 3) {
        struct fixture f;
        open_fixture(&f, type, threads, false);
        if (threads > 1)
            assert_memory_equal(encoded, net_encoded(f.net), sizeof encoded);
        memcpy(encoded, net_encoded(f.net), sizeof encoded);
        decode(&f, &(struct net_input){2, &token, 1, 0}, 1, logits[threads > 1]);
        close_fixture(&f);
    }
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
}

static void the_number_of_threads_changes_nothing(void **state)
{
    (void)state;
    check_threads(WEIGHT_F16);
    check_threads(WEIGHT_S8);
}

/* ---- limits -------------------------------------------------------------------------
 */

static void refused(struct fixture *f, struct net_input in, const char *words)
{
    struct err e = {0};
    assert_int_equal(net_decode(f->net, &in, 1, NULL, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, words));
}

static void wrong_inputs_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    int32_t tokens[CONTEXT + 1] = {0}, negative = -1, beyond = VOCAB;
    struct err e = {0};
    open_fixture(&f, WEIGHT_F32, 1, false);
    refused(&f, (struct net_input){SLOTS, tokens, 1, 1}, "does not exist");
    refused(&f, (struct net_input){-1, tokens, 1, 1}, "does not exist");
    refused(&f, (struct net_input){0, tokens, 0, 0}, "nothing");
    refused(&f, (struct net_input){0, &negative, 1, 1}, "-1");
    refused(&f, (struct net_input){0, &beyond, 1, 1}, "101");
    refused(&f, (struct net_input){0, tokens, CONTEXT + 1, 1}, "exceed 40");
    struct net_input twice[] = {{0, tokens, 1, 1}, {0, tokens, 1, 1}};
    assert_int_equal(net_decode(f.net, twice, 2, NULL, &e), ERR_INVALID);
    assert_non_null(strstr(e.message, "twice"));
    assert_int_equal(net_slot_length(f.net, 0), 0);
    decode(&f, &(struct net_input){0, tokens, CONTEXT, CONTEXT}, 1, NULL);
    refused(&f, (struct net_input){0, tokens, 1, 1}, "exceed 40");
    close_fixture(&f);
}

static void open_refuses(struct whisper_model *m, struct net_options o, int code)
{
    struct net *n = NULL;
    struct err e = {0};
    assert_int_equal(net_open(&n, m, &o, &e), code);
    assert_true(e.message[0] != '\0');
    assert_null(n);
}

static void silly_sizes_are_refused(void **state)
{
    (void)state;
    struct whisper_model *m = random_model_new(WEIGHT_F32);
    const struct whisper_config good = m->config;
    struct net_options o = {.threads = 1, .max_windows = 1, .max_slots = 1};
    open_refuses(m, (struct net_options){1, 0, 1}, ERR_INVALID);
    open_refuses(m, (struct net_options){1, 1, 1 << 20}, ERR_INVALID);
    open_refuses(m, (struct net_options){-3, 1, 1}, ERR_INVALID);
    m->config.n_audio_ctx = 1499;
    open_refuses(m, o, ERR_UNSUPPORTED);
    m->config = good;
    m->config.n_text_head = 0;
    open_refuses(m, o, ERR_UNSUPPORTED);
    m->config.n_text_head = 6; /* heads of 8 */
    open_refuses(m, o, ERR_UNSUPPORTED);
    m->config = good;
    m->config.n_text_ctx = INT32_MAX;
    open_refuses(m, o, ERR_UNSUPPORTED);
    m->config = good;
    m->config.n_audio_state = m->config.n_audio_head = 1 << 30;
    open_refuses(m, o, ERR_UNSUPPORTED);
    random_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_plain_one),
        cmocka_unit_test(prompt_is_the_same_as_steps),
        cmocka_unit_test(batch_is_the_same_as_alone),
        cmocka_unit_test(many_rows_take_several_passes),
        cmocka_unit_test(what_is_looked_at_can_be_seen),
        cmocka_unit_test(logits_may_be_asked_for_later),
        cmocka_unit_test(a_copied_slot_goes_its_own_way),
        cmocka_unit_test(the_number_of_threads_changes_nothing),
        cmocka_unit_test(wrong_inputs_are_refused),
        cmocka_unit_test(silly_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
