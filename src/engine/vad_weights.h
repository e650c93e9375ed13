/* The weights of the voice detector: Silero VAD, version 6.2, 16 kHz, read from its ONNX
 * file. The graph is not: the network is known, and vad.c computes it. */
#ifndef ENGINE_VAD_WEIGHTS_H
#define ENGINE_VAD_WEIGHTS_H

#include "base/err.h"

#include <stddef.h>

enum vad_tensor {
    /* [258][1][256]: real parts of 129 bins, then imaginary ones, windowed */
    VAD_STFT,
    /* [out][in][3]: 129, 128, 64, 64, 128 channels one after the other */
    VAD_CONV0,
    VAD_CONV1,
    VAD_CONV2,
    VAD_CONV3,
    /* [out] */
    VAD_BIAS0,
    VAD_BIAS1,
    VAD_BIAS2,
    VAD_BIAS3,
    /* [512][128], [512]: gates input, forget, candidate, output, of 128 each */
    VAD_INPUT,
    VAD_RECURRENT,
    VAD_INPUT_BIAS,
    VAD_RECURRENT_BIAS,
    /* [1][128][1], [1] */
    VAD_OUTPUT,
    VAD_OUTPUT_BIAS,
    VAD_TENSORS
};

struct vad_weights {
    float *tensors[VAD_TENSORS]; /* owned, in the file's order */
};

/* Read a file's bytes. ERR_CORRUPT, with the tensor's name, when it is damaged or another
 * model; ERR_NOMEM. On error nothing needs releasing. */
int vad_weights_read(struct vad_weights *w, const void *bytes, size_t length,
                     struct err *e);
void vad_weights_release(struct vad_weights *w);

#endif
