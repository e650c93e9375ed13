#include "backup/seal.h"

#include "base/buf.h"
#include "base/fs.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PASS_MAX    4096
#define OVERHEAD    crypto_secretstream_xchacha20poly1305_ABYTES
#define SEALED_SIZE (SEAL_CHUNK + OVERHEAD)
#define KEY_BYTES   crypto_secretstream_xchacha20poly1305_KEYBYTES

/* What one salt makes of the key file. */
struct made_key {
    bool made;
    unsigned char salt[SEAL_SALT], key[KEY_BYTES];
};

struct seal {
    struct buf pass;
    struct made_key writes, reads;
};

static int make_key(const struct seal *s, struct made_key *k,
                    const unsigned char salt[SEAL_SALT], struct err *e)
{
    if (k->made && !memcmp(k->salt, salt, SEAL_SALT))
        return 0;
    memcpy(k->salt, salt, SEAL_SALT);
    k->made =
        !crypto_pwhash(k->key, sizeof k->key, buf_cstr(&s->pass), s->pass.length, salt,
                       crypto_pwhash_OPSLIMIT_INTERACTIVE,
                       crypto_pwhash_MEMLIMIT_INTERACTIVE, crypto_pwhash_ALG_ARGON2ID13);
    return k->made ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

int seal_open(struct seal **out, const char *key_file, struct err *e)
{
    *out = NULL;
    if (sodium_init() < 0)
        return err_set(e, ERR_IO, "the library libsodium cannot be started");
    if (!key_file)
        return 0;
    struct seal *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "out of memory");
    buf_init(&s->pass, PASS_MAX);
    int status = fs_read(key_file, &s->pass, e);
    while (!status && s->pass.length &&
           isspace((unsigned char)s->pass.data[s->pass.length - 1]))
        s->pass.length--;
    if (!status && s->pass.length < SEAL_LEAST)
        status = err_set(e, ERR_INVALID,
                         "the file %s of BACKUP_KEY_FILE holds no key: it must be at "
                         "least %d characters long",
                         key_file, SEAL_LEAST);
    if (!status)
        status = seal_salt(s, NULL, e);
    if (status)
        seal_close(s);
    else
        *out = s;
    return status;
}

void seal_close(struct seal *s)
{
    if (!s)
        return;
    if (s->pass.data)
        sodium_memzero(s->pass.data, s->pass.capacity);
    buf_release(&s->pass);
    sodium_memzero(s, sizeof *s);
    free(s);
}

int seal_salt(struct seal *s, const unsigned char salt[SEAL_SALT], struct err *e)
{
    unsigned char fresh[SEAL_SALT];
    randombytes_buf(fresh, sizeof fresh);
    return make_key(s, &s->writes, salt ? salt : fresh, e);
}

void seal_name(const struct seal *s, const char *sha256, char out[65])
{
    unsigned char name[32];
    crypto_generichash(name, sizeof name, (const unsigned char *)sha256, strlen(sha256),
                       s->writes.key, sizeof s->writes.key);
    sodium_bin2hex(out, 65, name, sizeof name);
}

/* ---- writing --------------------------------------------------------------------- */

int seal_writer_begin(struct seal_writer *w, const struct seal *s, seal_fn out, void *arg,
                      struct err *e)
{
    unsigned char head[SEAL_HEAD];
    *w = (struct seal_writer){.seal = s, .out = out, .arg = arg};
    if (!s)
        return 0;
    w->chunk = malloc(SEAL_CHUNK + SEALED_SIZE);
    if (!w->chunk)
        return err_set(e, ERR_NOMEM, "out of memory");
    memcpy(head, SEAL_MAGIC, 8);
    memcpy(head + 8, s->writes.salt, SEAL_SALT);
    crypto_secretstream_xchacha20poly1305_init_push(&w->state, head + 8 + SEAL_SALT,
                                                    s->writes.key);
    return out(arg, head, sizeof head, e);
}

static int push(struct seal_writer *w, bool last, struct err *e)
{
    unsigned char *sealed = w->chunk + SEAL_CHUNK;
    unsigned char tag = last ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0;
    crypto_secretstream_xchacha20poly1305_push(&w->state, sealed, NULL, w->chunk, w->fill,
                                               NULL, 0, tag);
    size_t length = w->fill + OVERHEAD;
    w->fill = 0;
    return w->out(w->arg, sealed, length, e);
}

int seal_write(struct seal_writer *w, const void *bytes, size_t length, struct err *e)
{
    const unsigned char *p = bytes;
    if (!w->seal)
        return w->out(w->arg, bytes, length, e);
    int status = 0;
    while (!status && length) {
        size_t room = SEAL_CHUNK - w->fill, n = length < room ? length : room;
        if (!room) { /* only now is it known that more follows */
            status = push(w, false, e);
            continue;
        }
        memcpy(w->chunk + w->fill, p, n);
        w->fill += n;
        p += n;
        length -= n;
    }
    return status;
}

int seal_writer_end(struct seal_writer *w, struct err *e)
{
    return w->seal ? push(w, true, e) : 0;
}

void seal_writer_release(struct seal_writer *w)
{
    if (w->chunk)
        sodium_memzero(w->chunk, SEAL_CHUNK);
    free(w->chunk);
    *w = (struct seal_writer){0};
}

/* ---- reading --------------------------------------------------------------------- */

int seal_reader_begin(struct seal_reader *r, struct seal *s, seal_fn out, void *arg,
                      struct err *e)
{
    *r = (struct seal_reader){.seal = s, .out = out, .arg = arg};
    r->chunk = s ? malloc(SEAL_CHUNK + SEALED_SIZE) : NULL;
    return s && !r->chunk ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

static int read_head(struct seal_reader *r, struct err *e)
{
    if (memcmp(r->chunk, SEAL_MAGIC, 8) != 0)
        return err_set(e, ERR_CORRUPT, "it is not encrypted as it should be");
    memcpy(r->salt, r->chunk + 8, SEAL_SALT);
    int status = make_key(r->seal, &r->seal->reads, r->salt, e);
    if (!status && crypto_secretstream_xchacha20poly1305_init_pull(
                       &r->state, r->chunk + 8 + SEAL_SALT, r->seal->reads.key))
        status = err_set(e, ERR_CORRUPT, "its beginning is damaged");
    r->begun = true;
    r->fill = 0;
    return status;
}

/* The first chunk tells whether it is the key: a damaged one looks the same. */
static int pull(struct seal_reader *r, struct err *e)
{
    bool first = !r->pulled;
    unsigned char *plain = r->chunk + SEALED_SIZE, tag = 0;
    if (r->ended || r->fill < OVERHEAD ||
        crypto_secretstream_xchacha20poly1305_pull(&r->state, plain, NULL, &tag, r->chunk,
                                                   r->fill, NULL, 0))
        return first ? err_set(e, ERR_DENIED,
                               "it cannot be decrypted: the key in BACKUP_KEY_FILE is "
                               "another one, or the file is damaged")
                     : err_set(e, ERR_CORRUPT, "it is damaged or cut off");
    r->pulled = true;
    r->ended = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    size_t length = r->fill - OVERHEAD;
    r->fill = 0;
    return length ? r->out(r->arg, plain, length, e) : 0;
}

int seal_read(struct seal_reader *r, const void *bytes, size_t length, struct err *e)
{
    const unsigned char *p = bytes;
    if (!r->seal)
        return r->out(r->arg, bytes, length, e);
    int status = 0;
    while (!status && length) {
        size_t size = r->begun ? SEALED_SIZE : SEAL_HEAD;
        size_t room = size - r->fill, n = length < room ? length : room;
        memcpy(r->chunk + r->fill, p, n);
        r->fill += n;
        p += n;
        length -= n;
        if (r->fill < size)
            continue;
        status = r->begun ? pull(r, e) : read_head(r, e);
    }
    return status;
}

int seal_reader_end(struct seal_reader *r, struct err *e)
{
    if (!r->seal)
        return 0;
    if (!r->begun)
        return err_set(e, ERR_CORRUPT, "it is cut off");
    int status = r->fill ? pull(r, e) : 0;
    return status || r->ended ? status
                              : err_set(e, ERR_CORRUPT, "it is damaged or cut off");
}

void seal_reader_release(struct seal_reader *r)
{
    if (r->chunk)
        sodium_memzero(r->chunk, SEAL_CHUNK + SEALED_SIZE);
    free(r->chunk);
    *r = (struct seal_reader){0};
}
