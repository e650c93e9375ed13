/* SHA-256 of files. */
#ifndef CATALOG_DIGEST_H
#define CATALOG_DIGEST_H

#include "base/err.h"

#include <stdint.h>

#define DIGEST_HEX 65

/* The SHA-256 of a whole file, in hexadecimal. */
int digest_file(const char *path, char hex[DIGEST_HEX], struct err *e);

/* Whether a file has this size and this SHA-256; ERR_CORRUPT says what differs. */
int digest_check(const char *path, uint64_t bytes, const char *sha256, struct err *e);

/* The same for an npm integrity value, "sha512-<base64>" (W3C Subresource Integrity);
 * values of other algorithms are passed over. */
int digest_check_integrity(const char *path, const char *integrity, struct err *e);

#endif
