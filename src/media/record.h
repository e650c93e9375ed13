/* What the decoder's child says about a file: one record of fixed size, written once, as
 * its last act. The parent believes nothing in it before record_check has seen it: by
 * then the child has read hostile bytes. */
#ifndef MEDIA_RECORD_H
#define MEDIA_RECORD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_MAGIC       0x31524457u /* "WDR1" */
#define RECORD_TRUNCATED   1u

#define MEDIA_RATE         16000 /* samples per second that come out */
#define MEDIA_MAX_CHANNELS 64
#define MEDIA_MAX_RATE     768000

/* No padding anywhere: both sides are the same binary, so the layout is the wire. */
struct record {
    uint32_t magic;
    int32_t code; /* 0 or an enum err_code */
    int32_t channels, rate;
    uint32_t flags;
    uint32_t reserved; /* 0 */
    uint64_t samples;  /* that went down the other pipe */
    char container[32], codec[32];
    char message[500]; /* as in struct err; "" when code is 0 */
    uint32_t end;      /* the magic again */
};

void record_init(struct record *r);

/* Whether `length` bytes are a record that an honest child could have written: size,
 * magic, code from the list, ranges, strings that end and hold printable UTF-8 only. */
bool record_check(const void *bytes, size_t length, struct record *out);

#endif
