#include "job/keys.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdarg.h>

#define SESSION_MS (INT64_C(30) * 86400000)

void audit_note(struct store *s, const char *event, const struct key_actor *actor,
                const char *format, ...)
{
    struct store_audit_entry x = {.time_ms = clock_now_ms()};
    struct err e;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(x.detail, sizeof x.detail, format, args);
    va_end(args);
    (void)snprintf(x.event, sizeof x.event, "%s", event);
    (void)snprintf(x.caller, sizeof x.caller, "%s", actor->caller);
    (void)snprintf(x.client, sizeof x.client, "%s", actor->client);
    log_info("audit: %s by %s from %s: %s", x.event, *x.caller ? x.caller : "nobody",
             x.client, x.detail);
    if (store_audit_add(s, &x, &e))
        log_error("the audit log lost an entry: %s", e.message);
}

int keys_create(struct store *s, const struct key_wish *wish, bool first,
                const struct key_actor *actor, struct store_key *out,
                char text[KEY_TEXT_SIZE], struct err *e)
{
    int status = key_name_check(wish->name, e);
    if (!status && (!wish->scopes || (wish->scopes & ~KEY_SCOPES)))
        status = err_set(e, ERR_INVALID, "a key needs a scope");
    if (!status && (wish->minutes_per_day < 0 || wish->minutes_per_day > 1000000))
        status = err_set(e, ERR_INVALID,
                         "the minutes per day are a whole number from 0 (any number) to "
                         "1000000");
    if (status)
        return status;
    *out = (struct store_key){.scopes = wish->scopes,
                              .created_ms = clock_now_ms(),
                              .expires_ms = wish->expires_ms,
                              .minutes_per_day = wish->minutes_per_day};
    (void)snprintf(out->name, sizeof out->name, "%s", wish->name);
    key_text_make(KEY_PREFIX, text, out->id, out->hash);
    status = store_key_add(s, out, first, e);
    if (!status)
        audit_note(s, first ? "first_key" : "key_created", actor, "%s, \"%s\"", out->id,
                   out->name);
    return status;
}

int keys_revoke(struct store *s, const char *id, const struct key_actor *actor,
                struct err *e)
{
    if (!key_id_valid(id))
        return err_set(e, ERR_NOT_FOUND,
                       "\"%.40s\" is not the id of a key: that is the part of 16 digits "
                       "and letters between wt_ and the next _",
                       id);
    int status = store_key_revoke(s, id, clock_now_ms(), e);
    if (!status)
        audit_note(s, "key_revoked", actor, "%s", id);
    return status;
}

const char *key_state(const struct store_key *k, int64_t now_ms)
{
    return k->revoked_ms                              ? "revoked"
           : k->expires_ms && k->expires_ms <= now_ms ? "expired"
                                                      : "active";
}

static int judge(const struct store_key *k, int64_t now_ms, struct err *e)
{
    const char *state = key_state(k, now_ms);
    if (!strcmp(state, "active"))
        return 0;
    return err_set(e, ERR_DENIED, "the key is %s", state);
}

/* Unknown is what a wrong secret is as well: a caller learns no ids. */
static int unknown(int status, struct err *e)
{
    return status == ERR_NOT_FOUND ? err_set(e, ERR_DENIED, "the key is unknown")
                                   : status;
}

int keys_check(struct store *s, const char *text, int64_t now_ms, struct store_key *out,
               struct err *e)
{
    char id[KEY_ID_SIZE], hash[KEY_HASH_SIZE];
    *out = (struct store_key){0};
    if (!key_text_parse(KEY_PREFIX, text, id, hash))
        return err_set(e, ERR_DENIED, "this is no key of ours");
    int status = store_key_get(s, id, out, e);
    if (!status && !key_hash_equal(hash, out->hash))
        status = err_set(e, ERR_DENIED, "the secret of the key is wrong");
    return status ? unknown(status, e) : judge(out, now_ms, e);
}

int keys_check_session(struct store *s, const char *text, int64_t now_ms,
                       struct store_key *out, char session_id[KEY_ID_SIZE], struct err *e)
{
    char hash[KEY_HASH_SIZE];
    struct store_session x;
    *out = (struct store_key){0};
    session_id[0] = '\0';
    if (!key_text_parse(KEY_SESSION, text, session_id, hash))
        return err_set(e, ERR_DENIED, "this is no session of ours");
    int status = store_session_get(s, session_id, &x, out, e);
    if (!status && (!key_hash_equal(hash, x.hash) || x.expires_ms <= now_ms))
        status = err_set(e, ERR_DENIED, "the session is over");
    return status ? unknown(status, e) : judge(out, now_ms, e);
}

int keys_open_session(struct store *s, const struct store_key *key, int64_t now_ms,
                      char text[KEY_TEXT_SIZE], int64_t *expires_ms, struct err *e)
{
    struct store_session x = {.created_ms = now_ms, .expires_ms = now_ms + SESSION_MS};
    if (key->expires_ms && key->expires_ms < x.expires_ms)
        x.expires_ms = key->expires_ms;
    memcpy(x.key_id, key->id, sizeof x.key_id);
    key_text_make(KEY_SESSION, text, x.id, x.hash);
    *expires_ms = x.expires_ms;
    return store_session_add(s, &x, e);
}

/* ---- as JSON --------------------------------------------------------------------- */

static json_t *time_or_null(int64_t wall_ms)
{
    char text[CLOCK_ISO_SIZE];
    return wall_ms ? json_string(clock_iso(wall_ms, text)) : json_null();
}

json_t *key_scopes_json(int scopes)
{
    json_t *list = json_array();
    for (int i = 0; i < KEY_SCOPE_COUNT; i++)
        if (key_scope_name(scopes, i))
            (void)json_array_append_new(list, json_string(key_scope_name(scopes, i)));
    return list;
}

json_t *key_json(const struct store_key *k, int64_t now_ms)
{
    return json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:f}", "id", k->id,
                     "name", k->name, "scopes", key_scopes_json(k->scopes), "state",
                     key_state(k, now_ms), "created_at", time_or_null(k->created_ms),
                     "expires_at", time_or_null(k->expires_ms), "revoked_at",
                     time_or_null(k->revoked_ms), "last_used_at",
                     time_or_null(k->used_ms), "minutes_per_day",
                     k->minutes_per_day ? json_integer(k->minutes_per_day) : json_null(),
                     "minutes_used_today", k->seconds_today / 60);
}
