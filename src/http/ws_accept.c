/* The handshake's proof (RFC 6455, 4.2.2): base64(SHA-1(key + GUID)). It protects
 * nothing, it only shows that the server has read the key. */
#include "http/ws.h"

#include <nettle/sha1.h>
#include <sodium.h>

#define KEY_BYTES 16
#define GUID      "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_Static_assert(HTTP_WS_ACCEPT_SIZE ==
                   sodium_base64_ENCODED_LEN(SHA1_DIGEST_SIZE,
                                             sodium_base64_VARIANT_ORIGINAL),
               "room for the proof");

bool http_ws_accept(const char *key, char out[HTTP_WS_ACCEPT_SIZE])
{
    unsigned char bytes[KEY_BYTES];
    size_t length = 0;
    if (sodium_base642bin(bytes, sizeof bytes, key, strlen(key), NULL, &length, NULL,
                          sodium_base64_VARIANT_ORIGINAL) ||
        length != sizeof bytes)
        return false;
    struct sha1_ctx hash;
    uint8_t digest[SHA1_DIGEST_SIZE];
    sha1_init(&hash);
    sha1_update(&hash, strlen(key), (const uint8_t *)key);
    sha1_update(&hash, strlen(GUID), (const uint8_t *)GUID);
    sha1_digest(&hash, sizeof digest, digest);
    sodium_bin2base64(out, HTTP_WS_ACCEPT_SIZE, digest, sizeof digest,
                      sodium_base64_VARIANT_ORIGINAL);
    return true;
}
