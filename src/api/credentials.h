/* Credentials as they stand in a request's head. Pure. */
#ifndef API_CREDENTIALS_H
#define API_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>

#define CREDENTIAL_MAX 256 /* bytes; nothing of ours is as long */

/* The token of "Bearer TOKEN"; false when `authorization` (may be NULL) is of another
 * scheme. What is too long comes out cut, and is no key then. */
bool credentials_bearer(const char *authorization, char out[CREDENTIAL_MAX]);

/* The key in "Basic BASE64(user:password)": the password, or the user's name where there
 * is no password. For programs that know no other way than http://key@host. */
bool credentials_basic(const char *authorization, char out[CREDENTIAL_MAX]);

/* The value of a cookie in a Cookie header (may be NULL); false when there is none. */
bool credentials_cookie(const char *cookies, const char *name, char out[CREDENTIAL_MAX]);

/* The scopes that a proxy's header names (may be NULL): words between commas or spaces;
 * those that are no scopes, such as other groups' names, are nothing. */
int credentials_scopes(const char *header);

#endif
