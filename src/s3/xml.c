#include "s3/xml.h"

#include <expat.h>
#include <limits.h>
#include <stdbool.h>

#define DEPTH_MAX 8
#define NAME_MAX_ 64
#define TEXT_MAX  4096 /* a key has 1024 bytes at most, an upload's id no more */

struct parsing {
    XML_Parser parser; /* owned */
    s3_xml_fn fn;
    void *arg;
    int status;
    size_t depth;
    char names[DEPTH_MAX][NAME_MAX_];
    char texts[DEPTH_MAX][TEXT_MAX];
    size_t lengths[DEPTH_MAX];
};

static void fail(struct parsing *p, int status)
{
    p->status = status;
    (void)XML_StopParser(p->parser, XML_FALSE);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct parsing *p = arg;
    (void)attributes;
    if (p->depth == DEPTH_MAX || strlen(name) >= NAME_MAX_) {
        fail(p, ERR_CORRUPT);
        return;
    }
    (void)snprintf(p->names[p->depth], NAME_MAX_, "%s", name);
    p->lengths[p->depth++] = 0;
}

static void on_text(void *arg, const XML_Char *text, int length)
{
    struct parsing *p = arg;
    if (!p->depth || p->status)
        return;
    size_t *have = &p->lengths[p->depth - 1];
    if (length < 0 || (size_t)length >= TEXT_MAX - *have) {
        fail(p, ERR_CORRUPT);
        return;
    }
    memcpy(p->texts[p->depth - 1] + *have, text, (size_t)length);
    *have += (size_t)length;
}

static void on_end(void *arg, const XML_Char *name)
{
    struct parsing *p = arg;
    (void)name;
    if (!p->depth || p->status)
        return;
    size_t at = --p->depth;
    p->texts[at][p->lengths[at]] = '\0';
    int status = p->fn(p->arg, p->names[at], at ? p->names[at - 1] : "", p->texts[at]);
    if (status)
        fail(p, status);
}

/* S3 declares no entities: whoever does wants to be expanded. */
static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
                       const XML_Char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    fail(arg, ERR_CORRUPT);
}

int s3_xml_parse(const char *bytes, size_t length, s3_xml_fn fn, void *arg, struct err *e)
{
    struct parsing *p = calloc(1, sizeof *p);
    if (!p || !(p->parser = XML_ParserCreate(NULL))) {
        free(p);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    p->fn = fn;
    p->arg = arg;
    XML_SetUserData(p->parser, p);
    XML_SetElementHandler(p->parser, on_start, on_end);
    XML_SetCharacterDataHandler(p->parser, on_text);
    XML_SetStartDoctypeDeclHandler(p->parser, on_doctype);
    bool good = length <= INT_MAX && XML_Parse(p->parser, bytes, (int)length, 1);
    int status = p->status ? p->status : good ? 0 : ERR_CORRUPT;
    XML_ParserFree(p->parser);
    free(p);
    return status == ERR_CORRUPT ? err_set(e, status, "the answer is no XML of S3")
                                 : status;
}

struct search {
    const char *name;
    char *out;
    size_t size;
};

static int on_element(void *arg, const char *name, const char *parent, const char *text)
{
    struct search *s = arg;
    (void)parent;
    if (strcmp(name, s->name) != 0)
        return 0;
    (void)snprintf(s->out, s->size, "%s", text);
    return ERR_EXISTS; /* found: the rest need not be read */
}

void s3_xml_find(const char *bytes, size_t length, const char *name, char *out,
                 size_t size)
{
    struct search s = {name, out, size};
    out[0] = '\0';
    if (length)
        (void)s3_xml_parse(bytes, length, on_element, &s, NULL);
}
