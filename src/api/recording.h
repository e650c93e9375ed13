/* The recording of a job, to hear and to see. */
#ifndef API_RECORDING_H
#define API_RECORDING_H

#include "api/api.h"

void api_audio(struct http_request *r);
void api_waveform(struct http_request *r);

#endif
