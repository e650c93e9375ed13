#include "api/credentials.h"

#include "job/key_text.h"

#include <sodium.h>
#include <strings.h>

static void take(const char *text, size_t length, char out[CREDENTIAL_MAX])
{
    while (length && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        length--;
    if (length >= CREDENTIAL_MAX)
        length = CREDENTIAL_MAX - 1;
    memcpy(out, text, length);
    out[length] = '\0';
}

bool credentials_bearer(const char *authorization, char out[CREDENTIAL_MAX])
{
    if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
        return false;
    const char *token = authorization + 7 + strspn(authorization + 7, " ");
    take(token, strlen(token), out);
    return *out;
}

bool credentials_basic(const char *authorization, char out[CREDENTIAL_MAX])
{
    char pair[CREDENTIAL_MAX];
    size_t length = 0;
    const char *end = NULL;
    if (!authorization || strncasecmp(authorization, "Basic ", 6) != 0)
        return false;
    const char *text = authorization + 6 + strspn(authorization + 6, " ");
    if (sodium_base642bin((unsigned char *)pair, sizeof pair - 1, text, strlen(text), " ",
                          &length, &end, sodium_base64_VARIANT_ORIGINAL) ||
        *end || memchr(pair, '\0', length))
        return false;
    pair[length] = '\0';
    char *colon = strchr(pair, ':');
    if (!colon)
        return false;
    *colon = '\0';
    const char *key = colon[1] ? colon + 1 : pair;
    take(key, strlen(key), out);
    sodium_memzero(pair, sizeof pair);
    return *out;
}

bool credentials_cookie(const char *cookies, const char *name, char out[CREDENTIAL_MAX])
{
    size_t length = strlen(name);
    for (const char *p = cookies ? cookies : ""; *p;) {
        p += strspn(p, "; \t");
        size_t n = strcspn(p, ";");
        if (n > length && p[length] == '=' && !strncmp(p, name, length)) {
            take(p + length + 1, n - length - 1, out);
            return *out;
        }
        p += n;
    }
    return false;
}

int credentials_scopes(const char *header)
{
    int scopes = 0;
    for (const char *p = header ? header : ""; *p;) {
        char word[CREDENTIAL_MAX];
        int scope = 0;
        p += strspn(p, ", \t");
        size_t n = strcspn(p, ", \t");
        if (n < sizeof word) {
            take(p, n, word);
            if (*word && !key_scopes_parse(word, &scope, NULL))
                scopes |= scope;
        }
        p += n;
    }
    return scopes;
}
