#include "http/peers.h"

#include <pthread.h>
#include <sodium.h>

#define BUCKETS 1024

struct peer {
    struct peer *next;
    struct http_address network;
    int connections;
};

struct http_peers {
    pthread_mutex_t lock;
    unsigned char
        key[crypto_shorthash_KEYBYTES]; /* else a client could aim at a bucket */
    struct peer *buckets[BUCKETS];      /* under lock */
};

struct http_peers *http_peers_new(void)
{
    struct http_peers *p = sodium_init() < 0 ? NULL : calloc(1, sizeof *p);
    if (!p)
        return NULL;
    pthread_mutex_init(&p->lock, NULL);
    crypto_shorthash_keygen(p->key);
    return p;
}

void http_peers_free(struct http_peers *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (p->buckets[i]) {
            struct peer *peer = p->buckets[i];
            p->buckets[i] = peer->next;
            free(peer);
        }
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static size_t bucket_of(const struct http_peers *p, const struct http_address *network)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, network->bytes, sizeof network->bytes,
                     p->key);
    return hash % BUCKETS;
}

/* Under the lock. */
static struct peer *find(struct http_peers *p, const struct http_address *network)
{
    struct peer *peer = p->buckets[bucket_of(p, network)];
    while (peer &&
           memcmp(peer->network.bytes, network->bytes, sizeof network->bytes) != 0)
        peer = peer->next;
    return peer;
}

/* Under the lock. Out of memory it is not counted: the limit on all connections still
 * holds. */
static struct peer *add_peer(struct http_peers *p, const struct http_address *network)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    size_t bucket = bucket_of(p, network);
    peer->network = *network;
    peer->next = p->buckets[bucket];
    p->buckets[bucket] = peer;
    return peer;
}

void http_peers_add(struct http_peers *p, const struct http_address *a)
{
    struct http_address network = http_address_network(a);
    pthread_mutex_lock(&p->lock);
    struct peer *peer = find(p, &network);
    if (!peer)
        peer = add_peer(p, &network);
    if (peer)
        peer->connections++;
    pthread_mutex_unlock(&p->lock);
}

void http_peers_remove(struct http_peers *p, const struct http_address *a)
{
    struct http_address network = http_address_network(a);
    pthread_mutex_lock(&p->lock);
    struct peer *peer = find(p, &network);
    if (peer && --peer->connections <= 0) {
        struct peer **at = &p->buckets[bucket_of(p, &network)];
        while (*at != peer)
            at = &(*at)->next;
        *at = peer->next;
        free(peer);
    }
    pthread_mutex_unlock(&p->lock);
}

int http_peers_count(struct http_peers *p, const struct http_address *a)
{
    struct http_address network = http_address_network(a);
    pthread_mutex_lock(&p->lock);
    struct peer *peer = find(p, &network);
    int count = peer ? peer->connections : 0;
    pthread_mutex_unlock(&p->lock);
    return count;
}
