/* What children say to their parents: an input is a datagram of a worker, or (when it has
 * the size of one) the record of a decoder. Both children hold hostile media.
 *
 * A message that was taken goes through the socket and comes out as the same. */
#include "fuzz.h"

#include "base/buf.h"
#include "job/protocol.h"
#include "media/record.h"

#include <fcntl.h>
#include <math.h>
#include <sys/socket.h>
#include <unistd.h>

static int ends[2] = {-1, -1};

static bool same_fields(const struct message *a, const struct message *b)
{
    return a->type == b->type && !strcmp(a->job_id, b->job_id) &&
           a->attempt == b->attempt && !strcmp(a->model, b->model) &&
           !strcmp(a->path, b->path) && a->serial == b->serial &&
           !strcmp(a->task, b->task) && a->threads == b->threads &&
           a->attached == b->attached && a->max_seconds == b->max_seconds &&
           !strcmp(a->formats, b->formats) && !strcmp(a->vad, b->vad) &&
           !strcmp(a->scratch, b->scratch) && !strcmp(a->language, b->language) &&
           a->probability == b->probability && a->next_frame == b->next_frame &&
           a->total_frames == b->total_frames && a->seconds == b->seconds &&
           a->code == b->code && !strcmp(a->text, b->text) &&
           a->body_length == b->body_length && (!a->body == !b->body) &&
           (!a->body || !strcmp(a->body, b->body));
}

static void through_the_socket(struct message *m)
{
    struct message again;
    struct err e;
    if (ends[0] < 0)
        HOLDS(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
    bool with_file = m->type == MESSAGE_JOB || m->type == MESSAGE_MODEL;
    m->fds[0] = ends[0];
    m->n_fds = with_file ? 1 : 0;
    int status = message_send(ends[0], m, false, &e);
    m->n_fds = 0;
    /* What came short can be long once it is written as we write. */
    HOLDS(!status || status == ERR_TOO_LARGE);
    if (status)
        return;
    HOLDS(message_receive(ends[1], &again, false, &e) == 1);
    HOLDS(same_fields(m, &again) && again.n_fds == (with_file ? 1 : 0));
    message_release(&again);
}

static void datagram(const char *bytes, size_t size)
{
    struct message m;
    struct err e = {0};
    int status = message_parse(&m, bytes, size, &e);
    HOLDS(!status || (e.message[0] && !m.body));
    if (status)
        return;
    HOLDS(m.type < MESSAGE_TYPE_COUNT && isfinite(m.seconds) && m.seconds >= 0);
    through_the_socket(&m);
    message_release(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record r;
    char *copy = malloc(size ? size : 1);
    HOLDS(copy);
    if (size)
        memcpy(copy, data, size);
    if (record_check(copy, size, &r)) {
        HOLDS(memchr(r.message, '\0', sizeof r.message) && r.channels >= 0 &&
              r.rate <= MEDIA_MAX_RATE && (r.code == 0) == !r.message[0]);
    }
    datagram(copy, size);
    free(copy);
    return 0;
}
