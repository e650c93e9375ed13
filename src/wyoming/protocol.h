/* The events of the Wyoming protocol, in which Home Assistant speaks to what hears.
 *
 * An event is one line of JSON, {"type","data"?,"data_length"?,"payload_length"?,
 * "version"?}, then data_length bytes of JSON that is merged over "data", then
 * payload_length bytes of sound. Pure: no sockets, no jobs, so that a fuzzer can reach
 * all of it. Every length is held against a limit before a byte of it is awaited. */
#ifndef WYOMING_PROTOCOL_H
#define WYOMING_PROTOCOL_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define WYOMING_LINE_MAX    ((size_t)64 << 10)
#define WYOMING_DATA_MAX    ((size_t)1 << 20)
#define WYOMING_PAYLOAD_MAX ((size_t)1 << 20)
#define WYOMING_TYPE_SIZE   64

struct wyoming_event {
    char type[WYOMING_TYPE_SIZE];
    json_t *data;           /* owned; an object, never NULL once an event is complete */
    const uint8_t *payload; /* borrowed from the parser until its next call */
    size_t payload_length;
};

void wyoming_event_release(struct wyoming_event *event);

/* Reads events from bytes that come in any pieces. */
struct wyoming_parser {
    enum { WYOMING_IN_LINE, WYOMING_IN_DATA, WYOMING_IN_PAYLOAD, WYOMING_BROKEN } state;
    struct buf bytes; /* owned: of the part that is being read */
    size_t data_length, payload_length;
    struct wyoming_event event; /* what is known of it */
    bool handed;                /* `bytes` is the payload of the last event */
};

void wyoming_parser_init(struct wyoming_parser *p);
void wyoming_parser_release(struct wyoming_parser *p);

/* Take bytes up to the end of an event. *used is how many were taken. 1: *out is that
 * event, to be released; 0: more is needed. ERR_CORRUPT or ERR_TOO_LARGE: it is none,
 * and the connection is of no more use. */
int wyoming_parser_feed(struct wyoming_parser *p, const void *bytes, size_t length,
                        size_t *used, struct wyoming_event *out, struct err *e);
/* Whether an event has begun and is not whole yet. */
bool wyoming_parser_within(const struct wyoming_parser *p);

/* Append an event. Takes the reference to `data` over; NULL: it has none. 0 or
 * ERR_NOMEM. */
int wyoming_event_write(struct buf *out, const char *type, json_t *data);

/* What audio events say of the samples in their payload. */
struct wyoming_format {
    int rate, width, channels; /* Hz, bytes, count */
};

/* ERR_INVALID for what is missing or beyond all use. */
int wyoming_format_read(struct wyoming_format *out, const json_t *data, struct err *e);

/* The head of a WAV file of `bytes` of samples. Samples of one byte have no sign there,
 * as in the protocol. WYOMING_WAV_OPEN: nobody knows yet how many there will be. */
#define WYOMING_WAV_SIZE 44
#define WYOMING_WAV_OPEN UINT32_MAX
void wyoming_wav_head(const struct wyoming_format *f, uint32_t bytes,
                      uint8_t out[WYOMING_WAV_SIZE]);

#endif
