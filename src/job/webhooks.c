#include "job/webhooks.h"

#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"
#include "job/service.h"
#include "net/fetch.h"
#include "store/webhooks.h"

#include <errno.h>
#include <sodium.h>

#define THREADS       4 /* so that one receiver that hangs does not keep the others */
#define STALL_SECONDS 15
#define TOTAL_SECONDS 30
#define LEASE_MS      45000
#define LOOK_MS       INT64_C(30000) /* at least so often */
#define FIRST_PAUSE   INT64_C(2000)
#define LONGEST_PAUSE INT64_C(14400000)
#define GIVE_UP_MS    (INT64_C(24) * 3600 * 1000)

struct webhooks {
    struct jobs *jobs; /* borrowed */
    jobs_present_fn present;
    pthread_t threads[THREADS];
    size_t started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closing;  /* under lock */
    uint64_t rung; /* under lock: how often a job has ended */
};

/* ---- what is sent ---------------------------------------------------------------- */

void webhook_sign(const char *secret, const char *id, int64_t timestamp_seconds,
                  const char *body, size_t length, char out[WEBHOOK_SIGNATURE_SIZE])
{
    static const char prefix[] = "whsec_";
    unsigned char key[WEBHOOK_SECRET_MAX], digest[crypto_auth_hmacsha256_BYTES];
    char head[120];
    size_t key_length = strlen(secret);
    const unsigned char *bytes = (const unsigned char *)secret;
    if (!strncmp(secret, prefix, strlen(prefix)) &&
        !sodium_base642bin(key, sizeof key, secret + strlen(prefix),
                           key_length - strlen(prefix), NULL, &key_length, NULL,
                           sodium_base64_VARIANT_ORIGINAL))
        bytes = key;
    else
        key_length = strlen(secret);
    int n = snprintf(head, sizeof head, "%s.%lld.", id, (long long)timestamp_seconds);
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, bytes, key_length);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)head, (size_t)n);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)body, length);
    crypto_auth_hmacsha256_final(&state, digest);
    sodium_bin2base64(out, WEBHOOK_SIGNATURE_SIZE, digest, sizeof digest,
                      sodium_base64_VARIANT_ORIGINAL);
    sodium_memzero(key, sizeof key);
    sodium_memzero(&state, sizeof state);
}

int64_t webhook_pause_ms(int attempts, uint32_t random)
{
    int64_t pause = FIRST_PAUSE;
    for (int i = 1; i < attempts && pause < LONGEST_PAUSE; i++)
        pause *= 4;
    if (pause > LONGEST_PAUSE)
        pause = LONGEST_PAUSE;
    return pause / 2 + (int64_t)((uint64_t)random % (uint64_t)(pause + 1));
}

/* {"event","timestamp","job"}; the caller frees it. */
static char *compose(struct webhooks *w, const struct store_delivery *d, struct err *e)
{
    struct job job;
    char time[CLOCK_ISO_SIZE];
    if (store_get(w->jobs->store, d->job_id, &job, e))
        return NULL;
    json_t *shown = w->present(&job, d->with_transcript);
    json_t *all = json_pack("{s:s, s:s, s:o}", "event", d->event, "timestamp",
                            clock_iso(d->created_ms, time), "job", shown);
    job_release(&job);
    char *text = all ? json_text(all, JSON_COMPACT) : NULL;
    json_decref(all);
    if (!text)
        (void)err_set(e, ERR_NOMEM, "out of memory");
    return text;
}

static int on_tick(void *arg, struct err *e)
{
    struct webhooks *w = arg;
    pthread_mutex_lock(&w->lock);
    bool closing = w->closing;
    pthread_mutex_unlock(&w->lock);
    return closing ? err_set(e, ERR_CANCELLED, "the service ends") : 0;
}

static int send_body(struct webhooks *w, const struct store_delivery *d, const char *body,
                     struct net_answer *answer, struct err *e)
{
    const char *own = w->jobs->config->webhook_secret;
    const char *secret = *d->secret ? d->secret : own ? own : "";
    char id[120], time[64], signature[80], base64[WEBHOOK_SIGNATURE_SIZE];
    int64_t now = clock_now_ms() / 1000;
    (void)snprintf(id, sizeof id, "Webhook-Id: %s", d->id);
    (void)snprintf(time, sizeof time, "Webhook-Timestamp: %lld", (long long)now);
    const char *headers[] = {"Content-Type: application/json", id, time, signature};
    if (*secret) {
        webhook_sign(secret, d->id, now, body, strlen(body), base64);
        (void)snprintf(signature, sizeof signature, "Webhook-Signature: v1,%s", base64);
    }
    struct net_request request = {
        .guard = w->jobs->webhook_guard,
        .url = d->url,
        .body = body,
        .body_length = strlen(body),
        .headers = headers,
        .n_headers = *secret ? 4 : 3,
        .stall_seconds = STALL_SECONDS,
        .total_seconds = TOTAL_SECONDS,
        .tick = on_tick,
        .arg = w,
    };
    return net_fetch(&request, answer, e);
}

/* ---- what comes of it ------------------------------------------------------------ */

static bool is_final(int status, const struct net_answer *answer)
{
    return status == ERR_DENIED || status == ERR_INVALID || answer->status == 410;
}

static void conclude(struct webhooks *w, const struct store_delivery *d, int status,
                     const struct net_answer *answer, const struct err *why)
{
    struct err e = {0};
    int64_t now = clock_now_ms();
    int64_t pause = webhook_pause_ms(d->attempts, randombytes_random());
    if (answer->retry_after_seconds > 0 && answer->retry_after_seconds <= 3600 &&
        answer->retry_after_seconds * INT64_C(1000) > pause)
        pause = answer->retry_after_seconds * INT64_C(1000);
    struct store_delivery_end end = {.state = "waiting",
                                     .now_ms = now,
                                     .next_ms = now + pause,
                                     .http_status = (int)answer->status,
                                     .error = why->message};
    if (status == ERR_CANCELLED)
        end.next_ms = now;
    else if (!status)
        end.state = "delivered";
    else if (is_final(status, answer) || now + pause > d->created_ms + GIVE_UP_MS)
        end.state = "failed";
    status = store_webhook_end(w->jobs->store, d, &end, &e);
    if (status && status != ERR_STATE)
        log_event(LOG_ERROR, d->job_id, "its webhook is not saved: %s", e.message);
    log_event(LOG_INFO, d->job_id, "webhook %s, attempt %d: %s%s%s", d->event,
              d->attempts, end.state, why->message[0] ? ": " : "", why->message);
}

static void deliver(struct webhooks *w, const struct store_delivery *d)
{
    struct net_answer answer = {0};
    struct err e = {0};
    char *body = compose(w, d, &e);
    int status = body ? send_body(w, d, body, &answer, &e) : e.code;
    free(body);
    if (!status && (answer.status < 200 || answer.status > 299))
        status = err_set(&e, ERR_NETWORK, "the receiver answered %ld", answer.status);
    if (status != ERR_NOT_FOUND) /* the job is gone, and its notices with it */
        conclude(w, d, status, &answer, &e);
    if (!status && d->with_transcript)
        jobs_fetched(w->jobs, d->job_id);
}

/* ---- the threads ----------------------------------------------------------------- */

static bool claim_and_deliver(struct webhooks *w)
{
    struct store_delivery d;
    struct err e = {0};
    int64_t now = clock_now_ms();
    int status = store_webhook_claim(w->jobs->store, now, now + LEASE_MS, &d, &e);
    if (status && status != ERR_NOT_FOUND)
        log_error("no webhook can be sent: %s", e.message);
    if (status)
        return false;
    deliver(w, &d);
    store_delivery_release(&d);
    return true;
}

static void wait_for_news(struct webhooks *w, uint64_t *heard)
{
    struct timespec until;
    int64_t next = INT64_MAX, pause = LOOK_MS;
    if (!store_webhook_next(w->jobs->store, &next, NULL) && next != INT64_MAX)
        pause = next - clock_now_ms();
    pause = pause < 50 ? 50 : pause > LOOK_MS ? LOOK_MS : pause;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(pause % 1000) * 1000000;
    until.tv_sec += pause / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    int error = 0;
    pthread_mutex_lock(&w->lock);
    while (!w->closing && w->rung == *heard && !error)
        error = pthread_cond_timedwait(&w->changed, &w->lock, &until);
    *heard = w->rung;
    pthread_mutex_unlock(&w->lock);
}

static void *run(void *arg)
{
    struct webhooks *w = arg;
    uint64_t heard = 0;
    while (!on_tick(w, NULL))
        if (!claim_and_deliver(w))
            wait_for_news(w, &heard);
    return NULL;
}

int webhooks_new(struct webhooks **out, struct jobs *s, struct err *e)
{
    struct webhooks *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, "out of memory");
    pthread_condattr_t monotonic;
    w->jobs = s;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *out = w;
    return 0;
}

int webhooks_start(struct webhooks *w, jobs_present_fn present, struct err *e)
{
    w->present = present;
    int status = store_webhook_recover(w->jobs->store, e);
    for (size_t i = 0; !status && i < THREADS; i++) {
        errno = pthread_create(&w->threads[i], NULL, run, w);
        w->started += !errno;
        status = errno ? err_errno(e, "cannot start a thread") : 0;
    }
    return status;
}

void webhooks_close(struct webhooks *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->started; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void webhooks_wake(struct webhooks *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->rung++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}
