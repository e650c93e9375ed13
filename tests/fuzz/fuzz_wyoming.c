/* A stream of events must come out the same wherever the network cut it.
 *
 * The first byte of the input is the size of the pieces; the rest is the stream. It is
 * parsed whole and in pieces, and what the parser tells must be equal. */
#include "base/mem.h"
#include "wyoming/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tell(struct buf *told, const struct wyoming_event *event)
{
    struct wyoming_format f;
    uint8_t head[WYOMING_WAV_SIZE];
    char *text = json_dumps(event->data, JSON_COMPACT | JSON_SORT_KEYS);
    buf_printf(told, "%s%s", event->type, text ? text : "");
    buf_add(told, event->payload, event->payload_length);
    free(text);
    if (!wyoming_format_read(&f, event->data, NULL)) {
        wyoming_wav_head(&f, WYOMING_WAV_OPEN, head);
        buf_add(told, head, sizeof head);
    }
}

static int parse(const uint8_t *stream, size_t length, size_t piece, struct buf *told)
{
    struct wyoming_parser p;
    struct wyoming_event event;
    struct err e;
    int status = 0;
    wyoming_parser_init(&p);
    for (size_t at = 0; status >= 0 && at < length;) {
        size_t n = length - at < piece ? length - at : piece, used;
        status = wyoming_parser_feed(&p, stream + at, n, &used, &event, &e);
        at += used;
        if (status == 1) {
            tell(told, &event);
            wyoming_event_release(&event);
        }
    }
    wyoming_parser_release(&p);
    return status < 0 ? status : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct buf whole, pieces;
    buf_init(&whole, (size_t)1 << 26);
    buf_init(&pieces, (size_t)1 << 26);
    int a = parse(data + 1, size - 1, size, &whole);
    int b = parse(data + 1, size - 1, (size_t)data[0] + 1, &pieces);
    if (a != b || whole.length != pieces.length ||
        memcmp(buf_cstr(&whole), buf_cstr(&pieces), whole.length) != 0)
        abort();
    buf_release(&whole);
    buf_release(&pieces);
    return 0;
}
