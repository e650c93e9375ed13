/* The framing of a chunked body, as far as it can be seen.
 *
 * libmicrohttpd 0.9.75 takes a bare LF for the end of a line here, too, and extensions of
 * any length, and has no switch against either. It parses in place, so what stands
 * between the pieces of a body is still there when the next piece is handed out, unless
 * it came alone. What can be seen is checked; for what cannot, a connection is never used
 * again after a chunked body, so that nothing can hide behind one.
 *
 * 1.0, when strict, refuses a bare LF itself. The LF behind an extension it takes for the
 * first byte of the chunk, and then refuses what follows: extensions cannot be used. */
#ifndef HTTP_CHUNKS_H
#define HTTP_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_CHUNK_EXTENSION_MAX 256 /* bytes; nobody has a use for any */

struct http_chunks {
    const char *start; /* borrowed: where the library's buffer for the body begins */
    const char *end;   /* borrowed: of the piece before; NULL: none */
    bool broken;       /* for good */
    bool trailers;     /* there was one */
};

/* Whether what stands before a piece, which the library is handing out, is well-formed or
 * cannot be seen. */
bool http_chunks_look(struct http_chunks *c, const char *piece, size_t length);

/* Whether something lies in the buffer for the body. */
bool http_chunks_hold(const struct http_chunks *c, const char *text);

/* Whether `text` is what may stand between two pieces: the end of a chunk, if `first` is
 * false or where there is one, and the line with the size of the next. */
bool http_chunk_line_valid(const char *text, size_t length, bool first);

#endif
