#include "job/protocol.h"

#include "base/buf.h"
#include "base/json_text.h"
#include "base/mem.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdalign.h>
#include <sys/socket.h>
#include <unistd.h>

enum kind {
    KIND_TEXT,   /* char [size] */
    KIND_ID,     /* char [ID_SIZE], a UUID */
    KIND_INT,    /* int */
    KIND_COUNT,  /* int64_t, not negative */
    KIND_NUMBER, /* double, finite, not negative */
};

enum field_id {
    F_JOB,
    F_ATTEMPT,
    F_MODEL,
    F_PATH,
    F_SERIAL,
    F_TASK,
    F_THREADS,
    F_ATTACHED,
    F_MAX_SECONDS,
    F_FORMATS,
    F_VAD,
    F_COMPUTE_TYPE,
    F_SCRATCH,
    F_KNOWN_LANGUAGE,
    F_LANGUAGE,
    F_PROBABILITY,
    F_NEXT,
    F_TOTAL,
    F_SECONDS,
    F_CODE,
    F_TEXT,
    F_ABOUT,
    F_TIME_LOAD,
    F_TIME_DECODE,
    F_TIME_MEL,
    F_TIME_VAD,
    F_TIME_ENCODER,
    F_TIME_DECODER,
    F_TIME_ALIGN,
    F_COUNT
};

#define FIELD(name, member, kind)                                                        \
    {                                                                                    \
        name, kind, offsetof(struct message, member),                                    \
            sizeof((struct message *)0)->member                                          \
    }
static const struct field {
    const char *name;
    enum kind kind;
    size_t offset, size;
} fields[F_COUNT] = {
    [F_JOB] = FIELD("job", job_id, KIND_ID),
    [F_ATTEMPT] = FIELD("attempt", attempt, KIND_INT),
    [F_MODEL] = FIELD("model", model, KIND_TEXT),
    [F_PATH] = FIELD("path", path, KIND_TEXT),
    [F_SERIAL] = FIELD("serial", serial, KIND_COUNT),
    [F_TASK] = FIELD("task", task, KIND_TEXT),
    [F_THREADS] = FIELD("threads", threads, KIND_INT),
    [F_ATTACHED] = FIELD("attached", attached, KIND_INT),
    [F_MAX_SECONDS] = FIELD("max_seconds", max_seconds, KIND_NUMBER),
    [F_FORMATS] = FIELD("formats", formats, KIND_TEXT),
    [F_VAD] = FIELD("vad", vad, KIND_TEXT),
    [F_COMPUTE_TYPE] = FIELD("compute_type", compute_type, KIND_TEXT),
    [F_SCRATCH] = FIELD("scratch", scratch, KIND_TEXT),
    [F_KNOWN_LANGUAGE] = FIELD("known_language", known_language, KIND_TEXT),
    [F_LANGUAGE] = FIELD("language", language, KIND_TEXT),
    [F_PROBABILITY] = FIELD("probability", probability, KIND_NUMBER),
    [F_NEXT] = FIELD("next_frame", next_frame, KIND_COUNT),
    [F_TOTAL] = FIELD("total_frames", total_frames, KIND_COUNT),
    [F_SECONDS] = FIELD("seconds", seconds, KIND_NUMBER),
    [F_CODE] = FIELD("code", code, KIND_INT),
    [F_TEXT] = FIELD("text", text, KIND_TEXT),
    [F_ABOUT] = FIELD("about", about, KIND_TEXT),
    [F_TIME_LOAD] = FIELD("time_load", times.load, KIND_NUMBER),
    [F_TIME_DECODE] = FIELD("time_decode", times.decode, KIND_NUMBER),
    [F_TIME_MEL] = FIELD("time_mel", times.engine.mel, KIND_NUMBER),
    [F_TIME_VAD] = FIELD("time_vad", times.engine.vad, KIND_NUMBER),
    [F_TIME_ENCODER] = FIELD("time_encoder", times.engine.encoder, KIND_NUMBER),
    [F_TIME_DECODER] = FIELD("time_decoder", times.engine.decoder, KIND_NUMBER),
    [F_TIME_ALIGN] = FIELD("time_align", times.engine.align, KIND_NUMBER),
};

#define BIT(field) (1u << (field))
#define WHICH_JOB  (BIT(F_JOB) | BIT(F_ATTEMPT))

static const struct form {
    const char *name;
    unsigned fields;
    int min_fds, max_fds;
} forms[MESSAGE_TYPE_COUNT] = {
    [MESSAGE_JOB] = {"job",
                     WHICH_JOB | BIT(F_MODEL) | BIT(F_PATH) | BIT(F_SERIAL) |
                         BIT(F_TASK) | BIT(F_THREADS) | BIT(F_ATTACHED) |
                         BIT(F_MAX_SECONDS) | BIT(F_FORMATS) | BIT(F_VAD) |
                         BIT(F_COMPUTE_TYPE) | BIT(F_SCRATCH) | BIT(F_KNOWN_LANGUAGE) |
                         BIT(F_LANGUAGE) | BIT(F_PROBABILITY) | BIT(F_NEXT),
                     1, 4},
    [MESSAGE_CANCEL] = {"cancel", WHICH_JOB, 0, 0},
    [MESSAGE_UNLOAD] = {"unload", BIT(F_SERIAL), 0, 0},
    [MESSAGE_LEVEL] = {"level", BIT(F_CODE), 0, 0},
    [MESSAGE_READY] = {"ready", 0, 0, 0},
    [MESSAGE_MODEL] = {"model", BIT(F_SERIAL), 1, 1},
    [MESSAGE_DECODED] = {"decoded", WHICH_JOB | BIT(F_SECONDS), 0, 1},
    [MESSAGE_PART] = {"part", WHICH_JOB, 0, 0},
    [MESSAGE_WINDOW] = {"window",
                        WHICH_JOB | BIT(F_LANGUAGE) | BIT(F_PROBABILITY) | BIT(F_NEXT) |
                            BIT(F_TOTAL),
                        0, 0},
    [MESSAGE_AHEAD] = {"ahead", WHICH_JOB | BIT(F_NEXT), 0, 0},
    [MESSAGE_FINISHED] = {"finished",
                          WHICH_JOB | BIT(F_LANGUAGE) | BIT(F_PROBABILITY) |
                              BIT(F_SECONDS) | BIT(F_TEXT) | BIT(F_TIME_LOAD) |
                              BIT(F_TIME_DECODE) | BIT(F_TIME_MEL) | BIT(F_TIME_VAD) |
                              BIT(F_TIME_ENCODER) | BIT(F_TIME_DECODER) |
                              BIT(F_TIME_ALIGN),
                          0, 0},
    [MESSAGE_FAILED] = {"failed", WHICH_JOB | BIT(F_CODE) | BIT(F_TEXT), 0, 0},
    [MESSAGE_LOG] = {"log", BIT(F_CODE) | BIT(F_TEXT) | BIT(F_ABOUT), 0, 0},
};

void message_release(struct message *m)
{
    if (!m)
        return;
    free(m->body);
    m->body = NULL;
    for (int i = 0; i < m->n_fds; i++)
        close(m->fds[i]);
    m->n_fds = 0;
}

/* ---- bytes to message ---- */

static int malformed(struct err *e, const char *name)
{
    return err_set(e, ERR_CORRUPT, "a message's \"%s\" is missing or wrong", name);
}

static int read_field(struct message *m, const struct field *f, const json_t *value,
                      struct err *e)
{
    char *at = (char *)m + f->offset;
    if (f->kind == KIND_TEXT || f->kind == KIND_ID) {
        const char *text = json_string_value(value);
        size_t length = json_string_length(value);
        if (!text || length >= f->size || (f->kind == KIND_ID && !id_valid(text)))
            return malformed(e, f->name);
        memcpy(at, text, length + 1);
    } else if (f->kind == KIND_NUMBER) {
        double number = json_is_number(value) ? json_number_value(value) : -1;
        if (!(number >= 0 && isfinite(number)))
            return malformed(e, f->name);
        memcpy(at, &number, sizeof number);
    } else {
        int64_t number = json_integer_value(value);
        bool fits =
            f->kind == KIND_COUNT ? number >= 0 : number >= INT_MIN && number <= INT_MAX;
        if (!json_is_integer(value) || !fits)
            return malformed(e, f->name);
        int narrow = (int)number;
        if (f->kind == KIND_COUNT)
            memcpy(at, &number, sizeof number);
        else
            memcpy(at, &narrow, sizeof narrow);
    }
    return 0;
}

static int read_header(struct message *m, const json_t *root, struct err *e)
{
    const char *name = json_string_value(json_object_get(root, "type"));
    size_t type = 0;
    while (name && type < MESSAGE_TYPE_COUNT && strcmp(forms[type].name, name) != 0)
        type++;
    if (!name || type == MESSAGE_TYPE_COUNT)
        return malformed(e, "type");
    m->type = (enum message_type)type;
    size_t wanted = 1;
    for (size_t i = 0; i < F_COUNT; i++) {
        if (!(forms[type].fields & BIT(i)))
            continue;
        wanted++;
        int status = read_field(m, &fields[i], json_object_get(root, fields[i].name), e);
        if (status)
            return status;
    }
    if (json_object_size(root) != wanted)
        return err_set(e, ERR_CORRUPT, "a message of type %s has fields too many", name);
    return 0;
}

int message_parse(struct message *out, const char *bytes, size_t length, struct err *e)
{
    *out = (struct message){0};
    const char *end = length ? memchr(bytes, '\0', length) : NULL;
    if (!end || length > MESSAGE_MAX_BYTES)
        return err_set(e, ERR_CORRUPT, "a message has no end of its header");
    json_t *root;
    json_error_t why;
    int status =
        json_read(&root, bytes, (size_t)(end - bytes), JSON_REJECT_DUPLICATES, &why);
    if (status == ERR_NOMEM)
        return err_set(e, ERR_NOMEM, "out of memory");
    status = json_is_object(root)
                 ? read_header(out, root, e)
                 : err_set(e, ERR_CORRUPT, "a message's header is not JSON");
    json_decref(root);
    size_t rest = length - (size_t)(end + 1 - bytes);
    if (!status && rest) {
        if (memchr(end + 1, '\0', rest))
            return err_set(e, ERR_CORRUPT, "a message's body is not text");
        out->body = strndup(end + 1, rest);
        out->body_length = rest;
        if (!out->body)
            status = err_set(e, ERR_NOMEM, "out of memory");
    }
    return status;
}

/* ---- message to bytes ---- */

static json_t *field_value(const struct message *m, const struct field *f)
{
    const char *at = (const char *)m + f->offset;
    int64_t count;
    int narrow;
    double number;
    switch (f->kind) {
    case KIND_TEXT:
    case KIND_ID:
        return json_string(at);
    case KIND_NUMBER:
        memcpy(&number, at, sizeof number);
        return json_real(number);
    case KIND_COUNT:
        memcpy(&count, at, sizeof count);
        return json_integer(count);
    case KIND_INT:
    default:
        memcpy(&narrow, at, sizeof narrow);
        return json_integer(narrow);
    }
}

static int write_message(const struct message *m, struct buf *out, struct err *e)
{
    json_t *root = json_object();
    int failed = json_object_set_new(root, "type", json_string(forms[m->type].name));
    for (size_t i = 0; i < F_COUNT; i++)
        if (forms[m->type].fields & BIT(i))
            failed |=
                json_object_set_new(root, fields[i].name, field_value(m, &fields[i]));
    char *text = failed ? NULL : json_text(root, JSON_COMPACT);
    json_decref(root);
    if (!text)
        return err_set(e, ERR_INVALID, "a message cannot be written as JSON");
    buf_add(out, text, strlen(text) + 1);
    free(text);
    if (m->body)
        buf_add(out, m->body, m->body_length);
    if (buf_failed(out))
        return err_set(e, ERR_TOO_LARGE, "a message is larger than %d bytes",
                       MESSAGE_MAX_BYTES);
    return 0;
}

/* ---- the socket ---- */

union control {
    struct cmsghdr header; /* for its alignment */
    char bytes[CMSG_SPACE(MESSAGE_MAX_FDS * sizeof(int))];
};

int message_send(int fd, const struct message *m, bool wait, struct err *e)
{
    struct buf b;
    buf_init(&b, MESSAGE_MAX_BYTES);
    int status = write_message(m, &b, e);
    if (status)
        goto done;
    struct iovec part = {.iov_base = b.data, .iov_len = b.length};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    union control control = {0};
    if (m->n_fds) {
        size_t bytes = (size_t)m->n_fds * sizeof(int);
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(c), m->fds, bytes);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &header, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        status = err_set(e, ERR_TIMEOUT, "the other side does not read its messages");
    else if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
        status = err_set(e, ERR_NETWORK, "the other side is gone");
    else if (n < 0)
        status = err_errno(e, "a message cannot be sent");
done:
    buf_release(&b);
    return status;
}

static void take_files(struct msghdr *header, struct message *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        const unsigned char *data = CMSG_DATA(c);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, data + i * sizeof fd, sizeof fd);
            if (m->n_fds < MESSAGE_MAX_FDS)
                m->fds[m->n_fds++] = fd;
            else
                close(fd);
        }
    }
}

static int receive_into(int fd, char *bytes, struct message *out, bool wait,
                        struct err *e)
{
    union control control = {0};
    struct iovec part = {.iov_base = bytes, .iov_len = MESSAGE_MAX_BYTES};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do
        n = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n < 0 && errno != ECONNRESET)
        return err_errno(e, "a message cannot be received");
    if (n <= 0)
        return err_set(e, ERR_NETWORK, "the other side is gone");
    struct message files = {0};
    take_files(&header, &files);
    int status = header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)
                     ? err_set(e, ERR_CORRUPT, "a message is too large")
                     : message_parse(out, bytes, (size_t)n, e);
    memcpy(out->fds, files.fds, sizeof files.fds);
    out->n_fds = files.n_fds;
    if (!status &&
        (out->n_fds < forms[out->type].min_fds || out->n_fds > forms[out->type].max_fds))
        status = err_set(e, ERR_CORRUPT, "a message came with %d files", out->n_fds);
    return status ? status : 1;
}

int message_receive(int fd, struct message *out, bool wait, struct err *e)
{
    *out = (struct message){0};
    char *bytes = malloc(MESSAGE_MAX_BYTES);
    if (!bytes)
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = receive_into(fd, bytes, out, wait, e);
    free(bytes);
    if (status < 0)
        message_release(out);
    return status;
}
