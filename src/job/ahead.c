#include "job/ahead.h"

#include "base/fs.h"
#include "base/mem.h"

#include <sodium.h>
#include <sys/mman.h>
#include <unistd.h>

#define BASE64         sodium_base64_VARIANT_ORIGINAL
#define FILE_MAX_BYTES ((size_t)64 << 20)

void ahead_encode(const void *bytes, size_t length, struct buf *out)
{
    size_t size = sodium_base64_encoded_len(length, BASE64);
    char *text = mem_array(size, 1);
    if (text)
        buf_str(out, sodium_bin2base64(text, size, bytes, length, BASE64));
    else
        out->failed = true;
    free(text);
}

/* The bytes of text[length], owned; NULL when it is no base64, or memory is out. */
static void *decode(const char *text, size_t length, size_t *bytes)
{
    const char *end;
    size_t size = length / 4 * 3 + 3;
    unsigned char *out = mem_array(size, 1);
    if (out && length > 0 &&
        sodium_base642bin(out, size, text, length, NULL, bytes, &end, BASE64) == 0 &&
        end == text + length)
        return out;
    free(out);
    return NULL;
}

bool ahead_text_valid(const char *text)
{
    size_t bytes = 0;
    void *out = text ? decode(text, strlen(text), &bytes) : NULL;
    free(out);
    return out != NULL;
}

int ahead_file(const struct store_resume *r)
{
    struct buf lines;
    struct err e;
    int fd = -1;
    buf_init(&lines, FILE_MAX_BYTES);
    for (size_t i = 0; i < r->n_ahead; i++) {
        buf_str(&lines, r->ahead[i]);
        buf_char(&lines, '\n');
    }
    if (lines.length > 0 && !buf_failed(&lines))
        fd = memfd_create("ahead", MFD_CLOEXEC);
    if (fd >= 0 && fs_write_all(fd, lines.data, lines.length, &e)) {
        close(fd);
        fd = -1;
    }
    buf_release(&lines);
    return fd;
}

static int read_lines(const char *text, size_t length, struct ahead_windows *out,
                      struct err *e)
{
    size_t capacity = 0;
    const char *end;
    for (; length > 0 && (end = memchr(text, '\n', length)); text = end + 1) {
        size_t line = (size_t)(end - text), bytes = 0;
        length -= line + 1;
        void *decoded = decode(text, line, &bytes);
        if (!decoded)
            continue;
        if (mem_grow(&out->list, &capacity, out->count + 1, sizeof *out->list)) {
            free(decoded);
            return err_set(e, ERR_NOMEM, "out of memory");
        }
        out->list[out->count++] = (struct whisper_ahead){decoded, bytes};
    }
    return 0;
}

int ahead_windows_read(int fd, struct ahead_windows *out, struct err *e)
{
    *out = (struct ahead_windows){0};
    off_t size = lseek(fd, 0, SEEK_END);
    if (size <= 0 || (size_t)size > FILE_MAX_BYTES)
        return err_set(e, ERR_IO, "what is known of windows cannot be read");
    void *text = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED)
        return err_errno(e, "what is known of windows cannot be read");
    int status = read_lines(text, (size_t)size, out, e);
    munmap(text, (size_t)size);
    if (status)
        ahead_windows_release(out);
    return status;
}

void ahead_windows_release(struct ahead_windows *a)
{
    for (size_t i = 0; i < a->count; i++)
        free((void *)a->list[i].bytes);
    free(a->list);
    *a = (struct ahead_windows){0};
}
