/* How sure the model was of each token, in OpenAI's shape. */
#include "api/openai.h"

#include "api/segments.h"

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* {"token","bytes","logprob"}. A token may be a part of a character: its bytes tell all
 * of it, its text what can be shown. */
static json_t *token_json(const struct transcript_token *t)
{
    struct buf bytes, shown;
    json_t *list = json_array();
    buf_init(&bytes, HTTP_FIELD_MAX);
    buf_init(&shown, 4 * HTTP_FIELD_MAX);
    for (const char *p = t->hex; p[0] && p[1]; p += 2) {
        int byte = 16 * digit(p[0]) + digit(p[1]);
        buf_char(&bytes, (char)byte);
        (void)json_array_append_new(list, json_integer(byte));
    }
    http_utf8_repair(&shown, buf_cstr(&bytes), bytes.length);
    json_t *token = json_pack("{s:s, s:o, s:o}", "token", buf_cstr(&shown), "bytes", list,
                              "logprob", segments_float(t->logprob));
    buf_release(&bytes);
    buf_release(&shown);
    return token;
}

json_t *openai_logprobs(const struct transcript *t)
{
    json_t *list = json_array();
    int failed = !list;
    for (size_t i = 0; i < t->n_segments; i++)
        for (size_t k = 0; k < t->segments[i].n_logprobs; k++)
            failed |=
                json_array_append_new(list, token_json(&t->segments[i].logprobs[k]));
    if (!failed)
        return list;
    json_decref(list);
    return NULL;
}
