/* The door of whisper-asr-webservice, which Bazarr and other media tools knock at. */
#ifndef API_ASR_H
#define API_ASR_H

#include "api/api.h"

extern const struct http_form_handler asr_form, asr_detect_form;
void asr_transcribe(struct http_request *r); /* POST /asr */
void asr_detect(struct http_request *r);     /* POST /detect-language */

#endif
