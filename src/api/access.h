/* Who may call what, how often and how much.
 *
 * One gate stands before every route (api_admit): it finds out who asks, whether the
 * route's access allows it, and counts. Handlers ask caller.c whose jobs they may
 * touch. */
#ifndef API_ACCESS_H
#define API_ACCESS_H

#include "base/config.h"
#include "http/server.h"
#include "job/keys.h"

/* What http_route.access holds: one of these. A route without one is closed to all but
 * admins where AUTH is on, and fails a test. */
enum api_access {
    API_PUBLIC = 1, /* nobody is asked, nothing is counted, no job is seen */
    API_CALLER,     /* needs any scope */
    API_READ,       /* needs the scope "read" */
    API_TRANSCRIBE, /* "transcribe" */
    API_ADMIN,      /* "admin" */
};

#define CALLER_ID_SIZE  80
#define CALLER_NAME_MAX (CALLER_ID_SIZE - 8) /* bytes that a proxy's user may have */

/* Who asks: what r->caller points to wherever AUTH is on. */
struct caller {
    char id[CALLER_ID_SIZE]; /* a key's id, or "proxy:NAME"; "" for nobody */
    char name[KEY_NAME_SIZE];
    int scopes;                /* of enum key_scope */
    int64_t minutes_per_day;   /* 0: any number */
    char session[KEY_ID_SIZE]; /* the cookie's; "": none */
};

struct access;

/* `config` and `store` are borrowed. Until access_listen was called, AUTH=auto is taken
 * for AUTH=key. */
int access_new(struct access **out, const struct config *config, struct store *store,
               struct err *e);
void access_free(struct access *a);
/* RATE_LIMIT and TRUSTED_PROXIES of `config`, which is the one of before with new values,
 * count from the next request on. On error all is as it was. For one thread. */
int access_reload(struct access *a, const struct config *config, struct err *e);
/* The listener is there; `loopback`: only this machine reaches it. */
void access_listen(struct access *a, bool loopback);
/* AUTH with "auto" decided: off, key or proxy. Asks whether a key exists. */
int access_mode(struct access *a, enum config_auth *out, struct err *e);
struct store *access_store(struct access *a);
/* Proxies whose word counts. Borrowed. */
const struct http_networks *access_trusted(const struct access *a);
/* Whether the browser at the other end speaks TLS: its cookie may then be kept to that.
 */
bool access_is_https(const struct access *a, const struct http_request *r);

/* For http_server_options. */
int api_admit(struct http_request *r, const struct http_route *route);
void api_leave(void *caller);

/* The first key of a service that others can reach: made, for admins, where there is none
 * at all. *made tells; `text` is then to be shown once. */
int access_first_key(struct access *a, bool *made, char text[KEY_TEXT_SIZE],
                     struct err *e);

/* Who opened what stays open for long (a WebSocket, an event stream): ask before it tells
 * anything more, so that a key that is revoked hears nothing from then on. */
struct access_pass {
    char id[CALLER_ID_SIZE];
    char session[KEY_ID_SIZE]; /* "": it came with the key itself */
};
struct access_pass access_pass_of(const struct http_request *r);
bool access_pass_holds(struct access *a, const struct access_pass *pass);
/* The same, and why not: ERR_DENIED when it has ended; otherwise it is not known. */
int access_pass_check(struct access *a, const struct access_pass *pass);
/* False where nobody was asked, or a proxy was believed. */
bool access_pass_may_end(const struct access_pass *pass);

/* Refuse in the shape of the door that the path belongs to: the native one's, or for
 * /v1/ OpenAI's {"error":{"message","type","param","code"}}. */
void api_refuse(struct http_request *r, int status, const char *error_code,
                const char *format, ...) __attribute__((format(printf, 4, 5)));

/* A refusal for the audit log. Of each kind some per second are written and the others
 * counted, so that a flood of one neither fills the log nor hides the rest. */
enum access_event {
    ACCESS_REFUSED, /* 401 */
    ACCESS_DENIED,  /* 403 */
    ACCESS_RATE,    /* 429 */
    ACCESS_QUOTA,   /* 429 */
    ACCESS_EVENT_COUNT
};
void access_note(struct http_request *r, enum access_event event, const char *caller,
                 const char *detail);

/* limits.c: take one request out of the caller's and the client's allowance, and look at
 * the day's minutes. Sets the RateLimit headers; answers 429 and returns a negative code
 * when there is nothing left. */
struct access_limits;
int access_limits_new(struct access_limits **out, const char *rate, struct err *e);
void access_limits_free(struct access_limits *l);
struct access_limits *access_limits(struct access *a);
int api_take_allowance(struct http_request *r, const struct caller *c);

/* ---- the doors of keys.c, session.c and audit.c ---- */
void api_keys_list(struct http_request *r);
void api_keys_create(struct http_request *r);
void api_keys_revoke(struct http_request *r);
void api_session_open(struct http_request *r);
void api_session_show(struct http_request *r);
void api_session_close(struct http_request *r);
void api_audit(struct http_request *r);

#endif
