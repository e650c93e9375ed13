#include "store/blob_state.h"

#include "base/json_text.h"
#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <sodium.h>

#define STATE_MAX  (2u << 20)
#define PIECES_MAX 10000
#define BYTES_MAX  (INT64_C(1) << 48) /* so that all together have a sum */

void blob_state_init(struct blob_state *s)
{
    *s = (struct blob_state){.hashed = true, .next = 1};
    sha256_init(&s->hash);
}

void blob_state_release(struct blob_state *s)
{
    free(s->pieces);
    free(s->parts);
    free(s->upload_id);
    blob_state_init(s);
}

int64_t blob_state_bytes(const struct blob_state *s)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < s->n_pieces; i++)
        bytes += s->pieces[i].bytes;
    for (size_t i = 0; i < s->n_parts; i++)
        bytes += s->parts[i].bytes;
    return bytes;
}

void blob_token(char out[BLOB_TOKEN_SIZE])
{
    unsigned char bytes[(BLOB_TOKEN_SIZE - 1) / 2];
    randombytes_buf(bytes, sizeof bytes);
    (void)sodium_bin2hex(out, BLOB_TOKEN_SIZE, bytes, sizeof bytes);
}

static struct blob_piece *add_piece(struct blob_state *s)
{
    if (s->n_pieces == PIECES_MAX ||
        mem_grow(&s->pieces, &s->pieces_capacity, s->n_pieces + 1, sizeof *s->pieces))
        return NULL;
    struct blob_piece *p = &s->pieces[s->n_pieces++];
    *p = (struct blob_piece){0};
    return p;
}

int blob_state_add_piece(struct blob_state *s, struct err *e)
{
    struct blob_piece *p = add_piece(s);
    if (!p)
        return err_set(e, ERR_NOMEM, "an upload has come in too many pieces");
    blob_token(p->token);
    return 0;
}

/* ---- the hash so far ------------------------------------------------------------- */

/* False, and nothing left, when there was no memory for one of them. */
static bool whole_list(json_t **list, size_t count)
{
    if (*list && json_array_size(*list) == count)
        return true;
    json_decref(*list);
    *list = NULL;
    return false;
}

/* Field by field, because the library may lay them out otherwise one day. */
static json_t *print_hash(const struct sha256_ctx *h)
{
    char block[2 * SHA256_BLOCK_SIZE + 1];
    json_t *words = json_array();
    for (size_t i = 0; i < ARRAY_LENGTH(h->state); i++)
        (void)json_array_append_new(words, json_integer((json_int_t)h->state[i]));
    (void)sodium_bin2hex(block, sizeof block, h->block, h->index);
    if (!whole_list(&words, ARRAY_LENGTH(h->state)))
        return NULL;
    return json_pack("{s:o, s:I, s:s}", "words", words, "blocks", (json_int_t)h->count,
                     "rest", block);
}

static bool parse_hash(const json_t *o, struct sha256_ctx *h)
{
    const json_t *words = json_object_get(o, "words");
    const char *rest = json_string_value(json_object_get(o, "rest"));
    json_int_t blocks = json_integer_value(json_object_get(o, "blocks"));
    size_t length = 0;
    if (json_array_size(words) != ARRAY_LENGTH(h->state) || !rest || blocks < 0 ||
        sodium_hex2bin(h->block, sizeof h->block, rest, strlen(rest), NULL, &length,
                       NULL) ||
        2 * length != strlen(rest) || length >= sizeof h->block)
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(h->state); i++)
        h->state[i] = (uint32_t)json_integer_value(json_array_get(words, i));
    h->count = (uint64_t)blocks;
    h->index = (unsigned)length;
    return true;
}

/* ---- the text -------------------------------------------------------------------- */

static json_t *print_pieces(const struct blob_state *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_pieces; i++)
        (void)json_array_append_new(list, json_pack("[s, I]", s->pieces[i].token,
                                                    (json_int_t)s->pieces[i].bytes));
    (void)whole_list(&list, s->n_pieces);
    return list;
}

static json_t *print_parts(const struct blob_state *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_parts; i++)
        (void)json_array_append_new(list, json_pack("[i, I, s]", s->parts[i].number,
                                                    (json_int_t)s->parts[i].bytes,
                                                    s->parts[i].etag));
    (void)whole_list(&list, s->n_parts);
    return list;
}

int blob_state_print(const struct blob_state *s, struct buf *out, struct err *e)
{
    json_t *o = json_object();
    bool whole = !json_object_set_new(o, "pieces", print_pieces(s));
    whole &= !json_object_set_new(o, "parts", print_parts(s));
    if (s->hashed)
        whole &= !json_object_set_new(o, "hash", print_hash(&s->hash));
    if (s->upload_id)
        whole &= !json_object_set_new(o, "upload", json_string(s->upload_id));
    char *text = o ? json_text(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(o);
    if (text && whole)
        buf_str(out, text);
    bool good = text && whole && !buf_failed(out);
    free(text);
    return good ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

static bool is_token(const char *text)
{
    return !*text || (strlen(text) == BLOB_TOKEN_SIZE - 1 &&
                      strspn(text, "0123456789abcdef") == BLOB_TOKEN_SIZE - 1);
}

static bool parse_pieces(struct blob_state *s, const json_t *list)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *token = json_string_value(json_array_get(item, 0));
        json_int_t bytes = json_integer_value(json_array_get(item, 1));
        struct blob_piece *p =
            token && is_token(token) && bytes >= 0 && bytes <= BYTES_MAX ? add_piece(s)
                                                                         : NULL;
        if (!p)
            return false;
        (void)snprintf(p->token, sizeof p->token, "%s", token);
        p->bytes = bytes;
    }
    return true;
}

static bool parse_parts(struct blob_state *s, const json_t *list)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        json_int_t number = json_integer_value(json_array_get(item, 0));
        json_int_t bytes = json_integer_value(json_array_get(item, 1));
        const char *etag = json_string_value(json_array_get(item, 2));
        if (number < s->next || number > S3_PARTS_MAX || bytes < 0 || bytes > BYTES_MAX ||
            !etag || strlen(etag) >= S3_ETAG_SIZE || s->n_parts == S3_PARTS_MAX ||
            mem_grow(&s->parts, &s->parts_capacity, s->n_parts + 1, sizeof *s->parts))
            return false;
        struct s3_part *p = &s->parts[s->n_parts++];
        *p = (struct s3_part){.number = (int)number, .bytes = bytes};
        (void)snprintf(p->etag, sizeof p->etag, "%s", etag);
        s->next = p->number + 1;
    }
    return true;
}

static bool parse(struct blob_state *s, const json_t *o)
{
    const json_t *hash = json_object_get(o, "hash");
    const char *upload = json_string_value(json_object_get(o, "upload"));
    if (!json_is_object(o) || (upload && strlen(upload) >= S3_UPLOAD_ID_SIZE))
        return false;
    s->hashed = hash != NULL;
    s->upload_id = mem_strdup(upload);
    return (!hash || parse_hash(hash, &s->hash)) && (!upload || s->upload_id) &&
           parse_pieces(s, json_object_get(o, "pieces")) &&
           parse_parts(s, json_object_get(o, "parts"));
}

int blob_state_parse(struct blob_state *s, const char *text, struct err *e)
{
    blob_state_init(s);
    if (!text || !*text)
        return 0;
    json_t *o = NULL;
    json_error_t why;
    size_t length = strlen(text);
    int status = length <= STATE_MAX ? json_read(&o, text, length, 0, &why) : ERR_INVALID;
    errno = 0;
    bool good = o && parse(s, o);
    if (o && !good && errno == ENOMEM) /* of an allocation of our own */
        status = ERR_NOMEM;
    json_decref(o);
    if (good)
        return 0;
    blob_state_release(s);
    if (status == ERR_NOMEM)
        return err_set(e, ERR_NOMEM, "out of memory");
    return err_set(e, ERR_CORRUPT,
                   "what is known of an upload cannot be read from the database");
}
