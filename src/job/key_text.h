/* Keys as people and programs write them, their scopes, and until when they hold. Pure.
 *
 * A key is "wt_<id>_<secret>": the id finds its row, the secret is 256 random bits. Of
 * such a secret a plain SHA-256 may be kept: the slow hashes for passwords defend what
 * people choose, and nobody tries 2^256 values, however fast. A browser's session is
 * written alike, with "ws". */
#ifndef JOB_KEY_TEXT_H
#define JOB_KEY_TEXT_H

#include "store/keys.h"

#define KEY_TEXT_SIZE 64 /* 3 + 16 + 1 + 43 characters, and a NUL */
#define KEY_PREFIX    "wt"
#define KEY_SESSION   "ws"

/* Make one with a new id and a new secret. `hash` is what may be kept. */
void key_text_make(const char *prefix, char text[KEY_TEXT_SIZE], char id[KEY_ID_SIZE],
                   char hash[KEY_HASH_SIZE]);

/* The id and the hash of one from outside; false when it has not the shape. */
bool key_text_parse(const char *prefix, const char *text, char id[KEY_ID_SIZE],
                    char hash[KEY_HASH_SIZE]);

/* In constant time. */
bool key_hash_equal(const char a[KEY_HASH_SIZE], const char b[KEY_HASH_SIZE]);

bool key_id_valid(const char *text);

/* "read, transcribe" → a set of enum key_scope; ERR_INVALID names the word that is no
 * scope. One at least. */
int key_scopes_parse(const char *text, int *out, struct err *e);
/* The i-th scope, "read" …, if `scopes` has it; NULL otherwise, and beyond the last. */
#define KEY_SCOPE_COUNT 3
const char *key_scope_name(int scopes, int i);

/* "90m", "12h", "30d", "8w" from `now_ms` on; "2027-01-31": to the end of that day in
 * UTC; "2027-01-31T12:00:00Z"; "never" → 0. ERR_INVALID says what is accepted, and when
 * the time has passed. */
int key_expiry_parse(const char *text, int64_t now_ms, int64_t *out, struct err *e);

/* ERR_INVALID when the name is empty, too long, or holds control characters. */
int key_name_check(const char *name, struct err *e);

#endif
