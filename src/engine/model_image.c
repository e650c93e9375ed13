#include "engine/model_image.h"

#include "base/mem.h"
#include "engine/model_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#define IMAGE_MAGIC 0x4749545057ULL
#define IMAGE_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct image_header {
    uint64_t magic;
    uint32_t version;
    uint32_t n_slots;
    uint64_t image_bytes;
    uint64_t vocab_bytes;
    struct whisper_config config;
    char weights_name[16];
};

/* Byte offsets of the sections. */
struct image_sections {
    size_t types;         /* uint8_t [n_slots] */
    size_t vocab_offsets; /* uint32_t [n_vocab + 1] */
    size_t vocab_bytes;
    size_t mel_filters; /* float [n_mels][MEL_FILTER_BINS] */
    size_t end;         /* of the image */
};

static size_t align_64(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Everything before the slots is small, whatever a file says: the vocabulary was read
 * into memory before. */
static int lay_out(struct model_plan *p, size_t vocab_bytes, struct image_sections *s,
                   struct err *e)
{
    const struct whisper_config *c = &p->config;
    s->types = align_64(sizeof(struct image_header));
    s->vocab_offsets = align_64(s->types + (size_t)p->n_slots);
    s->vocab_bytes =
        align_64(s->vocab_offsets + ((size_t)c->n_vocab + 1) * sizeof(uint32_t));
    s->mel_filters = align_64(s->vocab_bytes + vocab_bytes);
    size_t slots = s->mel_filters + (size_t)c->n_mels * MEL_FILTER_BINS * sizeof(float);
    return plan_layout(p, slots, &s->end, e);
}

/* ---- build ---------------------------------------------------------------------- */

/* A slot is f16 when all its parts are; vectors are always f32. The convolutions are a
 * fortieth of the work, and everything builds on them: they are never in 8 bits. */
static void choose_types(struct model_source *s, enum whisper_weights weights)
{
    struct model_plan *p = s->plan;
    for (int i = 0; i < p->n_slots; i++)
        p->slots[i].type = p->slots[i].panels ? WEIGHT_F16 : WEIGHT_F32;
    for (int i = 0; i < p->n_parts; i++)
        if (s->tensors[i].type != TENSOR_F16)
            p->slots[p->parts[i].slot].type = WEIGHT_F32;
    for (int i = 0; i < p->n_slots && weights == WHISPER_WEIGHTS_8_BITS; i++)
        if (p->slots[i].panels && i != SLOT_CONV1 && i != SLOT_CONV2)
            p->slots[i].type = WEIGHT_S8;
}

static void write_head(const struct model_source *s, const struct image_sections *at,
                       uint8_t *image)
{
    const struct model_plan *p = s->plan;
    const struct whisper_config *c = &p->config;
    size_t vocab_bytes = s->vocab_offsets[c->n_vocab];
    struct image_header header = {
        .magic = IMAGE_MAGIC,
        .version = IMAGE_VERSION,
        .n_slots = (uint32_t)p->n_slots,
        .image_bytes = at->end,
        .vocab_bytes = vocab_bytes,
        .config = *c,
    };
    for (int i = 0; i < p->n_parts; i++)
        if (p->parts[i].slot == SLOT_TOKENS)
            (void)snprintf(header.weights_name, sizeof header.weights_name, "%s",
                           quant_name(s->tensors[i].type));
    memcpy(image, &header, sizeof header);
    for (int i = 0; i < p->n_slots; i++)
        image[at->types + (size_t)i] = (uint8_t)p->slots[i].type;
    memcpy(image + at->vocab_offsets, s->vocab_offsets,
           ((size_t)c->n_vocab + 1) * sizeof(uint32_t));
    memcpy(image + at->vocab_bytes, s->vocab_bytes, vocab_bytes);
    memcpy(image + at->mel_filters, s->mel_filters,
           (size_t)c->n_mels * MEL_FILTER_BINS * sizeof(float));
}

/* Ask for the memory now: a write into a memfd that cannot grow would be a SIGBUS. */
static int reserve(int fd, size_t bytes, struct err *e)
{
    int failed;
    do
        failed = fallocate(fd, 0, 0, (off_t)bytes);
    while (failed && errno == EINTR);
    if (failed && errno == EOPNOTSUPP)
        failed = ftruncate(fd, (off_t)bytes);
    if (!failed)
        return 0;
    return err_set(e, ERR_NOMEM,
                   "the model needs %zu MB of memory, which is not to be had",
                   bytes / 1000000 + 1);
}

static int fill(struct model_source *s, const struct image_sections *at, int fd,
                struct err *e)
{
    uint8_t *image = mmap(NULL, at->end, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (image == MAP_FAILED)
        return err_errno(e, "cannot map the model's memory");
    write_head(s, at, image);
    int status = pack_all(s, image, e);
    munmap(image, at->end);
    return status;
}

int image_memory(struct err *e)
{
    int fd = memfd_create("whisper-model", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? err_errno(e, "cannot make memory for the model") : fd;
}

int image_seal(int fd, struct err *e)
{
    if (fcntl(fd, F_ADD_SEALS, IMAGE_SEALS))
        return err_errno(e, "cannot seal the model's memory");
    return 0;
}

int image_build(struct model_source *s, enum whisper_weights weights, int *out,
                struct err *e)
{
    struct image_sections at;
    choose_types(s, weights);
    int status = lay_out(s->plan, s->vocab_offsets[s->plan->config.n_vocab], &at, e);
    if (status)
        return status;
    int fd = image_memory(e);
    if (fd < 0)
        return fd;
    status = reserve(fd, at.end, e);
    if (!status)
        status = fill(s, &at, fd, e);
    if (!status)
        status = image_seal(fd, e);
    if (status) {
        close(fd);
        return status;
    }
    *out = fd;
    return 0;
}

/* ---- attach --------------------------------------------------------------------- */

static int damaged(struct err *e, const char *what)
{
    return err_set(e, ERR_CORRUPT, "the model image is not one of ours: %s", what);
}

static bool is_sealed(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & IMAGE_SEALS) == IMAGE_SEALS;
}

bool image_file_is_ours(const struct stat *st)
{
    return S_ISREG(st->st_mode) && (st->st_uid == geteuid() || st->st_uid == 0) &&
           !(st->st_mode & (S_IWGRP | S_IWOTH));
}

/* Whoever holds a descriptor of memory without seals could shrink the image (SIGBUS) or
 * change it under us. A file that only we and root can write to is replaced whole, never
 * written into; behind the image it may hold more. */
static int map_image(struct whisper_model *m, int fd, struct err *e)
{
    struct stat st;
    uint64_t bytes;
    if (fstat(fd, &st))
        return err_errno(e, "cannot look at the model image");
    bool sealed = is_sealed(fd);
    if (!sealed && !image_file_is_ours(&st))
        return damaged(e, "it is not sealed");
    if (st.st_size < (off_t)align_64(sizeof(struct image_header)))
        return damaged(e, "it is too short");
    if (pread(fd, &bytes, sizeof bytes, offsetof(struct image_header, image_bytes)) !=
        (ssize_t)sizeof bytes)
        return err_errno(e, "cannot read the model image");
    if (bytes < sizeof(struct image_header) || bytes > (uint64_t)st.st_size ||
        (sealed && bytes != (uint64_t)st.st_size))
        return damaged(e, "the length is wrong");
    m->image_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (m->image_fd < 0)
        return err_errno(e, "cannot keep the model image");
    m->image_bytes = (size_t)bytes;
    void *image = mmap(NULL, m->image_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (image == MAP_FAILED)
        return err_errno(e, "cannot map the model image");
    m->image = image;
    return 0;
}

static int check_header(struct whisper_model *m, struct image_header *h, struct err *e)
{
    memcpy(h, m->image, sizeof *h);
    if (h->magic != IMAGE_MAGIC)
        return damaged(e, "the first bytes are wrong");
    if (h->version != IMAGE_VERSION)
        return damaged(e, "it was made by another version of this program");
    if (h->image_bytes != m->image_bytes)
        return damaged(e, "the length is wrong");
    if (!memchr(h->weights_name, '\0', sizeof h->weights_name))
        return damaged(e, "the name of the weights does not end");
    if (h->vocab_bytes > m->image_bytes)
        return damaged(e, "the vocabulary is longer than the image");
    m->config = h->config;
    int status = config_check(&m->config, e);
    if (status)
        return err_prefix(e, "the model image is not one of ours");
    memcpy(m->weights_name, h->weights_name, sizeof m->weights_name);
    return 0;
}

static int read_types(const struct whisper_model *m, struct model_plan *p,
                      const struct image_header *h, struct err *e)
{
    size_t types = align_64(sizeof *h);
    if (h->n_slots != (uint32_t)p->n_slots || h->n_slots > m->image_bytes - types)
        return damaged(e, "the number of tensors is wrong");
    const uint8_t *type = (const uint8_t *)m->image + types;
    for (int i = 0; i < p->n_slots; i++) {
        if (type[i] != WEIGHT_F32 &&
            ((type[i] != WEIGHT_F16 && type[i] != WEIGHT_S8) || !p->slots[i].panels))
            return damaged(e, "a tensor has no known type");
        p->slots[i].type = (enum weight_type)type[i];
    }
    return 0;
}

static int check_vocabulary(const struct whisper_model *m, size_t length, struct err *e)
{
    const uint32_t *offsets = m->vocab_offsets;
    int n = m->config.n_vocab;
    if (offsets[0] != 0 || offsets[n] != length)
        return damaged(e, "the vocabulary's ends are wrong");
    for (int i = 0; i < n; i++)
        if (offsets[i] > offsets[i + 1])
            return damaged(e, "the vocabulary is not in order");
    return 0;
}

static const float *vector_at(const struct whisper_model *m, const struct model_plan *p,
                              int slot)
{
    return (const void *)((const uint8_t *)m->image + p->slots[slot].offset);
}

/* The linear weight in `slot`, its bias in `bias` (-1: none). */
static struct weight weight_of(const struct whisper_model *m, const struct model_plan *p,
                               int slot, int bias)
{
    const struct image_slot *s = &p->slots[slot];
    return (struct weight){
        .data = (const uint8_t *)m->image + s->offset,
        .scales = s->type == WEIGHT_S8 ? (const void *)((const uint8_t *)m->image +
                                                        s->offset + plan_scales_at(s))
                                       : NULL,
        .bias = bias < 0 ? NULL : vector_at(m, p, bias),
        .type = s->type,
        .rows = s->rows,
        .cols = s->cols,
    };
}

/* The decoder's inputs have outliers, which 8 bits would drown the others under; and its
 * time goes into reading the weights. */
static struct weight fine_weight_of(const struct whisper_model *m,
                                    const struct model_plan *p, int slot, int bias)
{
    struct weight w = weight_of(m, p, slot, bias);
    w.fine = w.type == WEIGHT_S8;
    return w;
}

static struct layer_norm norm_of(const struct whisper_model *m,
                                 const struct model_plan *p, int gain)
{
    return (struct layer_norm){vector_at(m, p, gain), vector_at(m, p, gain + 1)};
}

static void resolve_encoder(struct whisper_model *m, const struct model_plan *p)
{
    for (int i = 0; i < m->config.n_audio_layer; i++) {
        int s = plan_encoder_slot(i, 0);
        m->encoder[i] = (struct encoder_layer){
            .attn_norm = norm_of(m, p, s + ENC_ATTN_NORM_GAIN),
            .mlp_norm = norm_of(m, p, s + ENC_MLP_NORM_GAIN),
            .attn_qkv = weight_of(m, p, s + ENC_QKV, s + ENC_QKV_BIAS),
            .attn_out = weight_of(m, p, s + ENC_OUT, s + ENC_OUT_BIAS),
            .mlp_up = weight_of(m, p, s + ENC_UP, s + ENC_UP_BIAS),
            .mlp_down = weight_of(m, p, s + ENC_DOWN, s + ENC_DOWN_BIAS),
        };
    }
}

static void resolve_decoder(struct whisper_model *m, const struct model_plan *p)
{
    for (int i = 0; i < m->config.n_text_layer; i++) {
        int s = plan_decoder_slot(&m->config, i, 0);
        m->decoder[i] = (struct decoder_layer){
            .attn_norm = norm_of(m, p, s + ENC_ATTN_NORM_GAIN),
            .cross_norm = norm_of(m, p, s + DEC_CROSS_NORM_GAIN),
            .mlp_norm = norm_of(m, p, s + ENC_MLP_NORM_GAIN),
            .attn_qkv = fine_weight_of(m, p, s + ENC_QKV, s + ENC_QKV_BIAS),
            .attn_out = fine_weight_of(m, p, s + ENC_OUT, s + ENC_OUT_BIAS),
            .cross_q = fine_weight_of(m, p, s + DEC_CROSS_Q, s + DEC_CROSS_Q_BIAS),
            .cross_kv = weight_of(m, p, s + DEC_CROSS_KV, s + DEC_CROSS_KV_BIAS),
            .cross_out = fine_weight_of(m, p, s + DEC_CROSS_OUT, s + DEC_CROSS_OUT_BIAS),
            .mlp_up = fine_weight_of(m, p, s + ENC_UP, s + ENC_UP_BIAS),
            .mlp_down = fine_weight_of(m, p, s + ENC_DOWN, s + ENC_DOWN_BIAS),
        };
    }
}

static int resolve(struct whisper_model *m, const struct model_plan *p, struct err *e)
{
    m->encoder = mem_array((size_t)m->config.n_audio_layer, sizeof *m->encoder);
    m->decoder = mem_array((size_t)m->config.n_text_layer, sizeof *m->decoder);
    if (!m->encoder || !m->decoder)
        return err_set(e, ERR_NOMEM, "out of memory");
    m->conv1 = weight_of(m, p, SLOT_CONV1, SLOT_CONV1_BIAS);
    m->conv2 = weight_of(m, p, SLOT_CONV2, SLOT_CONV2_BIAS);
    m->audio_positions = vector_at(m, p, SLOT_AUDIO_POSITIONS);
    m->audio_norm = norm_of(m, p, SLOT_AUDIO_NORM_GAIN);
    m->token_embedding = fine_weight_of(m, p, SLOT_TOKENS, -1);
    m->text_positions = vector_at(m, p, SLOT_TEXT_POSITIONS);
    m->text_norm = norm_of(m, p, SLOT_TEXT_NORM_GAIN);
    resolve_encoder(m, p);
    resolve_decoder(m, p);
    return 0;
}

static int attach_plan(struct whisper_model *m, struct model_plan *p,
                       const struct image_header *h, struct err *e)
{
    struct image_sections at;
    int status = read_types(m, p, h, e);
    if (!status)
        status = lay_out(p, h->vocab_bytes, &at, e);
    if (!status && at.end != m->image_bytes)
        status = damaged(e, "the tensors do not fill it");
    if (status)
        return status;
    const uint8_t *image = m->image;
    m->vocab_offsets = (const void *)(image + at.vocab_offsets);
    m->vocab_bytes = image + at.vocab_bytes;
    m->mel_filters = (const void *)(image + at.mel_filters);
    status = check_vocabulary(m, h->vocab_bytes, e);
    return status ? status : resolve(m, p, e);
}

int image_attach(struct whisper_model *m, int fd, struct err *e)
{
    m->image_fd = -1;
    struct image_header header;
    int status = map_image(m, fd, e);
    if (!status)
        status = check_header(m, &header, e);
    struct model_plan *plan = NULL;
    if (!status)
        status = plan_new(&plan, &m->config, e);
    if (!status)
        status = attach_plan(m, plan, &header, e);
    plan_free(plan);
    return status;
}
