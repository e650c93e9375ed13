/* A whole recording to 16 kHz mono samples: what the child does once it is locked in. No
 * system call but those of `read_at` and `write`, so that a fuzzer can run it as well. */
#ifndef MEDIA_EXTRACT_H
#define MEDIA_EXTRACT_H

#include "media/plain.h"
#include "media/record.h"
#include "media/source.h"

struct extract_job {
    struct source_io io;
    uint64_t max_samples; /* more is refused with ERR_TOO_LARGE */
    const char *formats;  /* borrowed: as in struct media_limits */
    bool is_plain;        /* `plain` says where the samples are */
    struct plain plain;
    /* Takes the samples as they come: 0, or negative to give up. */
    int (*write)(void *arg, const float *samples, size_t count);
    void *write_arg; /* borrowed */
};

/* Look whether FFmpeg is needed for job->io. If so load it, and let it and libc do now
 * what they would do lazily: read the time zone, ask for the processor and the memory.
 * Later there are no system calls for it. */
int extract_prepare(struct extract_job *job, struct err *e);

/* Fills the record, which record_init has made, with what became of it. */
void extract_audio(const struct extract_job *job, struct record *out);

#endif
