/* How often one client may knock: the generic cell rate algorithm.
 *
 * One time per client (when its allowance would be whole again) is all the state there
 * is, so a client may use its allowance in one burst and then gets it back evenly: no
 * window at whose edge twice the limit slips through. Thread-safe. */
#ifndef HTTP_RATELIMIT_H
#define HTTP_RATELIMIT_H

#include "base/err.h"
#include "http/address.h"

struct http_limiter;

#define HTTP_LIMITER_NAME 16 /* bytes: an address, or a hash of something longer */

/* What a client has, in requests, once the one in question is taken. All zero: no limit.
 */
struct http_allowance {
    int64_t limit, remaining;
    int64_t reset_ns; /* until it is whole again */
    int64_t wait_ns;  /* until one is possible; 0 when this one was */
    bool allowed;
};

/* `rate` as config_rate_parse reads it: "10/minute". *out is NULL for "off" and "0",
 * which http_limiter_take takes for no limit. ERR_INVALID says what is accepted. */
int http_limiter_new(struct http_limiter **out, const char *rate, struct err *e);
void http_limiter_free(struct http_limiter *l);

/* Whether whoever has that name may go on at `now_ns` (monotonic); what is left. */
bool http_limiter_ask(struct http_limiter *l, const uint8_t name[HTTP_LIMITER_NAME],
                      int64_t now_ns, struct http_allowance *out);

/* The same for an address, as http_address_network has it. Whether the client may go on
 * at `now_ns` (monotonic); when not, *wait_ns is how long until it may. */
bool http_limiter_take(struct http_limiter *l, const struct http_address *client,
                       int64_t now_ns, int64_t *wait_ns);

#endif
