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

/* Under the lock: where the peer is linked, or where a new one belongs. */
static struct peer **find(struct http_peers *p, const struct http_address *network)
{
    uint64_t hash;
    crypto_shorthash((unsigned char *)&hash, network->bytes, sizeof network->bytes,
                     p->key);
    struct peer **at = &p->buckets[hash % BUCKETS];
    while (*at &&
           memcmp((*at)->network.bytes, network->bytes, sizeof network->bytes) != 0)
        at = &(*at)->next;
    return at;
}

void http_peers_add(struct http_peers *p, const struct http_address *a)
{
    struct http_address network = http_address_network(a);
    pthread_mutex_lock(&p->lock);
    struct peer **at = find(p, &network);
    /* Out of memory it is not counted: the limit on all connections still holds. */
    if (!*at && (*at = calloc(1, sizeof **at)))
        (*at)->network = network;
    if (*at)
        (*at)->connections++;
    pthread_mutex_unlock(&p->lock);
}

void http_peers_remove(struct http_peers *p, const struct http_address *a)
{
    struct http_address network = http_address_network(a);
    pthread_mutex_lock(&p->lock);
    struct peer **at = find(p, &network), *peer = *at;
    if (peer && --peer->connections <= 0) {
        *at = peer->next;
        free(peer);
    }
    pthread_mutex_unlock(&p->lock);
}

int http_peers_count(struct http_peers *p, const struct http_address *a)
{
    struct http_address network = http_address_network(a);
    pthread_mutex_lock(&p->lock);
    struct peer *peer = *find(p, &network);
    int count = peer ? peer->connections : 0;
    pthread_mutex_unlock(&p->lock);
    return count;
}
