/* What the service and its workers say to each other.
 *
 * A SOCK_SEQPACKET pair: one datagram is one message, whole or not at all, and open files
 * travel with it. A datagram is a flat JSON object, a NUL, and an opaque body (the
 * options of a job, the JSON of new segments). The worker holds hostile media, so what it
 * says is parsed as strictly as what a stranger says. */
#ifndef JOB_PROTOCOL_H
#define JOB_PROTOCOL_H

#include "base/err.h"
#include "base/id.h"
#include "job/transcribe.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fits the kernel's default socket buffer. A window of speech is some 10 KB, with the
 * times of its words some 40; what is more goes in parts. */
#define MESSAGE_MAX_BYTES (160 << 10)
#define MESSAGE_MAX_FDS   4

enum message_type {
    /* to the worker */
    MESSAGE_JOB,    /* files: the recording, then the parts named in `attached` */
    MESSAGE_CANCEL, /* the worker answers with MESSAGE_FAILED */
    MESSAGE_UNLOAD, /* let the model of `serial` go, unless a job uses it */
    MESSAGE_LEVEL,  /* what is to be logged has changed */
    /* from the worker */
    MESSAGE_READY,
    MESSAGE_MODEL,   /* file: the packed weights, for the other workers */
    MESSAGE_DECODED, /* file: its waveform, a byte for every 20 ms, if it could be made */
    MESSAGE_PART,   /* body: as of the WINDOW or FINISHED behind it, which has the rest */
    MESSAGE_WINDOW, /* body: a transcript of the window's segments and notes, if any */
    MESSAGE_AHEAD, /* body: what is known of a window that leads to next_frame and is done
                      early, in base64 (ahead.h) */
    MESSAGE_FINISHED, /* all windows were sent before; body: what else is in the report */
    MESSAGE_FAILED,
    MESSAGE_LOG, /* a line for the log */
    MESSAGE_TYPE_COUNT
};

enum attached {
    ATTACHED_MODEL = 1,      /* a packed image: attach it instead of loading `path` */
    ATTACHED_CHECKPOINT = 2, /* the transcript so far */
    ATTACHED_AHEAD = 4,      /* windows behind it that are done (ahead.h) */
};

/* Flat: each type uses the fields that protocol.c lists for it; the others are zero. */
struct message {
    enum message_type type;
    char job_id[ID_SIZE];
    int attempt;
    /* JOB */
    char model[64];
    char path[PATH_MAX]; /* of the model */
    int64_t serial;      /* names one state of the model's file */
    char task[16];
    int threads;
    int attached;          /* enum attached */
    double max_seconds;    /* of audio */
    char formats[1024];    /* "": all */
    char vad[PATH_MAX];    /* of the voice detector */
    char compute_type[16]; /* COMPUTE_TYPE */
    char scratch[PATH_MAX];
    char known_language[16]; /* code that an earlier attempt has found, or "" */
    /* JOB (in a language, from a frame on), WINDOW, AHEAD, FINISHED */
    char language[16];  /* code, "auto" or ""; JOB: what was asked for */
    double probability; /* of the language; JOB: of the known one */
    int64_t next_frame;
    int64_t total_frames;
    double seconds;                /* DECODED, FINISHED: of audio */
    struct transcribe_times times; /* FINISHED: what the parts took */
    int code;                      /* FAILED: enum err_code; LOG, LEVEL: enum log_level */
    char text[500]; /* FAILED: the reason; FINISHED: a warning or ""; LOG: the line */
    char about[ID_SIZE]; /* LOG: the job that it is about, or "" */

    char *body; /* owned, NUL-terminated; NULL: none */
    size_t body_length;
    int fds[MESSAGE_MAX_FDS]; /* owned when received, borrowed when sent */
    int n_fds;
};

/* Free the body and close the files of a received message. */
void message_release(struct message *m);

/* The bytes of a datagram into `out`, which owns the body (and no files).
 * ERR_CORRUPT says what is wrong. */
int message_parse(struct message *out, const char *bytes, size_t length, struct err *e);

/* Send one message; the descriptors stay the caller's. `wait`: block while the other side
 * is slow; else ERR_TIMEOUT. ERR_NETWORK: the other side is gone. */
int message_send(int fd, const struct message *m, bool wait, struct err *e);

/* Receive one. 1: *out is filled, release it. 0: nothing is there (only without `wait`).
 * ERR_NETWORK: the other side is gone. ERR_CORRUPT: it does not keep to the protocol. */
int message_receive(int fd, struct message *out, bool wait, struct err *e);

#endif
