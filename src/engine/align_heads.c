/* The heads that OpenAI publishes for its models (openai/whisper, whisper/__init__.py,
 * where they are masks): those whose attention was found to follow the speech. For
 * base.en they are our own: chosen on one half of a set of synthetic speech of known word
 * times and checked on the other, they halve the error, and none of them is among the
 * published.
 *
 * A model is known by its dimensions. The first and the second large model cannot be told
 * apart by them: both get the heads of the second, which replaced the first three months
 * after it. */
#include "engine/align_heads.h"

#include "base/mem.h"

#define MAX_PUBLISHED 24

/* Where a number stands below, it was measured on synthetic speech of known word times;
 * two synthesizers agree to 20 ms. Most published heads look a little ahead. */
#define USUAL_LAG (-2.5f)

struct published {
    const char *type; /* as whisper_model_describe says it */
    int n_heads;
    float lag; /* 0: not measured */
    struct net_head heads[MAX_PUBLISHED];
};

/* clang-format off */
static const struct published published[] = {
    {"tiny.en", 8, 0,
        {{1, 0}, {2, 0}, {2, 5}, {3, 0}, {3, 1}, {3, 2}, {3, 3}, {3, 4}}},
    {"tiny", 6, 3.5f,
        {{2, 2}, {3, 0}, {3, 2}, {3, 3}, {3, 4}, {3, 5}}},
    {"base.en", 4, 2.75f,
        {{3, 6}, {4, 1}, {5, 2}, {5, 4}}},
    {"base", 8, -2.5f,
        {{3, 1}, {4, 2}, {4, 3}, {4, 7}, {5, 1}, {5, 2}, {5, 4}, {5, 6}}},
    {"small.en", 19, 0,
        {{6, 6}, {7, 0}, {7, 3}, {7, 8}, {8, 2}, {8, 5}, {8, 7}, {9, 0},
         {9, 4}, {9, 8}, {9, 10}, {10, 0}, {10, 1}, {10, 2}, {10, 3},
         {10, 6}, {10, 11}, {11, 2}, {11, 4}}},
    {"small", 10, -2.5f,
        {{5, 3}, {5, 9}, {8, 0}, {8, 4}, {8, 7}, {8, 8}, {9, 0}, {9, 7},
         {9, 9}, {10, 5}}},
    {"medium.en", 18, 0,
        {{11, 4}, {14, 1}, {14, 12}, {14, 14}, {15, 4}, {16, 0}, {16, 4},
         {16, 9}, {17, 12}, {17, 14}, {18, 7}, {18, 10}, {18, 15}, {20, 0},
         {20, 3}, {20, 9}, {20, 14}, {21, 12}}},
    {"medium", 6, 0,
        {{13, 15}, {15, 4}, {15, 15}, {16, 1}, {20, 0}, {23, 4}}},
    {"large-v1/v2", 23, 0,
        {{10, 12}, {13, 17}, {16, 11}, {16, 12}, {16, 13}, {17, 15},
         {17, 16}, {18, 4}, {18, 11}, {18, 19}, {19, 11}, {21, 2}, {21, 3},
         {22, 3}, {22, 9}, {22, 12}, {23, 5}, {23, 7}, {23, 13}, {25, 5},
         {26, 1}, {26, 12}, {27, 15}}},
    {"large-v3", 10, 0,
        {{7, 0}, {10, 17}, {12, 18}, {13, 12}, {16, 1}, {17, 14}, {19, 11},
         {21, 4}, {24, 1}, {25, 6}}},
    {"large-v3-turbo", 6, 0,
        {{2, 4}, {2, 11}, {3, 3}, {3, 6}, {3, 11}, {3, 14}}},
};
/* clang-format on */

static const struct published *find_published(const struct whisper_model *m)
{
    struct whisper_model_info info;
    whisper_model_describe(m, &info);
    for (size_t i = 0; i < ARRAY_LENGTH(published); i++)
        if (strcmp(published[i].type, info.type) == 0)
            return &published[i];
    return NULL;
}

static bool heads_exist(const struct published *p, const struct whisper_config *c)
{
    for (int i = 0; i < p->n_heads; i++)
        if (p->heads[i].layer >= c->n_text_layer || p->heads[i].head >= c->n_text_head)
            return false;
    return true;
}

/* As the reference does for a model that it does not know. */
static int upper_half(const struct whisper_config *c, struct net_head *out)
{
    int n = 0;
    for (int layer = c->n_text_layer / 2; layer < c->n_text_layer; layer++)
        for (int head = 0; head < c->n_text_head; head++)
            out[n++] = (struct net_head){layer, head};
    return n;
}

/* What the model's own files told. */
static int told(const struct whisper_config *c, struct net_head *out)
{
    int n = c->n_align_heads;
    if (n < 0 || n > WHISPER_MAX_ALIGN_HEADS)
        return 0;
    for (int i = 0; i < n; i++) {
        out[i] = (struct net_head){c->align_heads[i][0], c->align_heads[i][1]};
        if (out[i].layer >= c->n_text_layer || out[i].head >= c->n_text_head)
            return 0;
    }
    return n;
}

static int copy_published(const struct published *p, struct net_head *out)
{
    memcpy(out, p->heads, (size_t)p->n_heads * sizeof *out);
    return p->n_heads;
}

/* What was measured goes first, then what the model's files tell, for they know the first
 * large model from the second. */
int align_heads_of(const struct whisper_model *m, struct net_head **out, int *n_heads,
                   float *lag, struct err *e)
{
    const struct whisper_config *c = &m->config;
    const struct published *p = find_published(m);
    size_t all = (size_t)c->n_text_layer * (size_t)c->n_text_head;
    struct net_head *heads = mem_array(all + WHISPER_MAX_ALIGN_HEADS, sizeof *heads);
    if (!heads)
        return err_set(e, ERR_NOMEM, "no memory is left to choose attention heads");
    if (p && !heads_exist(p, c))
        p = NULL;
    bool measured = p && p->lag != 0;
    int n = measured ? 0 : told(c, heads);
    if (n == 0 && p)
        n = copy_published(p, heads);
    if (n == 0)
        n = upper_half(c, heads);
    *lag = measured ? p->lag : USUAL_LAG;
    *n_heads = n;
    *out = heads;
    return 0;
}
