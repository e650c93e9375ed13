/* Who may: keys, the sessions that were opened with them, and what each used up.
 *
 * Of a key only a hash is kept. The functions are atomic, durable and thread-safe, like
 * those of store.h. */
#ifndef STORE_KEYS_H
#define STORE_KEYS_H

#include "store/store.h"

#define KEY_ID_SIZE   17  /* 16 hexadecimal digits */
#define KEY_HASH_SIZE 65  /* SHA-256, hexadecimal */
#define KEY_NAME_SIZE 101 /* bytes of UTF-8 */

enum key_scope {
    KEY_READ = 1,       /* lists, transcripts, progress */
    KEY_TRANSCRIBE = 2, /* submit, cancel, try again, delete */
    KEY_ADMIN = 4,      /* everything, and everybody's jobs */
    KEY_SCOPES = KEY_READ | KEY_TRANSCRIBE | KEY_ADMIN,
};

/* Times are milliseconds since 1970; 0: never. */
struct store_key {
    char id[KEY_ID_SIZE];
    char name[KEY_NAME_SIZE];
    char hash[KEY_HASH_SIZE];
    int scopes; /* of enum key_scope */
    int64_t created_ms, expires_ms, revoked_ms, used_ms;
    int64_t minutes_per_day; /* of audio; 0: any number */
    double seconds_today;    /* of audio; filled by store_key_list only */
};

struct store_key_list {
    struct store_key *keys; /* owned [count] */
    size_t count;
};
void store_key_list_release(struct store_key_list *l);

/* What a browser holds instead of the key. */
struct store_session {
    char id[KEY_ID_SIZE];
    char hash[KEY_HASH_SIZE];
    char key_id[KEY_ID_SIZE];
    int64_t created_ms, expires_ms;
};

struct store_usage {
    double seconds;        /* of audio, of jobs that began on that day */
    int64_t waiting_bytes; /* of recordings whose length is not known yet */
    int64_t waiting_urls;  /* of these, those whose size is not known either */
};

struct store_keys_ops {
    int (*add)(struct store *s, const struct store_key *k, bool first, struct err *e);
    int (*get)(struct store *s, const char *id, struct store_key *out, struct err *e);
    int (*list)(struct store *s, int64_t now_ms, struct store_key_list *out,
                struct err *e);
    int (*any)(struct store *s, bool *out, struct err *e);
    int (*revoke)(struct store *s, const char *id, int64_t now_ms, struct err *e);
    int (*touch)(struct store *s, const char *id, int64_t now_ms, struct err *e);
    int (*usage)(struct store *s, const char *caller, int64_t now_ms,
                 struct store_usage *out, struct err *e);
    int (*usage_trim)(struct store *s, int64_t before_ms, struct err *e);
    int (*session_add)(struct store *s, const struct store_session *x, struct err *e);
    int (*session_get)(struct store *s, const char *id, struct store_session *out,
                       struct store_key *key, struct err *e);
    int (*session_drop)(struct store *s, const char *id, struct err *e);
};
extern const struct store_keys_ops sqlite_keys_ops; /* sqlite_keys.c */

/* With `first`, only where there is no key at all: ERR_EXISTS otherwise. */
static inline int store_key_add(struct store *s, const struct store_key *k, bool first,
                                struct err *e)
{
    return s->ops->keys->add(s, k, first, e);
}

/* ERR_NOT_FOUND for an unknown id; a revoked or expired key is found. */
static inline int store_key_get(struct store *s, const char *id, struct store_key *out,
                                struct err *e)
{
    return s->ops->keys->get(s, id, out, e);
}

/* All of them, newest first, with what each used on the day of `now_ms`. Release it. */
static inline int store_key_list(struct store *s, int64_t now_ms,
                                 struct store_key_list *out, struct err *e)
{
    return s->ops->keys->list(s, now_ms, out, e);
}

/* Whether there is, or ever was, a key. */
static inline int store_key_any(struct store *s, bool *out, struct err *e)
{
    return s->ops->keys->any(s, out, e);
}

/* For good, with its sessions. ERR_NOT_FOUND; ERR_STATE when it is revoked already. */
static inline int store_key_revoke(struct store *s, const char *id, int64_t now_ms,
                                   struct err *e)
{
    return s->ops->keys->revoke(s, id, now_ms, e);
}

/* Note that it was used. */
static inline int store_key_touch(struct store *s, const char *id, int64_t now_ms,
                                  struct err *e)
{
    return s->ops->keys->touch(s, id, now_ms, e);
}

/* What a caller used on the day (UTC) of `now_ms`. */
static inline int store_key_usage(struct store *s, const char *caller, int64_t now_ms,
                                  struct store_usage *out, struct err *e)
{
    return s->ops->keys->usage(s, caller, now_ms, out, e);
}

/* Forget what was used on days before that of `before_ms`. */
static inline int store_key_usage_trim(struct store *s, int64_t before_ms, struct err *e)
{
    return s->ops->keys->usage_trim(s, before_ms, e);
}

/* Sessions that are over by then go. */
static inline int store_session_add(struct store *s, const struct store_session *x,
                                    struct err *e)
{
    return s->ops->keys->session_add(s, x, e);
}

/* With the key that it stands for. ERR_NOT_FOUND. */
static inline int store_session_get(struct store *s, const char *id,
                                    struct store_session *out, struct store_key *key,
                                    struct err *e)
{
    return s->ops->keys->session_get(s, id, out, key, e);
}

/* One that is not there is no error. */
static inline int store_session_drop(struct store *s, const char *id, struct err *e)
{
    return s->ops->keys->session_drop(s, id, e);
}

#endif
