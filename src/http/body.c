/* A body on its way from the socket to the disk.
 *
 * libmicrohttpd's thread fills one piece while a task of the pool feeds the other to the
 * form: the network and the disk work at the same time, and most pieces cost no more than
 * a copy. When both are full the connection is parked, which is the back-pressure: we
 * read when we can write. */
#include "http/exchange.h"

#define PIECE_BYTES ((size_t)64 << 10)
/* Each piece costs some waking and waiting of threads. A body that turns out to be large
 * gets larger ones, as long as not too many have: their memory would add up. */
#define LARGE_PIECE_BYTES ((size_t)512 << 10)
#define LARGE_BODY        (INT64_C(1) << 20)
#define LARGE_MOST        8

void exchange_body_init(struct exchange *x)
{
    pthread_mutex_init(&x->body.lock, NULL);
    buf_init(&x->body.filling, LARGE_PIECE_BYTES);
    buf_init(&x->body.eating, LARGE_PIECE_BYTES);
    x->body.piece = PIECE_BYTES;
}

void exchange_body_release(struct exchange *x)
{
    if (x->body.piece == LARGE_PIECE_BYTES)
        atomic_fetch_sub(&x->server->large, 1);
    buf_release(&x->body.filling);
    buf_release(&x->body.eating);
    pthread_mutex_destroy(&x->body.lock);
}

static int feed(struct exchange *x, const struct buf *piece)
{
    if (x->form)
        return http_form_feed(x->form, piece->data, piece->length);
    return x->route->body->data(&x->request, piece->data, piece->length);
}

/* The next piece, if there is one; the connection may fill the other at once. */
static bool next_piece(struct exchange *x, bool broken)
{
    struct exchange_body *b = &x->body;
    pthread_mutex_lock(&b->lock);
    b->broken = b->broken || broken;
    bool more = !b->broken && b->filling.length > 0;
    struct buf full = b->filling;
    if (more) {
        b->filling = b->eating;
        b->eating = full;
    }
    b->feeding = more;
    bool resume = b->parked, finish = b->over && !more;
    b->parked = false;
    pthread_mutex_unlock(&b->lock);
    /* Not `over` and parked at once: a parked connection cannot go. Nor is `x` ours
     * after the last piece. */
    if (finish)
        exchange_finish(x);
    if (resume)
        exchange_go(x);
    return more;
}

static void feed_all(struct exchange *x)
{
    bool broken = false;
    while (next_piece(x, broken)) {
        broken = feed(x, &x->body.eating) != 0;
        buf_reset(&x->body.eating);
    }
}

/* Under the lock, on the library's thread. */
static void park(struct exchange *x)
{
    x->body.parked = true;
    if (x->connection)
        http_watch_phase(x->server->watch, x->connection->watched, HTTP_PHASE_WORK);
    MHD_suspend_connection(x->request.connection);
}

/* Under the lock. */
static void grow(struct exchange *x)
{
    struct exchange_body *b = &x->body;
    if (b->piece == LARGE_PIECE_BYTES || b->total < LARGE_BODY)
        return;
    if (atomic_fetch_add(&x->server->large, 1) < LARGE_MOST)
        b->piece = LARGE_PIECE_BYTES;
    else
        atomic_fetch_sub(&x->server->large, 1);
}

bool exchange_body_take(struct exchange *x, const char *bytes, size_t *length)
{
    struct exchange_body *b = &x->body;
    pthread_mutex_lock(&b->lock);
    bool good = !b->broken, begin = false;
    if (good && !b->parked) {
        grow(x);
        size_t room = b->piece - b->filling.length;
        size_t taken = *length < room ? *length : room;
        buf_add(&b->filling, bytes, taken);
        good = !buf_failed(&b->filling);
        *length -= taken;
        b->total += (int64_t)taken;
        begin = good && !b->feeding;
        b->feeding = b->feeding || begin;
        if (good && *length > 0)
            park(x);
        if (!good)
            http_respond_error(&x->request.response, 500, "out_of_memory",
                               "out of memory");
    }
    pthread_mutex_unlock(&b->lock);
    if (begin)
        exchange_work(x, feed_all);
    return good;
}

enum exchange_body_state exchange_body_end(struct exchange *x)
{
    struct exchange_body *b = &x->body;
    pthread_mutex_lock(&b->lock);
    enum exchange_body_state state = b->feeding  ? EXCHANGE_BODY_BUSY
                                     : b->broken ? EXCHANGE_BODY_BROKEN
                                                 : EXCHANGE_BODY_FED;
    if (b->feeding && !b->parked)
        park(x);
    pthread_mutex_unlock(&b->lock);
    return state;
}

bool exchange_body_over(struct exchange *x)
{
    pthread_mutex_lock(&x->body.lock);
    bool busy = x->body.feeding;
    x->body.over = busy;
    pthread_mutex_unlock(&x->body.lock);
    return !busy;
}
