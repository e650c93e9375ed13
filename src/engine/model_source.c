#include "engine/model_source.h"

#include "base/mem.h"

#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int map_fd(struct mapped_file *f, int fd, const char *path, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st))
        return err_errno(e, "cannot look at %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID, "%s is not a regular file", path);
    f->length = (size_t)st.st_size;
    if (f->length == 0)
        return 0;
    void *bytes = mmap(NULL, f->length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return err_errno(e, "cannot map %s", path);
    (void)madvise(bytes, f->length, MADV_WILLNEED);
    f->bytes = bytes;
    return 0;
}

int mapped_file_open(struct mapped_file *f, const char *path, struct err *e)
{
    *f = (struct mapped_file){0};
    /* Without O_NONBLOCK, a named pipe would wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(e, "cannot open %s", path);
    int status = map_fd(f, fd, path, e);
    close(fd);
    return status;
}

void mapped_file_close(struct mapped_file *f)
{
    if (f->bytes)
        munmap((void *)(uintptr_t)f->bytes, f->length);
    *f = (struct mapped_file){0};
}

void model_source_release(struct model_source *s)
{
    for (size_t i = 0; i < s->n_files; i++)
        mapped_file_close(&s->files[i]);
    free(s->files);
    plan_free(s->plan);
    free(s->tensors);
    free(s->mel_filters);
    free(s->vocab_offsets);
    free(s->vocab_bytes);
    *s = (struct model_source){0};
}

int source_map(struct model_source *s, const char *path, struct mapped_file *out,
               struct err *e)
{
    if (mem_grow(&s->files, &s->files_capacity, s->n_files + 1, sizeof *s->files))
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = mapped_file_open(out, path, e);
    if (!status)
        s->files[s->n_files++] = *out;
    return status;
}

int source_plan(struct model_source *s, const struct whisper_config *c, struct err *e)
{
    int status = plan_new(&s->plan, c, e);
    if (status)
        return status;
    s->tensors = mem_array((size_t)s->plan->n_parts, sizeof *s->tensors);
    return s->tensors ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

int source_add(struct model_source *s, int part, enum tensor_type type,
               const uint8_t *bytes, const char *name, struct err *e)
{
    if (s->tensors[part].bytes)
        return err_set(e, ERR_CORRUPT, "the tensor %s is there twice", name);
    s->tensors[part] = (struct source_tensor){bytes, type};
    return 0;
}

const char *source_name(const struct model_source *s, int part)
{
    const struct model_part *p = &s->plan->parts[part];
    return s->hf_names ? p->hf : p->ggml;
}

int source_complete(const struct model_source *s, struct err *e)
{
    int missing = 0, first = -1;
    for (int i = s->plan->n_parts - 1; i >= 0; i--) {
        if (s->tensors[i].bytes)
            continue;
        missing++;
        first = i;
    }
    if (!missing)
        return 0;
    return err_set(e, ERR_CORRUPT, "%d of %d tensors are missing, the first is %s",
                   missing, s->plan->n_parts, source_name(s, first));
}

const char *shape_text(const int64_t *dims, int n_dims, char *out, size_t size)
{
    size_t at = 0;
    (void)snprintf(out, size, "[]");
    for (int i = 0; i < n_dims && at < size; i++) {
        int n = snprintf(out + at, size - at, "[%lld]", (long long)dims[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    return out;
}

int config_ordinary_tokens(const struct whisper_config *c)
{
    return c->multilingual ? 50257 : 50256;
}

/* Slaney's scale: linear below 1 kHz, logarithmic above. */
static double mel_of_hz(double hz)
{
    return hz < 1000 ? hz * 3 / 200 : 15 + log(hz / 1000) * 27 / log(6.4);
}

static double hz_of_mel(double mel)
{
    return mel < 15 ? mel * 200 / 3 : 1000 * exp((mel - 15) * log(6.4) / 27);
}

void mel_filters_compute(int n_mels, float *out)
{
    double top = mel_of_hz(WHISPER_SAMPLE_RATE / 2.0);
    for (int m = 0; m < n_mels; m++) {
        double low = hz_of_mel(top * m / (n_mels + 1));
        double middle = hz_of_mel(top * (m + 1) / (n_mels + 1));
        double high = hz_of_mel(top * (m + 2) / (n_mels + 1));
        for (int bin = 0; bin < MEL_FILTER_BINS; bin++) {
            double hz = bin * (WHISPER_SAMPLE_RATE / 2.0) / (MEL_FILTER_BINS - 1);
            double rise = (hz - low) / (middle - low),
                   fall = (high - hz) / (high - middle);
            double height = fmax(0, fmin(rise, fall));
            out[m * MEL_FILTER_BINS + bin] = (float)(height * 2 / (high - low));
        }
    }
}
