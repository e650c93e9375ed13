/* Errors as OpenAI's clients read them: {"error":{"message","type","param","code"}}, and
 * whether to try again. Without being told they send the whole file again after 408, 409,
 * 429 and every 5xx. */
#include "api/openai.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>

/* Their clients wait no longer, whatever they are told. */
#define RETRY_AFTER_MAX_SECONDS 120

static const char *type_of(int status, const char *code)
{
    return !strcmp(code, "insufficient_quota") ? code
           : status == 429                     ? "rate_limit_error"
           : status >= 500                     ? "server_error"
                                               : "invalid_request_error";
}

json_t *openai_error(int status, const char *code, const char *param,
                     const char *sentence)
{
    struct buf message, name;
    buf_init(&message, 8192);
    buf_init(&name, 1024);
    http_utf8_repair(&message, sentence, strlen(sentence));
    if (param)
        http_utf8_repair(&name, param, strlen(param));
    /* Our messages begin like the middle of a sentence. */
    if (message.length)
        message.data[0] = (char)toupper((unsigned char)message.data[0]);
    json_t *error = json_pack("{s:{s:s, s:s, s:s?, s:s}}", "error", "message",
                              buf_cstr(&message), "type", type_of(status, code), "param",
                              param ? buf_cstr(&name) : NULL, "code", code);
    buf_release(&message);
    buf_release(&name);
    return error;
}

static void bound_wait(struct http_response *r)
{
    const char *text = http_params_get(&r->headers, "Retry-After");
    char most[16];
    char *end = NULL;
    errno = 0;
    long long seconds = text ? strtoll(text, &end, 10) : 0;
    if (!text || (!*end && !errno && seconds <= RETRY_AFTER_MAX_SECONDS))
        return;
    (void)snprintf(most, sizeof most, "%d", RETRY_AFTER_MAX_SECONDS);
    http_response_header(r, "Retry-After", most);
}

static void advise(struct http_response *r, bool again)
{
    if (again)
        bound_wait(r);
    else
        http_response_header(r, "x-should-retry", "false");
}

/* Errors of this server that waiting does not mend. */
static bool will_fail_again(int status, const char *code)
{
    if (status == 408 || status == 429)
        return false;
    return status < 500 || status == 501 || !strcmp(code, "no_model");
}

/* In their interface what is wrong with a file or a value is 400. */
static int their_status(int status)
{
    return status == 415 || status == 422 ? 400 : status;
}

static json_t *shape(struct http_response *r, int *status, const char *error_code,
                     const char *detail)
{
    *status = their_status(*status);
    advise(r, !will_fail_again(*status, error_code));
    bool quota = !strcmp(error_code, "quota_exceeded");
    const char *code = quota            ? "insufficient_quota"
                       : *status == 429 ? "rate_limit_exceeded"
                       : *status == 401 ? "invalid_api_key"
                                        : error_code;
    return openai_error(*status, code, NULL, detail);
}

http_error_shape openai_error_shape(const char *path)
{
    return strncmp(path, "/v1/", 4) ? NULL : shape;
}

void openai_refuse(struct http_request *r, int status, const char *code,
                   const char *param, const char *format, ...)
{
    char sentence[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    status = their_status(status);
    advise(&r->response, false);
    http_response_header(&r->response, "Cache-Control", "no-store");
    http_respond_json(&r->response, status, openai_error(status, code, param, sentence));
}
