#include "job/key_text.h"

#include "base/mem.h"
#include "format/text.h"

#include <ctype.h>
#include <sodium.h>

#define SECRET_BYTES 32
#define SECRET_CHARS 43 /* base64 for URLs, without padding */
#define ID_CHARS     (KEY_ID_SIZE - 1)
#define DAY_MS       INT64_C(86400000)
#define MAX_DAYS     36500

static const char *const scope_names[KEY_SCOPE_COUNT] = {"read", "transcribe", "admin"};

/* Of the whole text, so that an id cannot be put before another key's secret. */
static void hash_text(const char *text, char out[KEY_HASH_SIZE])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, (const unsigned char *)text, strlen(text));
    sodium_bin2hex(out, KEY_HASH_SIZE, digest, sizeof digest);
}

void key_text_make(const char *prefix, char text[KEY_TEXT_SIZE], char id[KEY_ID_SIZE],
                   char hash[KEY_HASH_SIZE])
{
    unsigned char random[ID_CHARS / 2], secret[SECRET_BYTES];
    char encoded[SECRET_CHARS + 1];
    if (sodium_init() < 0)
        abort(); /* no randomness: nothing that we could hand out would be secret */
    randombytes_buf(random, sizeof random);
    randombytes_buf(secret, sizeof secret);
    sodium_bin2hex(id, KEY_ID_SIZE, random, sizeof random);
    sodium_bin2base64(encoded, sizeof encoded, secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    (void)snprintf(text, KEY_TEXT_SIZE, "%.2s_%s_%s", prefix, id, encoded);
    hash_text(text, hash);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(encoded, sizeof encoded);
}

bool key_id_valid(const char *text)
{
    return strlen(text) == ID_CHARS && strspn(text, "0123456789abcdef") == ID_CHARS;
}

static bool is_secret(const char *text)
{
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
            return false;
    return strlen(text) == SECRET_CHARS;
}

bool key_text_parse(const char *prefix, const char *text, char id[KEY_ID_SIZE],
                    char hash[KEY_HASH_SIZE])
{
    if (strlen(text) != KEY_TEXT_SIZE - 1 || strncmp(text, prefix, 2) != 0 ||
        text[2] != '_' || text[3 + ID_CHARS] != '_')
        return false;
    (void)snprintf(id, KEY_ID_SIZE, "%.*s", ID_CHARS, text + 3);
    if (!key_id_valid(id) || !is_secret(text + 3 + ID_CHARS + 1))
        return false;
    hash_text(text, hash);
    return true;
}

bool key_hash_equal(const char a[KEY_HASH_SIZE], const char b[KEY_HASH_SIZE])
{
    return !sodium_memcmp(a, b, KEY_HASH_SIZE);
}

/* ---- scopes ---------------------------------------------------------------------- */

const char *key_scope_name(int scopes, int i)
{
    return i >= 0 && i < KEY_SCOPE_COUNT && (scopes & 1 << i) ? scope_names[i] : NULL;
}

static int scope_find(const char *word, size_t length)
{
    for (int i = 0; i < KEY_SCOPE_COUNT; i++)
        if (strlen(scope_names[i]) == length && !strncmp(scope_names[i], word, length))
            return 1 << i;
    return 0;
}

int key_scopes_parse(const char *text, int *out, struct err *e)
{
    *out = 0;
    for (const char *p = text; *p;) {
        size_t length = strcspn(p, ", ");
        int scope = length ? scope_find(p, length) : 0;
        if (length && !scope)
            return err_set(e, ERR_INVALID,
                           "there is no scope \"%.*s\": use read, transcribe and admin",
                           (int)(length > 40 ? 40 : length), p);
        *out |= scope;
        p += length;
        p += *p != '\0';
    }
    return *out ? 0
                : err_set(e, ERR_INVALID,
                          "a key needs a scope: read, transcribe, admin, or several with "
                          "commas between them");
}

/* ---- until when ------------------------------------------------------------------ */

static int bad_expiry(const char *text, struct err *e)
{
    return err_set(
        e, ERR_INVALID,
        "\"%.40s\" is no time to expire at: write 12h, 30d, 8w, a date such as "
        "2027-01-31, or never",
        text);
}

/* "30d"; false when it is not of this kind. */
static bool parse_span(const char *text, int64_t *out_ms)
{
    static const struct {
        char letter;
        int64_t ms;
    } units[] = {{'m', 60000}, {'h', 3600000}, {'d', DAY_MS}, {'w', 7 * DAY_MS}};
    size_t digits = strspn(text, "0123456789");
    if (digits < 1 || digits > 8 || !text[digits] || text[digits + 1])
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++)
        if (tolower((unsigned char)text[digits]) == units[i].letter) {
            *out_ms = strtoll(text, NULL, 10) * units[i].ms;
            return *out_ms > 0 && *out_ms <= MAX_DAYS * DAY_MS;
        }
    return false;
}

/* Whether `text` is `shape`, in which '0' stands for any digit. */
static bool has_shape(const char *text, const char *shape)
{
    for (; *shape; shape++, text++)
        if (*shape == '0' ? !isdigit((unsigned char)*text) : *text != *shape)
            return false;
    return *text == '\0';
}

static bool parse_date(const char *text, int64_t *out_ms)
{
    bool day = has_shape(text, "0000-00-00");
    if (!day && !has_shape(text, "0000-00-00T00:00:00Z"))
        return false;
    struct tm wanted = {0}, made;
    if (!strptime(text, day ? "%Y-%m-%d" : "%Y-%m-%dT%H:%M:%SZ", &wanted))
        return false;
    made = wanted;
    time_t seconds = timegm(&made);
    /* The 31st of February is not the 3rd of March. */
    if (made.tm_mday != wanted.tm_mday)
        return false;
    *out_ms = (int64_t)seconds * 1000 + (day ? DAY_MS : 0);
    return true;
}

int key_expiry_parse(const char *text, int64_t now_ms, int64_t *out, struct err *e)
{
    int64_t ms;
    *out = 0;
    if (!strcmp(text, "never"))
        return 0;
    if (parse_span(text, &ms))
        ms += now_ms;
    else if (!parse_date(text, &ms))
        return bad_expiry(text, e);
    if (ms <= now_ms)
        return err_set(e, ERR_INVALID, "\"%.40s\" has passed already", text);
    *out = ms;
    return 0;
}

int key_name_check(const char *name, struct err *e)
{
    size_t length = strlen(name);
    if (!length || length >= KEY_NAME_SIZE)
        return err_set(e, ERR_INVALID,
                       "a key needs a name of 1 to %d bytes, which says whose it is",
                       KEY_NAME_SIZE - 1);
    for (const char *p = name; *p;) {
        uint32_t c = text_next(&p);
        if (c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xFFFD)
            return err_set(e, ERR_INVALID,
                           "the name of a key is plain UTF-8 without control characters");
    }
    return 0;
}
