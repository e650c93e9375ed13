/* The values of headers that say one thing: an input is the head of a request, a line
 * "Name: value" each, as the product has it once the head has been judged. */
#include "fuzz.h"

#include "api/tus.h"
#include "http/admit.h"
#include "http/head.h"
#include "http/json_body.h"
#include "http/range.h"
#include "http/ws.h"

#define MAX_FIELDS 32

static struct http_head *make_head(char *text)
{
    struct http_head *head = calloc(1, sizeof *head + MAX_FIELDS * sizeof *head->list);
    HOLDS(head);
    while (*text && head->count < MAX_FIELDS) {
        char *line = fuzz_line(&text), *value = line + strcspn(line, ":");
        if (*value)
            *value++ = '\0';
        head->list[head->count++] =
            (struct http_field){line, value + strspn(value, " \t")};
    }
    return head;
}

/* A refusal is a whole answer; none is left where nothing was refused. */
static void check_answer(struct http_request *r, int status)
{
    json_t *body = NULL;
    HOLDS(!status == !r->response.status);
    if (status) {
        body = json_loadb(buf_cstr(&r->response.body), r->response.body.length, 0, NULL);
        HOLDS(r->response.status >= 400 && json_is_object(body));
    }
    json_decref(body);
    http_response_release(&r->response);
    http_response_init(&r->response);
}

static void range(const char *header)
{
    static const int64_t lengths[] = {0, 1, 500, INT64_C(1) << 40};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int64_t first = -1, last = -1;
        if (http_range_parse(header, lengths[i], &first, &last) == HTTP_RANGE_PART)
            HOLDS(first >= 0 && first <= last && last < lengths[i]);
    }
}

static void framing(struct http_request *r)
{
    bool chunked = false;
    int status = http_admit_framing(r, &chunked);
    if (!status)
        HOLDS(r->content_length >= -1 && !(chunked && r->content_length >= 0));
    check_answer(r, status);
    check_answer(r, http_admit_origin(r));
}

static void numbers(struct http_request *r)
{
    static const char *const names[] = {"Upload-Length", "Upload-Offset"};
    for (size_t i = 0; i < 2; i++) {
        int64_t value = 0;
        int status = tus_number(r, names[i], &value);
        HOLDS(value >= 0);
        check_answer(r, status < 0 ? status : 0);
    }
    bool good = tus_check_version(r, true);
    check_answer(r, good ? 0 : ERR_INVALID);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), accept[HTTP_WS_ACCEPT_SIZE];
    struct http_head *head = make_head(text);
    struct http_request r = {.method = "POST", .path = "/", .head = head};
    http_response_init(&r.response);
    framing(&r);
    numbers(&r);
    range(http_request_header(&r, "Range"));
    (void)http_request_accepts(&r, "text/html");
    const char *key = http_request_header(&r, "Sec-WebSocket-Key");
    if (key && http_ws_accept(key, accept))
        HOLDS(strlen(accept) == 28);
    const char *id = http_request_header(&r, "X-Request-Id");
    if (id && http_request_id_valid(id))
        HOLDS(!strpbrk(id, " \t\"\\<>") && strlen(id) <= 64);
    int status = http_json_begin(&r);
    http_json_done(&r);
    check_answer(&r, status);
    http_response_release(&r.response);
    free(head);
    free(text);
    return 0;
}
