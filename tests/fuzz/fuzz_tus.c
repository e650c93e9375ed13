/* The heads of uploads in several requests: an input is Upload-Metadata, Upload-Concat
 * and Upload-Checksum, a line each. */
#include "fuzz.h"

#include "api/tus.h"

static void metadata(const char *header)
{
    struct http_params found = {0};
    struct err e = {0};
    int status = tus_metadata(header, &found, &e);
    HOLDS(!status || e.message[0]);
    for (size_t i = 0; i < found.count; i++) {
        const struct http_param *p = &found.list[i];
        HOLDS(p->name[0] && strlen(p->name) < 64 && !strchr(p->name, ','));
        HOLDS(http_utf8_valid(p->value, strlen(p->value)));
        for (size_t k = 0; k < i; k++)
            HOLDS(strcmp(p->name, found.list[k].name) != 0);
    }
    http_params_release(&found);
}

static void parts(const char *header)
{
    char ids[RESUMABLE_PARTS_MAX][ID_SIZE];
    struct err e = {0};
    if (strncmp(header, "final;", 6) != 0)
        return; /* asked before */
    int count = tus_parts(header, ids, RESUMABLE_PARTS_MAX, &e);
    HOLDS(count != 0 && count <= RESUMABLE_PARTS_MAX);
    for (int i = 0; i < count; i++)
        HOLDS(id_valid(ids[i]));
}

static void checksum(const char *header, const char *body)
{
    struct tus_checksum sum;
    struct err e = {0};
    if (tus_checksum_begin(&sum, header, &e)) {
        HOLDS(e.message[0]);
        return;
    }
    HOLDS(sum.kind != TUS_NONE);
    tus_checksum_add(&sum, body, strlen(body));
    (void)tus_checksum_fits(&sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *rest = text;
    metadata(fuzz_line(&rest));
    parts(fuzz_line(&rest));
    const char *header = fuzz_line(&rest);
    checksum(header, rest);
    free(text);
    return 0;
}
