/* A smoke run of the fuzzer's target, without a fuzzer: mutations of small seeds by a
 * generator with a fixed start, so that a failure can be repeated. */
#include "base/mem.h"
#include "fuzz/fuzz_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static uint64_t random_state = 88172645463325252;

static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

static const char *const seeds[] = {
    /* clang-format off */
    "0lmgg\x98\xCA",
    "0GGUF\3",
    "0PK\3\4",
    "2{\"encoder.conv1.bias\":{\"dtype\":\"F16\",\"shape\":[64],\"data_offsets\":[0,128]}}",
    "2{\"__metadata__\":{},\"a\":{\"dtype\":\"F32\",\"shape\":[-1,2],\"data_offsets\":[0,64]}}",
    ("3{\"model_type\":\"whisper\",\"vocab_size\":51864,\"num_mel_bins\":80,\"d_model\":64,"
        "\"max_source_positions\":1500,\"encoder_layers\":1,\"encoder_attention_heads\":1,"
        "\"max_target_positions\":64,\"decoder_layers\":1,\"decoder_attention_heads\":1}"),
    "4{\"weight_map\":{\"encoder.conv1.bias\":\"model-1.safetensors\",\"x\":\"../y\"}}",
    ("5{\"model\":{\"type\":\"BPE\",\"vocab\":{\"!\":0,\"\\u0100\":1},\"merges\":[\"a b\"]},"
        "\"added_tokens\":[{\"id\":50256,\"content\":\"<|endoftext|>\"}]}"),
    /* clang-format on */
};

static const char *const fragments[] = {
    "{",    "}",       "[",    "]",    "\"",
    ",",    ":",       "-1",   "1e99", "18446744073709551616",
    "null", "\\u0000", "\xFF", "true", "{\"\":[]}",
    "0"};

/* One of: another byte, a fragment in between, a piece taken out, the end cut off. */
static size_t mutate(uint8_t *data, size_t size, size_t capacity)
{
    size_t at = 1 + next_random() % size;
    const char *fragment = fragments[next_random() % ARRAY_LENGTH(fragments)];
    size_t n = strlen(fragment), gone = 1 + next_random() % 8;
    if (at >= size)
        return size;
    switch (next_random() % 4) {
    case 0:
        data[at] ^= (uint8_t)(1u << next_random() % 8);
        return size;
    case 1:
        if (size + n > capacity)
            return size;
        memmove(data + at + n, data + at, size - at);
        memcpy(data + at, fragment, n);
        return size + n;
    case 2:
        gone = gone < size - at ? gone : size - at;
        memmove(data + at, data + at + gone, size - at - gone);
        return size - gone;
    default:
        return next_random() % 8 ? size : at;
    }
}

/* The target aborts where a rule is broken; coming back is the proof. */
static void test_mutated_seeds(void **state)
{
    (void)state;
    uint8_t data[1024];
    for (int round = 0; round < 40; round++)
        for (size_t i = 0; i < ARRAY_LENGTH(seeds); i++) {
            size_t size = strlen(seeds[i]);
            memcpy(data, seeds[i], size);
            data[0] = (uint8_t)(data[0] - '0');
            for (int n = 1 + round % 5; n > 0 && size > 1; n--)
                size = mutate(data, size, sizeof data);
            assert_int_equal(LLVMFuzzerTestOneInput(data, size), 0);
        }
}

static void test_random_changes_to_a_valid_file(void **state)
{
    (void)state;
    for (int round = 0; round < 150; round++) {
        uint8_t data[1 + 3 * 8] = {1};
        for (size_t i = 1; i < sizeof data; i++)
            data[i] = (uint8_t)next_random();
        size_t size = 1 + (1 + next_random() % 3) * 8;
        assert_int_equal(LLVMFuzzerTestOneInput(data, size), 0);
    }
}

static void test_random_bytes(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        uint8_t data[200];
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)next_random();
        assert_int_equal(LLVMFuzzerTestOneInput(data, next_random() % sizeof data), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutated_seeds),
        cmocka_unit_test(test_random_changes_to_a_valid_file),
        cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
