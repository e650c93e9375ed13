#include "wyoming/protocol.h"

#include "base/json_text.h"
#include "base/mem.h"

#define VERSION                                                                          \
    "1.9.0" /* of the protocol's own package, which this was written after               \
             */

#define RATE_LEAST    1000
#define RATE_MOST     384000
#define WIDTH_MOST    4
#define MOST_CHANNELS 32

/* ---- reading ---- */

void wyoming_event_release(struct wyoming_event *event)
{
    json_decref(event->data);
    *event = (struct wyoming_event){0};
}

void wyoming_parser_init(struct wyoming_parser *p)
{
    *p = (struct wyoming_parser){.state = WYOMING_IN_LINE};
    buf_init(&p->bytes, WYOMING_LINE_MAX + WYOMING_DATA_MAX + WYOMING_PAYLOAD_MAX);
}

void wyoming_parser_release(struct wyoming_parser *p)
{
    wyoming_event_release(&p->event);
    buf_release(&p->bytes);
}

bool wyoming_parser_within(const struct wyoming_parser *p)
{
    return p->state != WYOMING_IN_LINE || (p->bytes.length > 0 && !p->handed);
}

/* A length of the header; absent and null are 0. */
static int read_length(const json_t *header, const char *name, size_t most, size_t *out,
                       struct err *e)
{
    const json_t *value = json_object_get(header, name);
    *out = 0;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return err_set(e, ERR_CORRUPT, "an event's \"%s\" is no length", name);
    if (json_integer_value(value) > (json_int_t)most)
        return err_set(e, ERR_TOO_LARGE,
                       "an event's \"%s\" is %lld; at most %zu bytes are taken", name,
                       (long long)json_integer_value(value), most);
    *out = (size_t)json_integer_value(value);
    return 0;
}

static json_t *load_object(const struct buf *b)
{
    json_t *value =
        json_loadb(b->data ? b->data : "", b->length, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(value))
        return value;
    json_decref(value);
    return NULL;
}

static int read_header(struct wyoming_parser *p, const json_t *header, struct err *e)
{
    struct wyoming_event *event = &p->event;
    const json_t *type = json_object_get(header, "type");
    json_t *data = json_object_get(header, "data");
    if (!json_is_string(type) || json_string_length(type) >= sizeof event->type)
        return err_set(e, ERR_CORRUPT, "an event has no \"type\", or an endless one");
    memcpy(event->type, json_string_value(type), json_string_length(type) + 1);
    if (data && !json_is_null(data) && !json_is_object(data))
        return err_set(e, ERR_CORRUPT, "an event's \"data\" is no object");
    event->data = json_is_object(data) ? json_incref(data) : json_object();
    if (!event->data)
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = read_length(header, "data_length", WYOMING_DATA_MAX, &p->data_length, e);
    if (!status)
        status = read_length(header, "payload_length", WYOMING_PAYLOAD_MAX,
                             &p->payload_length, e);
    return status;
}

/* The part at hand is whole: what it says, and which comes next. */
static int end_line(struct wyoming_parser *p, struct err *e)
{
    json_t *header = load_object(&p->bytes);
    int status = header ? read_header(p, header, e)
                        : err_set(e, ERR_CORRUPT,
                                  "an event must begin with a line that is one JSON "
                                  "object: this port speaks the Wyoming protocol");
    json_decref(header);
    buf_reset(&p->bytes);
    p->state = WYOMING_IN_DATA;
    return status;
}

static int end_data(struct wyoming_parser *p, struct err *e)
{
    p->state = WYOMING_IN_PAYLOAD;
    if (!p->data_length)
        return 0;
    json_t *data = load_object(&p->bytes);
    int status =
        data ? 0
             : err_set(e, ERR_CORRUPT, "the data of an event \"%s\" is no JSON object",
                       p->event.type);
    if (data && json_object_update(p->event.data, data))
        status = err_set(e, ERR_NOMEM, "out of memory");
    json_decref(data);
    buf_reset(&p->bytes);
    return status;
}

static int take_line(struct wyoming_parser *p, const char *bytes, size_t length,
                     size_t *used, struct err *e)
{
    const char *end = memchr(bytes, '\n', length);
    size_t n = end ? (size_t)(end - bytes) : length;
    *used = n + (end != NULL);
    if (p->bytes.length + n > WYOMING_LINE_MAX)
        return err_set(e, ERR_TOO_LARGE, "an event's line is longer than %zu bytes",
                       WYOMING_LINE_MAX);
    buf_add(&p->bytes, bytes, n);
    return end && !buf_failed(&p->bytes) ? end_line(p, e) : 0;
}

/* Take what is left of a part of `whole` bytes. Whether it is all there. */
static bool take_part(struct wyoming_parser *p, const char *bytes, size_t length,
                      size_t whole, size_t *used)
{
    size_t missing = whole - p->bytes.length;
    *used = length < missing ? length : missing;
    buf_add(&p->bytes, bytes, *used);
    return *used == missing;
}

static void hand_over(struct wyoming_parser *p, struct wyoming_event *out)
{
    *out = p->event;
    out->payload = (const uint8_t *)buf_cstr(&p->bytes);
    out->payload_length = p->payload_length;
    p->event = (struct wyoming_event){0};
    p->state = WYOMING_IN_LINE;
    p->handed = true;
}

/* One step. 1: the event is whole. */
static int step(struct wyoming_parser *p, const char *bytes, size_t length, size_t *used,
                struct err *e)
{
    *used = 0;
    switch (p->state) {
    case WYOMING_IN_LINE:
        return take_line(p, bytes, length, used, e);
    case WYOMING_IN_DATA:
        return take_part(p, bytes, length, p->data_length, used) ? end_data(p, e) : 0;
    case WYOMING_IN_PAYLOAD:
        return take_part(p, bytes, length, p->payload_length, used);
    case WYOMING_BROKEN:
        break;
    }
    return err_set(e, ERR_STATE, "nothing is read after what was no event");
}

/* A part without a byte, or none left, ends without another. */
static bool awaits_nothing(const struct wyoming_parser *p)
{
    return (p->state == WYOMING_IN_DATA && p->bytes.length == p->data_length) ||
           (p->state == WYOMING_IN_PAYLOAD && p->bytes.length == p->payload_length);
}

int wyoming_parser_feed(struct wyoming_parser *p, const void *bytes, size_t length,
                        size_t *used, struct wyoming_event *out, struct err *e)
{
    const char *from = bytes;
    int status = 0;
    *used = 0;
    if (p->handed)
        buf_reset(&p->bytes);
    p->handed = false;
    while (!status && (*used < length || awaits_nothing(p))) {
        size_t n;
        status = step(p, from + *used, length - *used, &n, e);
        *used += n;
        if (!status && buf_failed(&p->bytes))
            status = err_set(e, ERR_NOMEM, "out of memory");
    }
    if (status == 1)
        hand_over(p, out);
    else if (status)
        p->state = WYOMING_BROKEN;
    return status;
}

/* ---- writing ---- */

int wyoming_event_write(struct buf *out, const char *type, json_t *data)
{
    char *body = data ? json_text(data, JSON_COMPACT) : NULL;
    size_t length = body ? strlen(body) : 0;
    json_t *header = length ? json_pack("{s:s, s:s, s:I}", "type", type, "version",
                                        VERSION, "data_length", (json_int_t)length)
                            : json_pack("{s:s, s:s}", "type", type, "version", VERSION);
    char *line = header ? json_text(header, JSON_COMPACT) : NULL;
    int status = line && (body || !data) ? 0 : ERR_NOMEM;
    if (!status) {
        buf_str(out, line);
        buf_char(out, '\n');
        buf_add(out, body ? body : "", length);
        status = buf_failed(out) ? ERR_NOMEM : 0;
    }
    json_decref(header);
    json_decref(data);
    free(line);
    free(body);
    return status;
}

/* ---- sound ---- */

static int read_number(const json_t *data, const char *name, int least, int most,
                       int *out, struct err *e)
{
    const json_t *value = json_object_get(data, name);
    if (!json_is_integer(value) || json_integer_value(value) < least ||
        json_integer_value(value) > most)
        return err_set(e, ERR_INVALID,
                       "an audio event's \"%s\" must be a whole number from %d to %d",
                       name, least, most);
    *out = (int)json_integer_value(value);
    return 0;
}

int wyoming_format_read(struct wyoming_format *out, const json_t *data, struct err *e)
{
    int status = read_number(data, "rate", RATE_LEAST, RATE_MOST, &out->rate, e);
    if (!status)
        status = read_number(data, "width", 1, WIDTH_MOST, &out->width, e);
    return status ? status
                  : read_number(data, "channels", 1, MOST_CHANNELS, &out->channels, e);
}

static void put_u16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void put_u32(uint8_t *at, uint32_t value)
{
    put_u16(at, value & 0xFFFF);
    put_u16(at + 2, value >> 16);
}

void wyoming_wav_head(const struct wyoming_format *f, uint32_t bytes,
                      uint8_t out[WYOMING_WAV_SIZE])
{
    const uint32_t rest = WYOMING_WAV_SIZE - 8; /* what the first size counts as well */
    unsigned frame = (unsigned)(f->width * f->channels);
    memcpy(out, "RIFF", 4);
    put_u32(out + 4, bytes > WYOMING_WAV_OPEN - rest ? WYOMING_WAV_OPEN : bytes + rest);
    memcpy(out + 8, "WAVEfmt ", 8);
    put_u32(out + 16, 16);
    put_u16(out + 20, 1); /* whole numbers */
    put_u16(out + 22, (unsigned)f->channels);
    put_u32(out + 24, (uint32_t)f->rate);
    put_u32(out + 28, (uint32_t)f->rate * frame);
    put_u16(out + 32, frame);
    put_u16(out + 34, 8 * (unsigned)f->width);
    memcpy(out + 36, "data", 4);
    put_u32(out + 40, bytes);
}
