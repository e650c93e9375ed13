/* Who somebody says they are: an input is an Authorization header, a Cookie header, a
 * proxy's header of scopes, a time to expire at and a name, a line each.
 *
 * A credential that was read has at most its room; a key has the one right shape. */
#include "fuzz.h"

#include "api/credentials.h"
#include "job/key_text.h"

#include <ctype.h>

#define NOW_MS INT64_C(1800000000000)

static void try_key(const char *text)
{
    char id[KEY_ID_SIZE], hash[KEY_HASH_SIZE];
    HOLDS(strlen(text) < CREDENTIAL_MAX);
    if (!key_text_parse(KEY_PREFIX, text, id, hash))
        return;
    HOLDS(key_id_valid(id) && strlen(hash) == KEY_HASH_SIZE - 1);
    HOLDS(strlen(text) == KEY_TEXT_SIZE - 1 && !strncmp(text, "wt_", 3));
    for (const char *p = text; *p; p++)
        HOLDS(isalnum((unsigned char)*p) || strchr("-_", *p));
    /* A session's cookie is no key. */
    HOLDS(!key_text_parse(KEY_SESSION, text, id, hash));
}

static void headers(const char *authorization, const char *cookies)
{
    char out[CREDENTIAL_MAX];
    bool bearer = credentials_bearer(authorization, out);
    if (bearer)
        try_key(out);
    if (credentials_basic(authorization, out)) {
        HOLDS(!bearer);
        try_key(out);
    }
    if (credentials_cookie(cookies, "wt_session", out)) {
        HOLDS(out[0] && !strchr(out, ';'));
        try_key(out);
    }
}

static void scopes(const char *text)
{
    int strict = 0, loose = credentials_scopes(text);
    struct err e;
    HOLDS(loose >= 0 && loose < 1 << KEY_SCOPE_COUNT);
    if (!key_scopes_parse(text, &strict, &e))
        HOLDS(strict == loose);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *rest = text;
    const char *authorization = fuzz_line(&rest), *cookies = fuzz_line(&rest);
    headers(authorization, cookies);
    scopes(fuzz_line(&rest));
    int64_t at = -1;
    struct err e;
    const char *expiry = fuzz_line(&rest);
    if (!key_expiry_parse(expiry, NOW_MS, &at, &e))
        HOLDS(at > NOW_MS || (at == 0 && !strcmp(expiry, "never")));
    if (!key_name_check(rest, &e))
        HOLDS(*rest && strlen(rest) < KEY_NAME_SIZE);
    free(text);
    return 0;
}
