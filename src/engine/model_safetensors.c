/* A safetensors file: the header's length (8 bytes, little-endian), the header (JSON: of
 * every tensor the type, the shape, and where its bytes begin and end), the bytes. */
#include "engine/model_safetensors.h"

#include "base/mem.h"
#include "engine/hf_json.h"
#include "engine/hf_tokenizer.h"

#define MAX_CONFIG_BYTES (1u << 20)
#define MAX_INDEX_BYTES  (16u << 20)
#define MAX_HEADER_BYTES (16u << 20)

/* ---- config.json ------------------------------------------------------------------ */

static int config_int(const json_t *root, const char *key, int *out, struct err *e)
{
    const json_t *value = json_object_get(root, key);
    if (!json_is_integer(value))
        return err_set(e, ERR_CORRUPT, "it has no whole number \"%s\"", key);
    json_int_t number = json_integer_value(value);
    if (number < 0 || number > INT32_MAX)
        return err_set(e, ERR_CORRUPT, "\"%s\" is %lld", key, (long long)number);
    *out = (int)number;
    return 0;
}

/* What our forward pass takes for granted. Absent keys mean the defaults, which fit. */
static int check_architecture(const json_t *root, const struct whisper_config *c,
                              struct err *e)
{
    char shown[HF_SHOWN_SIZE];
    const char *type = json_string_value(json_object_get(root, "model_type"));
    if (!type || strcmp(type, "whisper") != 0)
        return err_set(e, ERR_UNSUPPORTED, "it is a model of type \"%s\", not whisper",
                       hf_shown(type, shown));
    const char *activation =
        json_string_value(json_object_get(root, "activation_function"));
    if (activation && strcmp(activation, "gelu") != 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "the activation function is \"%s\" instead of gelu",
                       hf_shown(activation, shown));
    if (json_is_true(json_object_get(root, "scale_embedding")))
        return err_set(e, ERR_UNSUPPORTED, "it scales its embeddings (scale_embedding)");
    if (json_is_false(json_object_get(root, "tie_word_embeddings")))
        return err_set(e, ERR_UNSUPPORTED,
                       "its last layer is not its embedding (tie_word_embeddings)");
    static const char *const widths[] = {"encoder_ffn_dim", "decoder_ffn_dim"};
    for (size_t i = 0; i < ARRAY_LENGTH(widths); i++) {
        const json_t *width = json_object_get(root, widths[i]);
        if (width && json_integer_value(width) != 4 * (json_int_t)c->n_audio_state)
            return err_set(e, ERR_UNSUPPORTED, "\"%s\" is not four times \"d_model\"",
                           widths[i]);
    }
    return 0;
}

static int read_config(const json_t *root, struct whisper_config *c, struct err *e)
{
    const struct {
        const char *key;
        int *out;
    } fields[] = {
        {"vocab_size", &c->n_vocab},
        {"num_mel_bins", &c->n_mels},
        {"d_model", &c->n_audio_state},
        {"max_source_positions", &c->n_audio_ctx},
        {"encoder_attention_heads", &c->n_audio_head},
        {"encoder_layers", &c->n_audio_layer},
        {"max_target_positions", &c->n_text_ctx},
        {"decoder_attention_heads", &c->n_text_head},
        {"decoder_layers", &c->n_text_layer},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
        int status = config_int(root, fields[i].key, fields[i].out, e);
        if (status)
            return status;
    }
    c->n_text_state = c->n_audio_state;
    int status = config_check(c, e);
    return status ? status : check_architecture(root, c, e);
}

/* ---- generation_config.json ------------------------------------------------------- */

static int compare_heads(const void *a, const void *b)
{
    return memcmp(a, b, 2);
}

/* One [layer, head] of the list, when the model has it and it is not the last one's
 * like. */
static bool read_head(const json_t *pair, const struct whisper_config *c, uint8_t out[2])
{
    json_int_t layer = json_integer_value(json_array_get(pair, 0));
    json_int_t head = json_integer_value(json_array_get(pair, 1));
    if (json_array_size(pair) != 2 || layer < 0 || layer >= c->n_text_layer || head < 0 ||
        head >= c->n_text_head)
        return false;
    out[0] = (uint8_t)layer;
    out[1] = (uint8_t)head;
    return true;
}

static void unique_heads(struct whisper_config *c)
{
    int n = 0;
    qsort(c->align_heads, (size_t)c->n_align_heads, 2, compare_heads);
    for (int i = 0; i < c->n_align_heads; i++)
        if (n == 0 || memcmp(c->align_heads[n - 1], c->align_heads[i], 2) != 0)
            memcpy(c->align_heads[n++], c->align_heads[i], 2);
    c->n_align_heads = n;
}

/* "alignment_heads", as far as they can be those of this model: a model that was made
 * smaller may still have its parent's list, which then says nothing. */
static void read_heads(const json_t *root, struct whisper_config *c)
{
    const json_t *list = json_object_get(root, "alignment_heads");
    size_t n = json_array_size(list);
    if (n > WHISPER_MAX_ALIGN_HEADS)
        return;
    for (size_t i = 0; i < n; i++)
        if (!read_head(json_array_get(list, i), c, c->align_heads[i]))
            return;
    c->n_align_heads = (int)n;
    unique_heads(c);
}

static int read_generation_config(struct whisper_config *c, const char *folder,
                                  struct err *e)
{
    static const char name[] = "generation_config.json";
    json_t *root = NULL;
    if (!hf_exists(folder, name))
        return 0;
    int status = hf_read_json(&root, folder, name, MAX_CONFIG_BYTES, e);
    if (!status)
        read_heads(root, c);
    json_decref(root);
    return status;
}

int safetensors_read_config(const char *folder, struct whisper_config *c, struct err *e)
{
    json_t *root = NULL;
    int status = hf_read_json(&root, folder, "config.json", MAX_CONFIG_BYTES, e);
    if (status)
        return status;
    *c = (struct whisper_config){0};
    status = read_config(root, c, e);
    if (status)
        err_prefix(e, "%s/config.json", folder);
    json_decref(root);
    return status;
}

static int read_config_file(struct model_source *s, const char *folder, struct err *e)
{
    struct whisper_config config;
    int status = safetensors_read_config(folder, &config, e);
    if (!status)
        status = read_generation_config(&config, folder, e);
    return status ? status : source_plan(s, &config, e);
}

/* ---- one safetensors file ---------------------------------------------------------- */

/* The bytes of one tensor, relative to the end of the header. */
struct span {
    size_t begin, end;
};

struct shard {
    struct model_source *source; /* borrowed */
    const json_t *weight_map;    /* borrowed; NULL: not sharded */
    const char *name;            /* of the file, borrowed */
    const uint8_t *data;         /* borrowed */
    size_t length;               /* of the data */
    struct span *spans;          /* owned [n_spans] */
    size_t n_spans;
    char shown[HF_SHOWN_SIZE]; /* the tensor being read, for messages */
};

static int find_dtype(const char *dtype, const char *name, enum tensor_type *out,
                      struct err *e)
{
    static const struct {
        const char *dtype;
        enum tensor_type type;
    } types[] = {{"F32", TENSOR_F32}, {"F16", TENSOR_F16}, {"BF16", TENSOR_BF16}};
    for (size_t i = 0; dtype && i < ARRAY_LENGTH(types); i++) {
        if (strcmp(dtype, types[i].dtype) != 0)
            continue;
        *out = types[i].type;
        return 0;
    }
    char shown[HF_SHOWN_SIZE];
    return err_set(e, ERR_UNSUPPORTED,
                   "the tensor %s is of type \"%s\"; F32, F16 and BF16 are read", name,
                   hf_shown(dtype, shown));
}

static int read_span(const struct shard *f, const json_t *entry, struct span *span,
                     struct err *e)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return err_set(e, ERR_CORRUPT, "the tensor %s has no data_offsets", f->shown);
    json_int_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from || (uint64_t)to > f->length)
        return err_set(e, ERR_CORRUPT,
                       "the tensor %s lies at bytes %lld to %lld of %zu: the file is cut "
                       "off or damaged",
                       f->shown, (long long)from, (long long)to, f->length);
    *span = (struct span){(size_t)from, (size_t)to};
    return 0;
}

static int check_shape(const char *name, const json_t *shape, const struct model_part *p,
                       struct err *e)
{
    int64_t found[4] = {0}, expected[3] = {p->dims[0], p->dims[1], p->dims[2]};
    size_t n = json_array_size(shape);
    for (size_t i = 0; i < n && i < ARRAY_LENGTH(found); i++)
        found[i] = json_integer_value(json_array_get(shape, i));
    size_t n_expected = (size_t)p->n_dims;
    if (n == n_expected && !memcmp(found, expected, n * sizeof *found))
        return 0;
    char found_text[96], expected_text[64];
    int shown = n < ARRAY_LENGTH(found) ? (int)n : (int)ARRAY_LENGTH(found);
    return err_set(e, ERR_CORRUPT, "the tensor %s is %s instead of %s", name,
                   shape_text(found, shown, found_text, sizeof found_text),
                   shape_text(expected, p->n_dims, expected_text, sizeof expected_text));
}

/* Models are saved with and without the prefix of the class that holds the layers. */
static const char *inner_name(const char *name)
{
    return strncmp(name, "model.", 6) == 0 ? name + 6 : name;
}

static int read_tensor(struct shard *f, const char *name, const json_t *entry,
                       struct err *e)
{
    struct span span = {0};
    int status = read_span(f, entry, &span, e);
    if (status)
        return status;
    f->spans[f->n_spans++] = span;
    /* The last layer is the embedding; some files have it twice. */
    if (!strcmp(name, "proj_out.weight"))
        return 0;
    const char *inner = inner_name(name);
    int part = plan_find_hf(f->source->plan, inner, strlen(inner));
    if (part < 0)
        return err_set(e, ERR_CORRUPT,
                       "the tensor %s is none of a Whisper model of these dimensions",
                       f->shown);
    const struct model_part *p = &f->source->plan->parts[part];
    enum tensor_type type = TENSOR_F32;
    status = find_dtype(json_string_value(json_object_get(entry, "dtype")), f->shown,
                        &type, e);
    if (!status)
        status = check_shape(f->shown, json_object_get(entry, "shape"), p, e);
    size_t bytes = 0;
    if (!status && (!quant_row_bytes(type, plan_part_elements(p), &bytes) ||
                    bytes != span.end - span.begin))
        status = err_set(e, ERR_CORRUPT, "the tensor %s has %zu bytes instead of %zu",
                         f->shown, span.end - span.begin, bytes);
    if (status)
        return status;
    return source_add(f->source, part, type, f->data + span.begin, f->shown, e);
}

static int compare_spans(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* The format wants every byte to belong to exactly one tensor. */
static int check_spans(struct shard *f, struct err *e)
{
    qsort(f->spans, f->n_spans, sizeof *f->spans, compare_spans);
    size_t at = 0;
    for (size_t i = 0; i < f->n_spans; i++) {
        if (f->spans[i].begin != at)
            return err_set(e, ERR_CORRUPT,
                           "its tensors overlap or leave a gap at byte %zu of the data",
                           at);
        at = f->spans[i].end;
    }
    if (at != f->length)
        return err_set(e, ERR_CORRUPT, "%zu bytes follow the last tensor",
                       f->length - at);
    return 0;
}

static int check_place(const struct shard *f, const char *name, struct err *e)
{
    if (!f->weight_map)
        return 0;
    const char *place = json_string_value(json_object_get(f->weight_map, name));
    if (place && !strcmp(place, f->name))
        return 0;
    return err_set(e, ERR_CORRUPT, "the index does not place the tensor %s here",
                   f->shown);
}

static int read_tensors(struct shard *f, json_t *header, struct err *e)
{
    const char *name;
    json_t *entry;
    f->spans = mem_array(json_object_size(header), sizeof *f->spans);
    if (!f->spans)
        return err_set(e, ERR_NOMEM, "out of memory");
    json_object_foreach(header, name, entry)
    {
        if (!strcmp(name, "__metadata__"))
            continue;
        hf_shown(name, f->shown);
        int status = check_place(f, name, e);
        if (!status)
            status = read_tensor(f, name, entry, e);
        if (status)
            return status;
    }
    return check_spans(f, e);
}

static int read_mapped(struct shard *f, const struct mapped_file *file, struct err *e)
{
    uint64_t n = 0;
    if (file->length < sizeof n)
        return err_set(e, ERR_CORRUPT, "the file is cut off: it has only %zu bytes",
                       file->length);
    memcpy(&n, file->bytes, sizeof n);
    if (n > MAX_HEADER_BYTES || n > file->length - sizeof n)
        return err_set(e, ERR_CORRUPT,
                       "its header would have %llu bytes: the file is cut off or not a "
                       "safetensors file",
                       (unsigned long long)n);
    f->data = file->bytes + sizeof n + n;
    f->length = file->length - sizeof n - (size_t)n;
    json_t *header = NULL;
    int status = hf_parse(&header, file->bytes + sizeof n, (size_t)n, "its header", e);
    if (!status)
        status = read_tensors(f, header, e);
    json_decref(header);
    free(f->spans);
    return status;
}

static int read_shard(struct model_source *s, const json_t *weight_map,
                      const char *folder, const char *name, struct err *e)
{
    char *path;
    struct mapped_file file;
    struct shard shard = {.source = s, .weight_map = weight_map, .name = name};
    int status = hf_path(&path, folder, name, e);
    if (status)
        return status;
    status = source_map(s, path, &file, e);
    if (!status) {
        status = read_mapped(&shard, &file, e);
        if (status)
            err_prefix(e, "%s", path);
    }
    free(path);
    return status;
}

/* ---- the folder ---------------------------------------------------------------------
 */

/* A name that cannot leave the folder. */
static bool is_shard_name(const char *name)
{
    static const char suffix[] = ".safetensors";
    size_t length = strlen(name), end = sizeof suffix - 1;
    return length > end && length < 256 && name[0] != '.' && !strchr(name, '/') &&
           !strcmp(name + length - end, suffix);
}

static int read_shards(struct model_source *s, const json_t *weight_map,
                       const char *folder, struct err *e)
{
    const char *name;
    json_t *place, *seen = json_object();
    int status = seen ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    /* jansson iterates over an object only when it is not const. */
    json_object_foreach((json_t *)(uintptr_t)weight_map, name, place)
    {
        char shown_name[HF_SHOWN_SIZE], shown_file[HF_SHOWN_SIZE];
        const char *file = json_string_value(place);
        if (status)
            break;
        if (!file || !is_shard_name(file))
            status = err_set(e, ERR_CORRUPT,
                             "the index places the tensor %s in \"%s\", which is not "
                             "the name of a safetensors file in this folder",
                             hf_shown(name, shown_name), hf_shown(file, shown_file));
        else if (json_object_get(seen, file))
            continue;
        else if (json_object_set_new(seen, file, json_true()))
            status = err_set(e, ERR_NOMEM, "out of memory");
        else
            status = read_shard(s, weight_map, folder, file, e);
    }
    json_decref(seen);
    return status;
}

static int read_indexed(struct model_source *s, const char *folder, struct err *e)
{
    static const char index_name[] = "model.safetensors.index.json";
    json_t *index = NULL;
    int status = hf_read_json(&index, folder, index_name, MAX_INDEX_BYTES, e);
    if (status)
        return status;
    const json_t *weight_map = json_object_get(index, "weight_map");
    if (json_is_object(weight_map))
        status = read_shards(s, weight_map, folder, e);
    else
        status = err_set(e, ERR_CORRUPT, "%s/%s has no weight_map", folder, index_name);
    json_decref(index);
    return status;
}

static int read_weights(struct model_source *s, const char *folder, struct err *e)
{
    int status;
    if (hf_exists(folder, "model.safetensors"))
        status = read_shard(s, NULL, folder, "model.safetensors", e);
    else if (hf_exists(folder, "model.safetensors.index.json"))
        status = read_indexed(s, folder, e);
    else
        return err_set(e, ERR_NOT_FOUND, "%s has no model.safetensors%s", folder,
                       hf_exists(folder, "pytorch_model.bin")
                           ? "; pytorch_model.bin is not read: save the model with "
                             "safe_serialization"
                           : "");
    if (status)
        return status;
    status = source_complete(s, e);
    if (status)
        err_prefix(e, "%s", folder);
    return status;
}

static int add_mel_filters(struct model_source *s, struct err *e)
{
    int n_mels = s->plan->config.n_mels;
    s->mel_filters = mem_array((size_t)n_mels * MEL_FILTER_BINS, sizeof *s->mel_filters);
    if (!s->mel_filters)
        return err_set(e, ERR_NOMEM, "out of memory");
    mel_filters_compute(n_mels, s->mel_filters);
    return 0;
}

int safetensors_read(struct model_source *s, const char *folder, struct err *e)
{
    s->hf_names = true;
    if (!hf_exists(folder, "config.json"))
        return err_set(
            e, ERR_NOT_FOUND,
            "%s is a folder without config.json: name a ggml file, or a folder "
            "with config.json, tokenizer.json and model.safetensors",
            folder);
    int status = read_config_file(s, folder, e);
    if (!status)
        status = read_weights(s, folder, e);
    if (!status)
        status = hf_read_tokenizer(s, folder, e);
    return status ? status : add_mel_filters(s, e);
}
