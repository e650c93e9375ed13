/* One recording, from an open file to a transcript: what the shell and the workers share.
 */
#ifndef JOB_TRANSCRIBE_H
#define JOB_TRANSCRIBE_H

#include "engine/whisper.h"
#include "format/transcript.h"
#include "media/decode.h"

struct transcribe_options {
    struct whisper_params params;
    const char *model_name;     /* borrowed, for the transcript */
    const char *known_language; /* borrowed or NULL: found before an interruption */
    double known_probability;
    bool detect; /* only tell the language */
};

/* What the parts of a job took, in seconds. */
struct transcribe_times {
    double load;   /* until there was a model to work with */
    double decode; /* beyond that, until the decoder was done, which works meanwhile */
    struct whisper_times engine;
};

struct transcribe_callbacks {
    void *arg;
    bool (*cancelled)(void *arg); /* of the hearing; the decoding has its own */
    /* Decoding is done: so many seconds of audio, and these are its samples. */
    void (*decoded)(void *arg, const struct media_info *info, const struct pcm *pcm);
    void (*language)(void *arg, const char *code, double probability);
    void (*segment)(void *arg, const struct transcript_segment *segment);
    /* All before next_frame is done; a checkpoint. */
    void (*window)(void *arg, int64_t next_frame, int64_t total_frames);
    /* As in engine/whisper.h. */
    void (*ahead)(void *arg, int64_t next_frame, const void *bytes, size_t length);
    struct transcribe_times *times; /* where they are put: all but `load`; or NULL */
};

/* `decoding` is finished in any case. `out` is initialised by the caller and may hold the
 * segments of an earlier attempt, with options->params.start_frame behind them. */
int transcribe_file(struct whisper_session *session, struct decoding *decoding,
                    const struct transcribe_options *options,
                    const struct transcribe_callbacks *callbacks, struct transcript *out,
                    struct err *e);

#endif
