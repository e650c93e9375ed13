/* What an S3 server answers, and the state of an upload that the database gives back. The
 * first byte chooses:
 *
 *     '<'  the rest with it is XML: elements and texts within their bounds
 *     '0'… a status of three digits, then the body: a sentence of one line for the log
 *     else the text of a state: what is read is printed, and read again the same */
#include "fuzz.h"

#include "s3/failure.h"
#include "s3/xml.h"
#include "store/blob_state.h"

static int on_element(void *arg, const char *name, const char *parent, const char *text)
{
    size_t *count = arg;
    HOLDS(strlen(name) < 64 && strlen(parent) < 64 && strlen(text) < 4096);
    return ++*count > 1000 ? ERR_EXISTS : 0;
}

static void read_xml(const char *text, size_t length)
{
    struct err e = {0};
    size_t count = 0;
    char code[16];
    int status = s3_xml_parse(text, length, on_element, &count, &e);
    HOLDS(!status || status == ERR_CORRUPT || status == ERR_EXISTS);
    HOLDS(status != ERR_CORRUPT || e.message[0]);
    s3_xml_find(text, length, "Code", code, sizeof code);
    HOLDS(strlen(code) < sizeof code);
}

static void read_failure(const char *text, size_t length)
{
    struct s3 s = {.name = (char *)"the bucket b", .region = (char *)"r"};
    const struct s3_request r = {.method = "GET", .query = ""};
    struct s3_answer a = {0};
    struct err e = {0};
    if (length < 3)
        return;
    for (int i = 0; i < 3; i++)
        a.status = 10 * a.status + (unsigned char)text[i] % 10;
    buf_init(&a.text, S3_ERROR_MAX);
    buf_add(&a.text, text + 3, length - 3);
    int status = s3_failure(&s, &r, &a, &e);
    HOLDS(status < 0 && e.code == status);
    for (const char *p = e.message; *p; p++)
        HOLDS((unsigned char)*p >= ' ' && (unsigned char)*p < 127);
    (void)s3_is_passing(&a);
    s3_answer_release(&a);
}

static void read_state(const char *text)
{
    struct blob_state first, again;
    struct buf one, two;
    struct err e = {0};
    blob_state_init(&first);
    blob_state_init(&again);
    buf_init(&one, 1 << 20);
    buf_init(&two, 1 << 20);
    int status = blob_state_parse(&first, text, &e);
    HOLDS(!status || status == ERR_CORRUPT || status == ERR_NOMEM);
    if (!status) {
        HOLDS(blob_state_bytes(&first) >= 0);
        HOLDS(!blob_state_print(&first, &one, &e));
        HOLDS(!blob_state_parse(&again, buf_cstr(&one), &e));
        HOLDS(!blob_state_print(&again, &two, &e));
        HOLDS(!strcmp(buf_cstr(&one), buf_cstr(&two)));
        HOLDS(blob_state_bytes(&first) == blob_state_bytes(&again));
    }
    blob_state_release(&first);
    blob_state_release(&again);
    buf_release(&one);
    buf_release(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    size_t length = strlen(text);
    if (text[0] == '<')
        read_xml(text, length);
    else if (text[0] >= '0' && text[0] <= '9')
        read_failure(text, length);
    else
        read_state(text);
    free(text);
    return 0;
}
