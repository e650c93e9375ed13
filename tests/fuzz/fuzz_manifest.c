/* What a copy says that it is made of: an input is the JSON of a manifest; the line with
 * its checksum is put behind it, for otherwise none would come through. As it is, it is
 * read, too.
 *
 * What was read can be written, and reads back as the same; names that become parts of
 * paths have their one shape. */
#include "fuzz.h"

#include "backup/manifest.h"

#include <sodium.h>

static void holds(const struct manifest *m)
{
    size_t databases = 0;
    for (size_t i = 0; i < m->n_files; i++) {
        const struct manifest_file *f = &m->files[i];
        databases += f->role == ROLE_DATABASE;
        HOLDS(strspn(f->object, "0123456789abcdef") == 64 && strlen(f->object) == 64);
        HOLDS(f->role != ROLE_RECORDING || id_valid(f->id));
        HOLDS(f->bytes >= 0 && f->stored >= 0);
    }
    for (size_t i = 0; i < m->n_missing; i++)
        HOLDS(id_valid(m->missing[i]));
    HOLDS(databases == 1 && manifest_find(m, ROLE_DATABASE));
    HOLDS(manifest_bytes(m) >= 0);
}

static void same_again(const struct manifest *m)
{
    struct manifest again;
    struct buf one, two;
    struct err e;
    buf_init(&one, MANIFEST_MAX);
    buf_init(&two, MANIFEST_MAX);
    HOLDS(!manifest_compose(m, &one, &e));
    HOLDS(!manifest_parse(&again, one.data, one.length, &e));
    HOLDS(!manifest_compose(&again, &two, &e));
    HOLDS(one.length == two.length && !memcmp(one.data, two.data, one.length));
    manifest_release(&again);
    buf_release(&one);
    buf_release(&two);
}

static void read_one(const char *text, size_t length)
{
    struct manifest m;
    struct err e;
    if (manifest_parse(&m, text, length, &e))
        return;
    holds(&m);
    same_again(&m);
    manifest_release(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    char hex[65];
    struct buf text;
    read_one((const char *)data, size);
    buf_init(&text, MANIFEST_MAX);
    buf_add(&text, data, size);
    crypto_hash_sha256(digest, data, size);
    sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
    buf_printf(&text, "sha256 %s\n", hex);
    read_one(buf_cstr(&text), text.length);
    buf_release(&text);
    return 0;
}
