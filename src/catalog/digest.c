#include "catalog/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <sodium.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(DIGEST_HEX == 2 * SHA256_DIGEST_SIZE + 1, "room for the digits");

struct hash {
    bool sha512;
    struct sha256_ctx state256;
    struct sha512_ctx state512;
};

static void hash_update(struct hash *h, const unsigned char *bytes, size_t length)
{
    if (h->sha512)
        sha512_update(&h->state512, length, bytes);
    else
        sha256_update(&h->state256, length, bytes);
}

static int hash_file(struct hash *h, const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open %s", path);
    sha256_init(&h->state256);
    sha512_init(&h->state512);
    int status = 0;
    unsigned char block[65536];
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = err_errno(e, "cannot read %s", path);
        if (n <= 0)
            break;
        hash_update(h, block, (size_t)n);
    }
    close(fd);
    return status;
}

int digest_file(const char *path, char hex[DIGEST_HEX], struct err *e)
{
    struct hash h = {.sha512 = false};
    unsigned char sum[SHA256_DIGEST_SIZE];
    int status = hash_file(&h, path, e);
    if (status)
        return status;
    sha256_digest(&h.state256, sizeof sum, sum);
    sodium_bin2hex(hex, DIGEST_HEX, sum, sizeof sum);
    return 0;
}

int digest_check_integrity(const char *path, const char *integrity, struct err *e)
{
    const char *base64 = strstr(integrity, "sha512-");
    if (!base64)
        return 0;
    base64 += strlen("sha512-");
    struct hash h = {.sha512 = true};
    unsigned char sum[SHA512_DIGEST_SIZE], wanted[SHA512_DIGEST_SIZE];
    size_t length = 0;
    if (sodium_base642bin(wanted, sizeof wanted, base64, strcspn(base64, " ?"), NULL,
                          &length, NULL, sodium_base64_VARIANT_ORIGINAL) ||
        length != sizeof wanted)
        return err_set(e, ERR_CORRUPT, "the integrity value is not a SHA-512");
    int status = hash_file(&h, path, e);
    if (status)
        return status;
    sha512_digest(&h.state512, sizeof sum, sum);
    if (memcmp(sum, wanted, sizeof sum) != 0)
        return err_set(e, ERR_CORRUPT, "the archive is not the one that was published");
    return 0;
}

int digest_check(const char *path, uint64_t bytes, const char *sha256, struct err *e)
{
    struct stat st;
    if (stat(path, &st))
        return err_errno(e, "cannot open %s", path);
    if ((uint64_t)st.st_size != bytes)
        return err_set(e, ERR_CORRUPT,
                       "%s has %llu bytes where the published file has %llu", path,
                       (unsigned long long)st.st_size, (unsigned long long)bytes);
    char hex[DIGEST_HEX];
    int status = digest_file(path, hex, e);
    if (!status && strcmp(hex, sha256))
        status = err_set(e, ERR_CORRUPT,
                         "%s is damaged: its SHA-256 is %s where the published file has "
                         "%s",
                         path, hex, sha256);
    return status;
}
