/* Files that nobody reads without the key: libsodium's secretstream (XChaCha20 and
 * Poly1305) in chunks, under a key that Argon2id makes of what the key file holds.
 *
 *     "WTSEAL1\n"   the salt (16)   the stream's header (24)   chunks of 64 KiB and 17
 *
 * The last chunk says that it is the last: what was cut off is seen. */
#ifndef BACKUP_SEAL_H
#define BACKUP_SEAL_H

#include "base/err.h"

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>

#define SEAL_CHUNK 65536u
#define SEAL_MAGIC "WTSEAL1\n"
#define SEAL_SALT  crypto_pwhash_SALTBYTES
#define SEAL_HEAD  (8 + SEAL_SALT + crypto_secretstream_xchacha20poly1305_HEADERBYTES)
#define SEAL_LEAST 16 /* bytes of a key file that is one */

struct seal;

/* The key that a file holds; NULL and 0 for no file. */
int seal_open(struct seal **out, const char *key_file, struct err *e);
void seal_close(struct seal *s);
/* Write with this salt from now on; NULL: with a new one. Reading uses each file's own.
 */
int seal_salt(struct seal *s, const unsigned char salt[SEAL_SALT], struct err *e);
/* A name that tells nothing of a file whose hash is `sha256` (hex), and is the same for
 * the same one as long as the salt is. */
void seal_name(const struct seal *s, const char *sha256, char out[65]);

typedef int (*seal_fn)(void *arg, const void *bytes, size_t length, struct err *e);

struct seal_writer {
    const struct seal *seal; /* borrowed; NULL: as it is */
    seal_fn out;
    void *arg;
    crypto_secretstream_xchacha20poly1305_state state;
    unsigned char *chunk; /* owned [SEAL_CHUNK] */
    size_t fill;
};
int seal_writer_begin(struct seal_writer *w, const struct seal *s, seal_fn out, void *arg,
                      struct err *e);
int seal_write(struct seal_writer *w, const void *bytes, size_t length, struct err *e);
/* Nothing more comes. */
int seal_writer_end(struct seal_writer *w, struct err *e);
void seal_writer_release(struct seal_writer *w);

struct seal_reader {
    struct seal *seal; /* borrowed; NULL: as it is */
    seal_fn out;
    void *arg;
    crypto_secretstream_xchacha20poly1305_state state;
    unsigned char *chunk; /* owned */
    size_t fill;
    bool begun, pulled, ended;
    unsigned char salt[SEAL_SALT]; /* of this file, when it has begun */
};
int seal_reader_begin(struct seal_reader *r, struct seal *s, seal_fn out, void *arg,
                      struct err *e);
/* ERR_DENIED: with another key; ERR_CORRUPT: not as it was written. */
int seal_read(struct seal_reader *r, const void *bytes, size_t length, struct err *e);
int seal_reader_end(struct seal_reader *r, struct err *e);
void seal_reader_release(struct seal_reader *r);

#endif
