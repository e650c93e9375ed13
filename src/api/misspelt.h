/* Names of fields that a caller got nearly right. */
#ifndef API_MISSPELT_H
#define API_MISSPELT_H

#include "http/params.h"

/* ERR_INVALID with "did you mean …" when no field of POST /transcribe has this name, but
 * one nearly has it. Names that are like none of ours are other people's, and 0. */
int api_misspelt(const char *name, struct err *e);
int api_misspelt_any(const struct http_params *p, struct err *e);

#endif
