#include "catalog/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(DIGEST_HEX == 2 * crypto_hash_sha256_BYTES + 1, "room for the digits");

static int hash_open_file(int fd, const char *path, char hex[DIGEST_HEX], struct err *e)
{
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    unsigned char block[65536];
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "cannot read %s", path);
        if (n == 0)
            break;
        crypto_hash_sha256_update(&state, block, (unsigned long long)n);
    }
    unsigned char sum[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&state, sum);
    sodium_bin2hex(hex, DIGEST_HEX, sum, sizeof sum);
    return 0;
}

int digest_file(const char *path, char hex[DIGEST_HEX], struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open %s", path);
    int status = hash_open_file(fd, path, hex, e);
    close(fd);
    return status;
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
