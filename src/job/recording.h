/* The recording of a job, for those who want to hear or see it. */
#ifndef JOB_RECORDING_H
#define JOB_RECORDING_H

#include "job/jobs.h"

struct recording {
    int fd; /* owned: open for reading */
    int64_t bytes;
    const char *content_type; /* static: by the content */
};

/* Open it. ERR_NOT_FOUND: there is no such job, or its recording is not there any more.
 * Close recording.fd. */
int jobs_recording(struct jobs *s, const char *id, struct recording *out, struct err *e);

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
