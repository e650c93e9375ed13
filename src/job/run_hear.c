/* What a worker says of its job: it holds hostile media, so nothing is believed that
 * cannot be. */
#include "job/run.h"

#include "base/clock.h"
#include "base/mem.h"
#include "job/ahead.h"
#include "format/transcript.h"

#include <sys/stat.h>
#include <unistd.h>

#define MAX_PARTS 4096 /* of one window, or of the report at the end */
#define MAX_AHEAD 64   /* that are not in the store yet */

/* A body becomes the last of a list, once it is known to be a transcript. */
static int keep_body(struct bodies *b, const struct message *m, struct err *e)
{
    struct transcript t;
    int status = transcript_parse(&t, m->body, m->body_length, e);
    if (status)
        return status;
    transcript_release(&t);
    if (mem_grow(&b->list, &b->capacity, b->count + 1, sizeof *b->list))
        return err_set(e, ERR_NOMEM, "out of memory");
    b->list[b->count] = mem_strdup(m->body);
    if (!b->list[b->count])
        return err_set(e, ERR_NOMEM, "out of memory");
    b->count++;
    return 0;
}

/* Copied at once: the worker could change its file later. */
static int hear_waveform(struct run *r, int fd, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
        st.st_size > (off_t)WAVEFORM_MAX_BYTES)
        return err_set(e, ERR_CORRUPT, "the worker's waveform is none");
    size_t length = (size_t)st.st_size;
    char *bytes = mem_array(length, 1);
    if (!bytes)
        return err_set(e, ERR_NOMEM, "out of memory");
    ssize_t n = pread(fd, bytes, length, 0);
    buf_release(&r->waveform);
    buf_init(&r->waveform, WAVEFORM_MAX_BYTES);
    if (n == (ssize_t)length)
        buf_add(&r->waveform, bytes, length);
    free(bytes);
    return n == (ssize_t)length ? 0
                                : err_set(e, ERR_CORRUPT, "its waveform is cut short");
}

/* Of a window that is not whole yet, nothing is written down. */
static int hear_part(struct run *r, const struct message *m, struct err *e)
{
    if (!m->body || r->n_parts >= MAX_PARTS)
        return err_set(e, ERR_CORRUPT, "the worker's parts are empty or too many");
    int status = keep_body(&r->windows, m, e);
    if (!status)
        r->n_parts++;
    return status;
}

static int hear_window(struct run *r, const struct message *m, struct err *e)
{
    if (m->next_frame <= r->next_frame || m->total_frames <= 0)
        return err_set(e, ERR_CORRUPT, "the worker's windows go backwards");
    if (m->body) {
        int status = keep_body(&r->windows, m, e);
        if (status)
            return status;
    }
    r->n_parts = 0;
    r->next_frame = m->next_frame;
    r->total_frames = m->total_frames;
    memcpy(r->language, m->language, sizeof r->language);
    r->probability = m->probability;
    r->window_unsaved = true;
    return 0;
}

/* Only its form is looked at here: it is for another worker, which does not believe it
 * either. */
static int hear_ahead(struct run *r, const struct message *m, struct err *e)
{
    struct ahead_list *a = &r->ahead;
    if (m->next_frame <= r->next_frame || !ahead_text_valid(m->body))
        return err_set(e, ERR_CORRUPT, "the worker's early windows are none");
    if (a->count >= MAX_AHEAD)
        return 0; /* the store is away: it may be heard again */
    if (mem_grow(&a->list, &a->capacity, a->count + 1, sizeof *a->list))
        return err_set(e, ERR_NOMEM, "out of memory");
    char *text = mem_strdup(m->body);
    if (!text)
        return err_set(e, ERR_NOMEM, "out of memory");
    a->list[a->count++] = (struct ahead_text){m->next_frame, text};
    return 0;
}

/* Parts of the end belong to the report. */
static int hear_report(struct run *r, const struct message *m, struct err *e)
{
    struct bodies *b = &r->report;
    size_t from = r->windows.count - r->n_parts;
    if (mem_grow(&b->list, &b->capacity, b->count + r->n_parts + 1, sizeof *b->list))
        return err_set(e, ERR_NOMEM, "out of memory");
    for (size_t i = from; i < r->windows.count; i++)
        b->list[b->count++] = r->windows.list[i];
    r->windows.count = from;
    r->n_parts = 0;
    return m->body ? keep_body(b, m, e) : 0;
}

static int hear_finished(struct run *r, const struct message *m, struct err *e)
{
    int status = hear_report(r, m, e);
    if (status)
        return status;
    r->working = false;
    r->seconds = m->seconds;
    r->times = m->times;
    r->heard_ns = clock_monotonic_ns();
    if (m->language[0]) {
        memcpy(r->language, m->language, sizeof r->language);
        r->probability = m->probability;
    }
    (void)snprintf(r->warning, sizeof r->warning, "%.250s", m->text);
    run_set_end(r, RUN_FINISHED, 0, "finished");
    return 0;
}

int run_hear(struct run *r, const struct message *m, struct err *e)
{
    switch (m->type) {
    case MESSAGE_DECODED:
        r->seconds = m->seconds;
        r->decoded_unsaved = true;
        return m->n_fds ? hear_waveform(r, m->fds[0], e) : 0;
    case MESSAGE_WINDOW:
        return hear_window(r, m, e);
    case MESSAGE_PART:
        return hear_part(r, m, e);
    case MESSAGE_AHEAD:
        return hear_ahead(r, m, e);
    case MESSAGE_FINISHED:
        return hear_finished(r, m, e);
    case MESSAGE_FAILED:
        r->working = false;
        if (m->code == ERR_AWAY) /* its decoder was killed: as if it had been itself */
            run_set_end(r, RUN_CRASHED, ERR_CRASH, "%s", m->text);
        else
            run_fail(r, m->code < 0 ? m->code : ERR_IO, m->text);
        return 0;
    default:
        return err_set(e, ERR_CORRUPT, "the worker spoke out of turn");
    }
}
