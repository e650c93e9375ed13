#include "ggml_to_folder.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "model_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct input {
    struct buf bytes;
    size_t at;
};

static int32_t next_i32(struct input *in)
{
    int32_t value;
    assert_true(in->at + sizeof value <= in->bytes.length);
    memcpy(&value, in->bytes.data + in->at, sizeof value);
    in->at += sizeof value;
    return value;
}

static void write_config(const int32_t *h, const char *folder)
{
    char text[512];
    int n = snprintf(text, sizeof text,
                     "{\"model_type\": \"whisper\", \"vocab_size\": %d, "
                     "\"max_source_positions\": %d, \"d_model\": %d, "
                     "\"encoder_attention_heads\": %d, \"encoder_layers\": %d, "
                     "\"max_target_positions\": %d, \"decoder_attention_heads\": %d, "
                     "\"decoder_layers\": %d, \"num_mel_bins\": %d}",
                     h[1], h[2], h[3], h[4], h[5], h[6], h[8], h[9], h[10]);
    model_files_write(folder, "config.json", text, (size_t)n);
}

/* ---- tokens --------------------------------------------------------------------------
 */

/* GPT-2's table: visible Latin-1 stays, all else moves up to U+0100 and on. */
static unsigned character_of(uint8_t byte)
{
    unsigned moved = 0;
    for (unsigned b = 0; b <= byte; b++) {
        bool visible = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
        if (b == byte && visible)
            return b;
        moved += !visible;
    }
    return 255 + moved;
}

static void add_token(struct buf *out, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        buf_printf(out, "\\u%04x", character_of((uint8_t)bytes[i]));
}

/* How a token came about: merge all pairs with lower ids, and two parts are left. */
static size_t last_cut(char **tokens, const size_t *lengths, int n, const char *bytes,
                       size_t length)
{
    for (size_t cut = 1; cut < length; cut++) {
        bool left = false, right = false;
        for (int i = 0; i < n && !(left && right); i++) {
            left |= lengths[i] == cut && !memcmp(tokens[i], bytes, cut);
            right |= lengths[i] == length - cut &&
                     !memcmp(tokens[i], bytes + cut, length - cut);
        }
        if (left && right)
            return cut;
    }
    fail_msg("a token is not made of two");
    return 0;
}

static void write_tokenizer(struct input *in, const char *folder)
{
    int n = next_i32(in);
    char **tokens = mem_array((size_t)n, sizeof *tokens);
    size_t *lengths = mem_array((size_t)n, sizeof *lengths);
    struct buf out;
    buf_init(&out, 64 << 20);
    buf_str(&out, "{\"version\": \"1.0\", \"model\": {\"type\": \"BPE\", \"vocab\": {");
    for (int id = 0; id < n; id++) {
        lengths[id] = (size_t)next_i32(in);
        tokens[id] = in->bytes.data + in->at;
        in->at += lengths[id];
        buf_str(&out, id ? ", \"" : "\"");
        add_token(&out, tokens[id], lengths[id]);
        buf_printf(&out, "\": %d", id);
    }
    /* The merges of the first thousand tokens: finding them all takes long. */
    buf_str(&out, "}, \"merges\": [");
    for (int id = 256; id < 1256; id++) {
        size_t cut = last_cut(tokens, lengths, id, tokens[id], lengths[id]);
        buf_str(&out, id > 256 ? ", [\"" : "[\"");
        add_token(&out, tokens[id], cut);
        buf_str(&out, "\", \"");
        add_token(&out, tokens[id] + cut, lengths[id] - cut);
        buf_str(&out, "\"]");
    }
    buf_str(&out, "]}, \"added_tokens\": ["
                  "{\"id\": 50257, \"content\": \"<|endoftext|>\", \"special\": true}, "
                  "{\"id\": 50258, \"content\": \"<|startoftranscript|>\"}, "
                  "{\"id\": 50259, \"content\": \"<|en|>\"}, "
                  "{\"id\": 50357, \"content\": \"<|su|>\"}, "
                  "{\"id\": 50358, \"content\": \"<|translate|>\"}, "
                  "{\"id\": 50359, \"content\": \"<|transcribe|>\"}, "
                  "{\"id\": 50360, \"content\": \"<|startoflm|>\"}, "
                  "{\"id\": 50361, \"content\": \"<|startofprev|>\"}, "
                  "{\"id\": 50362, \"content\": \"<|nocaptions|>\"}, "
                  "{\"id\": 50363, \"content\": \"<|notimestamps|>\"}, "
                  "{\"id\": 50364, \"content\": \"<|0.00|>\"}, "
                  "{\"id\": 51864, \"content\": \"<|30.00|>\"}]}");
    assert_false(buf_failed(&out));
    model_files_write(folder, "tokenizer.json", out.data, out.length);
    buf_release(&out);
    free(tokens);
    free(lengths);
}

/* ---- tensors --------------------------------------------------------------------------
 */

static const struct {
    const char *ggml, *hf;
} words[] = {
    {"blocks", "layers"},
    {".attn.query.", ".self_attn.q_proj."},
    {".attn.key.", ".self_attn.k_proj."},
    {".attn.value.", ".self_attn.v_proj."},
    {".attn.out.", ".self_attn.out_proj."},
    {".attn_ln.", ".self_attn_layer_norm."},
    {".cross_attn.query.", ".encoder_attn.q_proj."},
    {".cross_attn.key.", ".encoder_attn.k_proj."},
    {".cross_attn.value.", ".encoder_attn.v_proj."},
    {".cross_attn.out.", ".encoder_attn.out_proj."},
    {".cross_attn_ln.", ".encoder_attn_layer_norm."},
    {".mlp.0.", ".fc1."},
    {".mlp.2.", ".fc2."},
    {".mlp_ln.", ".final_layer_norm."},
    {"encoder.ln_post.", "encoder.layer_norm."},
    {"decoder.ln.", "decoder.layer_norm."},
    {"token_embedding", "embed_tokens"},
    {"positional_embedding", "embed_positions.weight"},
};

static void add_name(struct buf *out, const char *name)
{
    buf_str(out, "model.");
    while (*name) {
        size_t i = 0;
        while (i < ARRAY_LENGTH(words) &&
               strncmp(name, words[i].ggml, strlen(words[i].ggml)))
            i++;
        if (i == ARRAY_LENGTH(words)) {
            buf_char(out, *name++);
            continue;
        }
        /* The closing dot of one word may be the opening dot of the next. */
        buf_str(out, words[i].hf);
        name += strlen(words[i].ggml);
        if (name[-1] == '.') {
            name--;
            out->length--;
        }
    }
}

static void add_tensor(struct input *in, struct buf *header, struct buf *data)
{
    int32_t n_dims = next_i32(in), length = next_i32(in), type = next_i32(in);
    int32_t dims[3] = {1, 1, 1};
    assert_true(n_dims >= 1 && n_dims <= 3 && length > 0 && length < 100);
    assert_true(type == 0 || type == 1);
    for (int i = 0; i < n_dims; i++)
        dims[i] = next_i32(in);
    char name[100];
    memcpy(name, in->bytes.data + in->at, (size_t)length);
    name[length] = '\0';
    in->at += (size_t)length;
    size_t bytes = (size_t)dims[0] * (size_t)dims[1] * (size_t)dims[2] * (type ? 2 : 4);
    assert_true(bytes <= in->bytes.length - in->at);

    buf_str(header, header->length > 1 ? ", \"" : "\"");
    add_name(header, name);
    buf_printf(header, "\": {\"dtype\": \"%s\", \"shape\": [", type ? "F16" : "F32");
    /* A convolution's bias is [n][1] in ggml, [n] here. */
    bool column = n_dims == 2 && dims[0] == 1;
    for (int i = n_dims - 1; i >= (column ? 1 : 0); i--)
        buf_printf(header, "%d%s", dims[i], i > (column ? 1 : 0) ? ", " : "");
    buf_printf(header, "], \"data_offsets\": [%zu, %zu]}", data->length,
               data->length + bytes);
    buf_add(data, in->bytes.data + in->at, bytes);
    in->at += bytes;
}

static void write_weights(struct input *in, const char *folder)
{
    struct buf header, data, file;
    buf_init(&header, 1 << 20);
    buf_init(&data, 512 << 20);
    buf_init(&file, 512 << 20);
    buf_char(&header, '{');
    while (in->at < in->bytes.length)
        add_tensor(in, &header, &data);
    buf_char(&header, '}');
    uint64_t length = header.length;
    buf_add(&file, &length, sizeof length);
    buf_add(&file, header.data, header.length);
    buf_add(&file, data.data, data.length);
    assert_false(buf_failed(&file));
    model_files_write(folder, "model.safetensors", file.data, file.length);
    buf_release(&header);
    buf_release(&data);
    buf_release(&file);
}

void ggml_to_folder(const char *path, const char *folder)
{
    struct input in = {.at = 0};
    int32_t head[12];
    buf_init(&in.bytes, 512 << 20);
    assert_int_equal(fs_read(path, &in.bytes, NULL), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(head); i++)
        head[i] = next_i32(&in);
    write_config(head, folder);
    size_t n_mels = (size_t)next_i32(&in), bins = (size_t)next_i32(&in);
    in.at += n_mels * bins * sizeof(float);
    write_tokenizer(&in, folder);
    write_weights(&in, folder);
    buf_release(&in.bytes);
}
