/* Text is first cut into pieces by GPT-2's expression (words with the space before them,
 * numbers, punctuation, white space); within a piece, the neighbouring pair whose union
 * has the lowest id is merged until no union is a token. A heap of pairs keeps that
 * n log n: a piece can be as long as the text. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/bpe.h"

#include "base/mem.h"

#include <pcre2.h>

#define TABLE_SIZE     (1u << 17) /* over twice the tokens */
#define MATCH_LIMIT    10000000
#define MATCH_HEAP_KIB 65536

/* The reference's \s is Unicode's White_Space, which PCRE's \s is not quite. */
#define SPACE "\\t-\\r\\x{85}\\p{Z}"
static const char pieces[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+"
                             "| ?[^" SPACE "\\p{L}\\p{N}]+"
                             "|[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+";

struct bpe {
    const struct whisper_model *model; /* borrowed */
    uint32_t *table;                   /* owned [TABLE_SIZE]: id + 1, 0: free */
    pcre2_code *pieces;                /* owned */
    pcre2_match_context *limits;       /* owned */
};

/* A token of the piece being merged: `length` bytes at its index; 0: merged away. */
struct node {
    uint32_t length, next, previous;
};

/* A pair that may be merged, unless one of its halves has changed since. */
struct pair {
    int32_t id; /* of the union: the lowest goes first, then the leftmost */
    uint32_t left, length;
};

struct merge {
    const char *text; /* borrowed */
    uint32_t length;
    struct node *nodes; /* owned [capacity] */
    struct pair *heap;  /* owned [heap_capacity] */
    size_t capacity, heap_capacity, n_heap;
};

#define NONE UINT32_MAX

/* ---- vocabulary ------------------------------------------------------------------ */

static const char *token_bytes(const struct bpe *b, int32_t id, size_t *length)
{
    const uint32_t *offsets = b->model->vocab_offsets;
    *length = offsets[id + 1] - offsets[id];
    return (const char *)b->model->vocab_bytes + offsets[id];
}

/* The slot of the token with these bytes, or the free one where it would go. */
static uint32_t find_slot(const struct bpe *b, const char *bytes, size_t length)
{
    uint64_t hash = 14695981039346656037ULL;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)bytes[i]) * 1099511628211ULL;
    uint32_t slot = (uint32_t)(hash ^ hash >> 32) % TABLE_SIZE;
    for (; b->table[slot]; slot = (slot + 1) % TABLE_SIZE) {
        size_t other_length;
        const char *other = token_bytes(b, (int32_t)b->table[slot] - 1, &other_length);
        if (other_length == length && !memcmp(bytes, other, length))
            break;
    }
    return slot;
}

/* The id of the token with these bytes, or -1. */
static int32_t find_token(const struct bpe *b, const char *bytes, size_t length)
{
    return (int32_t)b->table[find_slot(b, bytes, length)] - 1;
}

/* Called before `bytes` is in the table: what is found there has a lower id. */
static bool is_union(const struct bpe *b, const char *bytes, size_t length)
{
    for (size_t cut = 1; cut < length; cut++)
        if (find_token(b, bytes, cut) >= 0 &&
            find_token(b, bytes + cut, length - cut) >= 0)
            return true;
    return false;
}

static int index_tokens(struct bpe *b, int n_ordinary, struct err *e)
{
    for (int id = 0; id < n_ordinary; id++) {
        size_t length;
        const char *bytes = token_bytes(b, id, &length);
        if (length == 0 && id == n_ordinary - 1)
            break;
        if (id < 256 && length != 1)
            return err_set(
                e, ERR_CORRUPT,
                "token %d of the vocabulary has %zu bytes; the first 256 must be "
                "the single bytes",
                id, length);
        uint32_t slot = find_slot(b, bytes, length);
        if (b->table[slot])
            return err_set(e, ERR_CORRUPT,
                           "tokens %d and %d of the vocabulary are the same",
                           (int)b->table[slot] - 1, id);
        if (id >= 256 && !is_union(b, bytes, length))
            return err_set(
                e, ERR_CORRUPT,
                "token %d of the vocabulary is not made of two earlier ones, as "
                "byte-pair encoding has it",
                id);
        b->table[slot] = (uint32_t)id + 1;
    }
    return 0;
}

static int compile(struct bpe *b, struct err *e)
{
    int code;
    PCRE2_SIZE at;
    b->pieces = pcre2_compile((PCRE2_SPTR)pieces, PCRE2_ZERO_TERMINATED,
                              PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
    if (!b->pieces)
        return err_set(
            e, ERR_UNSUPPORTED,
            "this PCRE2 library cannot compile the tokenizer's expression (error "
            "%d at %zu): it was built without Unicode",
            code, (size_t)at);
    b->limits = pcre2_match_context_create(NULL);
    if (!b->limits)
        return err_set(e, ERR_NOMEM, "out of memory");
    pcre2_set_match_limit(b->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(b->limits, MATCH_HEAP_KIB);
    return 0;
}

int bpe_open(struct bpe **out, const struct whisper_model *m, int n_ordinary,
             struct err *e)
{
    struct bpe *b = calloc(1, sizeof *b);
    if (!b)
        return err_set(e, ERR_NOMEM, "out of memory");
    b->model = m;
    b->table = mem_array(TABLE_SIZE, sizeof *b->table);
    int status = b->table ? compile(b, e) : err_set(e, ERR_NOMEM, "out of memory");
    if (!status)
        status = index_tokens(b, n_ordinary, e);
    if (status) {
        bpe_close(b);
        return status;
    }
    *out = b;
    return 0;
}

void bpe_close(struct bpe *b)
{
    if (!b)
        return;
    free(b->table);
    pcre2_code_free(b->pieces);
    pcre2_match_context_free(b->limits);
    free(b);
}

/* ---- merging one piece ----------------------------------------------------------- */

static bool goes_before(const struct pair *a, const struct pair *b)
{
    return a->id != b->id ? a->id < b->id : a->left < b->left;
}

static void heap_push(struct merge *m, struct pair pair)
{
    size_t at = m->n_heap++;
    while (at > 0 && goes_before(&pair, &m->heap[(at - 1) / 2])) {
        m->heap[at] = m->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    m->heap[at] = pair;
}

static struct pair heap_pop(struct merge *m)
{
    struct pair top = m->heap[0], last = m->heap[--m->n_heap];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= m->n_heap)
            break;
        if (child + 1 < m->n_heap && goes_before(&m->heap[child + 1], &m->heap[child]))
            child++;
        if (!goes_before(&m->heap[child], &last))
            break;
        m->heap[at] = m->heap[child];
        at = child;
    }
    m->heap[at] = last;
    return top;
}

/* Consider merging the node at `left` with the next. */
static void offer(struct merge *m, const struct bpe *b, uint32_t left)
{
    if (left == NONE || m->nodes[left].next == NONE)
        return;
    uint32_t length = m->nodes[left].length + m->nodes[m->nodes[left].next].length;
    int32_t id = find_token(b, m->text + left, length);
    if (id >= 0)
        heap_push(m, (struct pair){id, left, length});
}

static void merge_pair(struct merge *m, const struct bpe *b, const struct pair *pair)
{
    struct node *left = &m->nodes[pair->left];
    if (left->length == 0 || left->next == NONE ||
        left->length + m->nodes[left->next].length != pair->length)
        return; /* one half was merged elsewhere since */
    struct node *right = &m->nodes[left->next];
    left->length = pair->length;
    left->next = right->next;
    right->length = 0;
    if (left->next != NONE)
        m->nodes[left->next].previous = pair->left;
    offer(m, b, left->previous);
    offer(m, b, pair->left);
}

/* One node per byte; each merge offers two pairs at most. */
static int begin_piece(struct merge *m, const char *text, size_t length)
{
    if (length > UINT32_MAX / 4)
        return ERR_TOO_LARGE;
    m->text = text;
    m->length = (uint32_t)length;
    m->n_heap = 0;
    if (mem_grow(&m->nodes, &m->capacity, length, sizeof *m->nodes) ||
        mem_grow(&m->heap, &m->heap_capacity, 3 * length, sizeof *m->heap))
        return ERR_NOMEM;
    for (uint32_t i = 0; i < m->length; i++)
        m->nodes[i] =
            (struct node){1, i + 1 < m->length ? i + 1 : NONE, i ? i - 1 : NONE};
    return 0;
}

struct ids {
    int32_t **out;
    size_t *count, *capacity;
};

static int add_id(const struct ids *ids, int32_t id)
{
    if (mem_grow(ids->out, ids->capacity, *ids->count + 1, sizeof **ids->out))
        return ERR_NOMEM;
    (*ids->out)[(*ids->count)++] = id;
    return 0;
}

static int encode_piece(const struct bpe *b, struct merge *m, const char *text,
                        size_t length, const struct ids *ids)
{
    int32_t whole = find_token(b, text, length);
    if (whole >= 0)
        return add_id(ids, whole);
    int status = begin_piece(m, text, length);
    if (status)
        return status;
    for (uint32_t i = 0; i < m->length; i++)
        offer(m, b, i);
    while (m->n_heap > 0) {
        struct pair pair = heap_pop(m);
        merge_pair(m, b, &pair);
    }
    for (uint32_t i = 0; i != NONE && !status; i = m->nodes[i].next)
        status = add_id(ids, find_token(b, text + i, m->nodes[i].length));
    return status;
}

/* ---- pieces ---------------------------------------------------------------------- */

static int encode_pieces(const struct bpe *b, pcre2_match_data *match, struct merge *m,
                         const char *text, size_t length, const struct ids *ids)
{
    size_t at = 0;
    while (at < length) {
        int n = pcre2_match(b->pieces, (PCRE2_SPTR)text, length, at,
                            PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, match, b->limits);
        if (n == PCRE2_ERROR_NOMEMORY)
            return ERR_NOMEM;
        if (n <= 0)
            return ERR_TOO_LARGE;
        size_t end = pcre2_get_ovector_pointer(match)[1];
        int status = encode_piece(b, m, text + at, end - at, ids);
        if (status)
            return status;
        at = end;
    }
    return 0;
}

int bpe_encode(const struct bpe *b, const char *text, size_t length, int32_t **out,
               size_t *count, size_t *capacity, struct err *e)
{
    struct ids ids = {out, count, capacity};
    struct merge m = {0};
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(b->pieces, NULL);
    int status = match ? encode_pieces(b, match, &m, text, length, &ids) : ERR_NOMEM;
    pcre2_match_data_free(match);
    free(m.nodes);
    free(m.heap);
    if (status == ERR_NOMEM)
        return err_set(e, status, "out of memory");
    if (status)
        return err_set(e, status, "the text is too long to be cut into tokens");
    return 0;
}
