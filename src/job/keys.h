/* Keys at work: made, checked, revoked. Every verb leaves a line in the audit log. */
#ifndef JOB_KEYS_H
#define JOB_KEYS_H

#include "job/key_text.h"
#include "store/audit.h"

#include <jansson.h>

struct key_wish {
    const char *name; /* borrowed: for people */
    int scopes;
    int64_t expires_ms;      /* 0: never */
    int64_t minutes_per_day; /* 0: any number */
};

/* Who does it, for the audit log: a key's id and an address, both borrowed. */
struct key_actor {
    const char *caller, *client;
};

/* Make a key; `text` is the only copy of its secret that there will ever be. With
 * `first`, only where there is none: ERR_EXISTS. ERR_INVALID for a bad wish. */
int keys_create(struct store *s, const struct key_wish *wish, bool first,
                const struct key_actor *actor, struct store_key *out,
                char text[KEY_TEXT_SIZE], struct err *e);

/* ERR_NOT_FOUND, ERR_STATE when it is revoked already. */
int keys_revoke(struct store *s, const char *id, const struct key_actor *actor,
                struct err *e);

/* The key that `text` is. ERR_DENIED, with a sentence for the audit log that holds no
 * secret, when it is none, or one that is revoked or has expired. *out has the id if that
 * much was known. */
int keys_check(struct store *s, const char *text, int64_t now_ms, struct store_key *out,
               struct err *e);

/* The key that a session's text stands for; as keys_check. `session_id` for
 * store_session_drop. */
int keys_check_session(struct store *s, const char *text, int64_t now_ms,
                       struct store_key *out, char session_id[KEY_ID_SIZE],
                       struct err *e);

/* Open a session for a key; it ends with the key at the latest. */
int keys_open_session(struct store *s, const struct store_key *key, int64_t now_ms,
                      char text[KEY_TEXT_SIZE], int64_t *expires_ms, struct err *e);

/* "active", "expired" or "revoked". */
const char *key_state(const struct store_key *k, int64_t now_ms);

/* All that may be known of a key, and its scopes as a list; new references, NULL when
 * memory is out. */
json_t *key_json(const struct store_key *k, int64_t now_ms);
json_t *key_scopes_json(int scopes);

/* Write one entry, and the same into the log. What cannot be written is logged as that:
 * the caller goes on. */
void audit_note(struct store *s, const char *event, const struct key_actor *actor,
                const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
