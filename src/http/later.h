/* Answers that are not there yet, and answers that go on.
 *
 * A handler that has to wait for something (a job) would keep a thread for as long. It
 * defers instead: its request waits without one. And an answer whose body comes bit by
 * bit, over minutes or hours, is a stream: whoever has something to say sends it, from
 * any thread, and nobody blocks. */
#ifndef HTTP_LATER_H
#define HTTP_LATER_H

#include "http/request.h"

/* Bytes waiting for one reader of a stream; one that does not keep up is dropped. */
#define HTTP_STREAM_BACKLOG ((size_t)1 << 20)

struct http_later;

/* In a handler, or in `resume` itself, instead of an answer: `resume` is called on a
 * handler's thread once http_later_wake was called, or after `timeout_ms` (below 0:
 * never), and answers, streams or defers again. It is called also when the client has
 * gone meanwhile, or when the server stops and cannot wait (r->gone); its answer is then
 * thrown away, and it has no reason to defer again. A client that has ended its own side
 * of the connection counts as gone. Shortly before the server stops `resume` is called
 * with r->stopping set: what cannot be answered then is told to come again, for what is
 * deferred once more will be thrown away. NULL when memory is out: then 503 has been
 * answered. The handle is valid until `resume` is called. */
struct http_later *http_defer(struct http_request *r, int64_t timeout_ms,
                              void (*resume)(struct http_request *r));
/* From any thread, also before the handler has returned; more than once is once. */
void http_later_wake(struct http_later *l);

/* Called once when the request is over, however that came: after the answer was sent or
 * the client went. For r->state of routes without a form. One per request. */
void http_request_on_end(struct http_request *r, void (*end)(struct http_request *r));

struct http_stream;

/* In a handler, or in `resume`, instead of an answer: the head goes out with `status` and
 * the headers of r->response, then what is sent. `closed` is the last call, from any
 * thread, when the client has gone, the stream has ended or the server stops; the handle
 * is valid until it returns; it must not be called with a lock held that `closed` takes.
 * NULL when memory is out: then 503 has been answered, and `closed` is not called. For
 * HEAD nothing of the body is sent. */
struct http_stream *http_respond_stream(struct http_request *r, int status,
                                        const char *content_type,
                                        void (*closed)(void *state), void *state);
/* From any thread, also before the handler has returned; copied, never blocks. After the
 * end it does nothing. */
void http_stream_send(struct http_stream *s, const void *bytes, size_t length);
/* One that ends by itself before long: a server that stops waits for it. */
void http_stream_hold(struct http_stream *s);
/* No more: close in good order once all is sent. */
void http_stream_end(struct http_stream *s);

/* For what is long, and comes as fast as it is read: say before the handler returns how
 * much it will be, then push from a thread that may wait until there is room. False: it
 * is over, nobody reads any more. What cannot be brought to its end is broken, so that
 * the client sees it. */
void http_stream_set_length(struct http_stream *s, int64_t length);
bool http_stream_push(struct http_stream *s, const void *bytes, size_t length);
void http_stream_break(struct http_stream *s);

#endif
