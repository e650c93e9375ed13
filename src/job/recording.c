#include "job/recording.h"

#include "base/mem.h"
#include "job/service.h"
#include "media/kind.h"
#include "media/peaks.h"
#include "store/waveform.h"

#include <sys/stat.h>
#include <unistd.h>

struct head {
    uint8_t bytes[MEDIA_KIND_BYTES];
    size_t length;
};

static int add_head(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct head *h = arg;
    size_t room = sizeof h->bytes - h->length, n = length < room ? length : room;
    (void)e;
    memcpy(h->bytes + h->length, bytes, n);
    h->length += n;
    return 0;
}

static int look_from_afar(struct jobs *s, const char *id, struct recording *out,
                          struct err *e)
{
    struct head head = {.length = 0};
    int64_t bytes = 0;
    int status = blob_size(s->blobs, id, &bytes, e);
    int64_t wanted =
        bytes < (int64_t)sizeof head.bytes ? bytes : (int64_t)sizeof head.bytes;
    if (!status)
        status = blob_read(s->blobs, id, 0, wanted, add_head, &head, e);
    if (!status)
        *out = (struct recording){.fd = -1,
                                  .bytes = bytes,
                                  .content_type = media_kind(head.bytes, head.length)};
    return status;
}

int jobs_recording(struct jobs *s, const char *id, struct recording *out, struct err *e)
{
    uint8_t head[MEDIA_KIND_BYTES];
    struct stat st;
    if (!id_valid(id))
        return err_set(e, ERR_NOT_FOUND, "there is no job of that name");
    if (blob_store_is_remote(s->blobs))
        return look_from_afar(s, id, out, e);
    int fd = blob_open(s->blobs, id, e);
    if (fd < 0)
        return fd;
    ssize_t n = pread(fd, head, sizeof head, 0);
    if (n < 0 || fstat(fd, &st)) {
        int status = err_errno(e, "cannot read the recording of job %.36s", id);
        close(fd);
        return status;
    }
    *out = (struct recording){
        .fd = fd, .bytes = st.st_size, .content_type = media_kind(head, (size_t)n)};
    return 0;
}

void waveform_release(struct waveform *w)
{
    free(w->peaks);
    *w = (struct waveform){0};
}

static int reduce(const struct buf *all, size_t points, struct waveform *out,
                  struct err *e)
{
    size_t count = all->length < points ? all->length : points;
    uint8_t *bytes = mem_array(count + 1, sizeof *bytes);
    double *peaks = mem_array(count + 1, sizeof *peaks);
    if (!bytes || !peaks) {
        free(bytes);
        free(peaks);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    peaks_reduce((const uint8_t *)all->data, all->length, bytes, count);
    for (size_t i = 0; i < count; i++)
        peaks[i] = peaks_value(bytes[i]);
    free(bytes);
    out->peaks = peaks;
    out->count = count;
    return 0;
}

int jobs_waveform(struct jobs *s, const char *id, size_t points, struct waveform *out,
                  struct err *e)
{
    struct job job;
    struct buf all;
    *out = (struct waveform){0};
    int status = jobs_get(s, id, &job, e);
    if (status)
        return status;
    out->seconds = job.duration_seconds;
    job_release(&job);
    buf_init(&all, WAVEFORM_MAX_BYTES);
    status = store_waveform_load(s->store, id, &all, e);
    if (!status)
        status = reduce(&all, points, out, e);
    buf_release(&all);
    return status;
}
