/* A recording whose sender waits for the text: what the doors share that answer with a
 * transcript instead of a job.
 *
 * Behind each request is a job like any other. The sender may go: the job goes on, and
 * when the same recording comes again with the same parameters, as these clients do by
 * themselves, the request becomes one for that job (jobs.h, `share`). */
#ifndef API_INTAKE_H
#define API_INTAKE_H

#include "api/api.h"
#include "api/options.h"

#include <pthread.h>

/* Embedded at the beginning of what a door keeps in r->state. */
struct intake {
    struct api_options options; /* owned */
    bool detect;                /* only the language is wanted */
    bool raw;              /* the file is 16 kHz mono samples of 16 bits, no header */
    struct upload *upload; /* owned until it is submitted */
    char *filename;        /* owned; NULL: there is no file yet */
    bool empty;            /* no byte of the file has come */
    /* Waiting for the job: */
    char job_id[ID_SIZE];
    int subscription; /* above 0: there is one */
    void (*answer)(struct http_request *r, const struct job *job);
    pthread_mutex_t lock;
    struct http_later *later; /* under lock; NULL: nobody is to be woken */
    bool over;                /* under lock: the job has ended */
};

void intake_init(struct intake *in);
/* Of r->state, without freeing it; the request may have been broken off anywhere. */
void intake_release(struct http_request *r);

/* For struct http_form_handler; r->state is the door's. */
int64_t intake_max_file_bytes(struct http_request *r);
int intake_file_begin(struct http_request *r, const char *filename);
int intake_file_data(struct http_request *r, const void *bytes, size_t length);
int intake_file_end(struct http_request *r);

/* Judge what is known by now; answers and returns a negative code when it will not do. */
int intake_check(struct http_request *r);
/* The form is whole: make the job, or find the one that it is to share. Answers and
 * returns a negative code when there is none. Release `out` on success. */
int intake_submit(struct http_request *r, const char *source, struct job *out);
/* Answer when the job has ended: now, or later without a thread. `answer` is called with
 * the job in its last state; if it was deleted meanwhile, that has been answered. Takes
 * the job. */
void intake_answer(struct http_request *r, struct job *job,
                   void (*answer)(struct http_request *r, const struct job *job));

/* What the caller is told of a job that has no transcript: an HTTP status, and sentences
 * and codes as of http_respond_error. */
struct intake_failure {
    int status;
    const char *code, *sentence; /* borrowed from the job, or static */
};
struct intake_failure intake_failure(const struct job *job);

bool job_has_ended(const struct job *job);

/* Header lines that every answer about a job has. */
void intake_name_job(struct http_request *r, const char *job_id);

#endif
