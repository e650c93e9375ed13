/* The recording of a job, for those who want to hear or see it. */
#ifndef JOB_RECORDING_H
#define JOB_RECORDING_H

#include "job/jobs.h"

struct recording {
    int fd; /* owned: open for reading; -1: it is to be poured */
    int64_t bytes;
    const char *content_type; /* static: by the content */
};

/* Open it. ERR_NOT_FOUND: there is no such job, or its recording is not there any more.
 * Close recording.fd. Where recordings are on a server only its head is read. */
int jobs_recording(struct jobs *s, const char *id, struct recording *out, struct err *e);

/* Who takes a recording from a server, on a thread of ours. */
struct recording_sink {
    bool (*data)(void *arg, const void *bytes, size_t length); /* false: no more */
    void (*end)(void *arg, bool whole);                        /* once */
    void *arg;
};
/* Begin to pour `length` bytes from `first` on. After an error the sink is not called. */
int jobs_recording_pour(struct jobs *s, const char *id, int64_t first, int64_t length,
                        const struct recording_sink *sink, struct err *e);

struct waveform {
    double seconds; /* of the recording */
    double *peaks;  /* owned [count]: 0 to 1, the greatest of even parts */
    size_t count;
};
void waveform_release(struct waveform *w);

/* At most `points` of them (there are 50 in a second). ERR_NOT_FOUND: there is no such
 * job, or it has none: it is not decoded yet, or was by an older version. */
int jobs_waveform(struct jobs *s, const char *id, size_t points, struct waveform *out,
                  struct err *e);

#endif
