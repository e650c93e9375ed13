#include "net/guard.h"

#include "base/mem.h"
#include "net/address.h"

#include <ctype.h>
#include <curl/curl.h>
#include <strings.h>

#define HOST_MAX 254

/* One entry of the list: a network, or a name. */
struct allowed {
    char host[HOST_MAX]; /* "": a network */
    struct net_address address;
    int bits;
    int port; /* 0: every one */
};

struct net_guard {
    struct allowed *list; /* owned [count] */
    size_t count, capacity;
};

static const int web_ports[] = {80, 443, 8080, 8443};

/* ---- the list ------------------------------------------------------------------- */

static bool parse_port(const char *text, int *out)
{
    size_t digits = strspn(text, "0123456789");
    if (!digits || digits > 5 || text[digits])
        return false;
    *out = (int)strtol(text, NULL, 10);
    return *out > 0 && *out < 65536;
}

/* Cut ":port" off: not from an IPv6 address, which has colons of its own. */
static bool take_port(char *entry, struct allowed *a)
{
    char *bracket = strchr(entry, ']'), *colon = strrchr(entry, ':');
    if (entry[0] == '[') {
        if (!bracket)
            return false;
        memmove(entry, entry + 1, strlen(entry));
        bracket--;
        bool port = bracket[1] == ':', network = bracket[1] == '/';
        if (port && !parse_port(bracket + 2, &a->port))
            return false;
        if (network)
            memmove(bracket, bracket + 1, strlen(bracket));
        else
            *bracket = '\0';
        return port || network || !bracket[1];
    }
    if (!colon || strchr(entry, ':') != colon)
        return true;
    *colon = '\0';
    return parse_port(colon + 1, &a->port);
}

static bool parse_host(const char *text, struct allowed *a)
{
    size_t length = strlen(text);
    if (!length || length >= sizeof a->host)
        return false;
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_", *p))
            return false;
    memcpy(a->host, text, length + 1);
    return true;
}

static bool parse_network(char *text, struct allowed *a)
{
    char *slash = strchr(text, '/');
    long bits = -1;
    if (slash) {
        char *end;
        *slash = '\0';
        bits = strtol(slash + 1, &end, 10);
        if (end == slash + 1 || *end)
            return false;
    }
    if (!net_address_parse(text, &a->address))
        return !slash && parse_host(text, a);
    int base = strchr(text, ':') ? 0 : 96;
    if (slash && (bits < 0 || bits > 128 - base))
        return false;
    a->bits = slash ? base + (int)bits : 128;
    return true;
}

static int add(struct net_guard *g, const struct allowed *a)
{
    if (mem_grow(&g->list, &g->capacity, g->count + 1, sizeof *g->list))
        return ERR_NOMEM;
    g->list[g->count++] = *a;
    return 0;
}

static int add_entry(struct net_guard *g, char *entry)
{
    struct allowed a = {0};
    if (!take_port(entry, &a))
        return ERR_INVALID;
    if (!strcasecmp(entry, "loopback")) {
        char v4[] = "127.0.0.0/8", v6[] = "::1";
        struct allowed b = a;
        (void)parse_network(v4, &a);
        (void)parse_network(v6, &b);
        int status = add(g, &a);
        return status ? status : add(g, &b);
    }
    return parse_network(entry, &a) ? add(g, &a) : ERR_INVALID;
}

int net_guard_new(struct net_guard **out, const char *allow, struct err *e)
{
    *out = NULL;
    struct net_guard *g = calloc(1, sizeof *g);
    if (!g)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (const char *p = allow ? allow : ""; *p;) {
        char entry[HOST_MAX + 16];
        size_t length = strcspn(p, ", \t");
        int status = length < sizeof entry ? 0 : ERR_INVALID;
        if (length && !status) {
            memcpy(entry, p, length);
            entry[length] = '\0';
            status = add_entry(g, entry);
        }
        if (status) {
            net_guard_free(g);
            return err_set(e, status,
                           "\"%.*s\" is neither a host nor a network: write names, "
                           "addresses or networks such as 10.0.0.0/8, with :port or "
                           "without",
                           (int)(length > 60 ? 60 : length), p);
        }
        p += length;
        p += *p != '\0';
    }
    *out = g;
    return 0;
}

void net_guard_free(struct net_guard *g)
{
    if (!g)
        return;
    free(g->list);
    free(g);
}

const char *net_guard_name(const struct net_guard *g, size_t index)
{
    return index < g->count ? g->list[index].host : NULL;
}

/* ---- judging -------------------------------------------------------------------- */

static bool is_web_port(int port)
{
    for (size_t i = 0; i < ARRAY_LENGTH(web_ports); i++)
        if (web_ports[i] == port)
            return true;
    return false;
}

static bool same_host(const char *entry, const char *host)
{
    size_t length = strlen(host);
    if (length && host[length - 1] == '.')
        length--; /* the same name, written in full */
    return strlen(entry) == length && !strncasecmp(entry, host, length);
}

static bool is_listed(const struct net_guard *g, const char *host,
                      const struct net_address *a, int port)
{
    for (size_t i = 0; i < g->count; i++) {
        const struct allowed *x = &g->list[i];
        if (x->port && x->port != port)
            continue;
        if (x->host[0] ? same_host(x->host, host)
                       : a && net_address_equal(a, &x->address, x->bits))
            return true;
    }
    return false;
}

bool net_guard_admits(const struct net_guard *g, const char *host,
                      const struct sockaddr *sa)
{
    struct net_address a;
    int port;
    if (!net_address_from(sa, &a, &port))
        return false;
    return (net_address_public(&a) && is_web_port(port)) || is_listed(g, host, &a, port);
}

/* A network on the list may hold what the name leads to: that is known later. */
static bool may_be_listed(const struct net_guard *g, const char *host, int port)
{
    for (size_t i = 0; i < g->count; i++)
        if (!g->list[i].host[0] && (!g->list[i].port || g->list[i].port == port))
            return true;
    return is_listed(g, host, NULL, port);
}

/* Host (an address without brackets) and port of a URL that may be asked for. */
static int judge_target(const struct net_guard *g, char *host, const char *port_text,
                        struct err *e)
{
    int port = 0;
    size_t length = strlen(host);
    if (!parse_port(port_text, &port) || !length || length >= HOST_MAX)
        return err_set(e, ERR_INVALID, "the URL has no host, or a port that is none");
    if (host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        host++;
    }
    struct net_address a;
    bool literal = net_address_parse(host, &a);
    if (literal ? is_listed(g, host, &a, port) : may_be_listed(g, host, port))
        return 0;
    if (!is_web_port(port))
        return err_set(e, ERR_DENIED,
                       "the port %d is not one of the web's (80, 443, 8080, 8443)", port);
    if (strchr(host, ':') && !literal)
        return err_set(e, ERR_DENIED, "the URL names a network interface");
    if (literal && !net_address_public(&a))
        return err_set(e, ERR_DENIED, "the address %.60s is not on the public internet",
                       host);
    return 0;
}

static bool is_plain(const char *url)
{
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7F || *p == '\\')
            return false;
    return true;
}

int net_guard_url(const struct net_guard *g, const char *url, struct err *e)
{
    char *scheme = NULL, *user = NULL, *password = NULL, *host = NULL, *port = NULL;
    if (strlen(url) > NET_URL_MAX)
        return err_set(e, ERR_INVALID, "the URL is longer than %d bytes", NET_URL_MAX);
    CURLU *u = curl_url();
    if (!u)
        return err_set(e, ERR_NOMEM, "out of memory");
    int status = 0;
    if (!is_plain(url) ||
        curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
        status = err_set(e, ERR_INVALID,
                         "that is no URL: write https://host/path, with anything "
                         "unusual percent-encoded");
    if (!status) {
        (void)curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
        (void)curl_url_get(u, CURLUPART_USER, &user, 0);
        (void)curl_url_get(u, CURLUPART_PASSWORD, &password, 0);
        (void)curl_url_get(u, CURLUPART_HOST, &host, 0);
        (void)curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
        if (!scheme || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
            status = err_set(e, ERR_INVALID, "only http and https URLs are taken");
        else if (user || password)
            status = err_set(e, ERR_INVALID,
                             "a URL with a user name or password in it is not taken");
        else if (!host || !port)
            status = err_set(e, ERR_INVALID, "the URL has no host");
        else
            status = judge_target(g, host, port, e);
    }
    curl_free(scheme);
    curl_free(user);
    curl_free(password);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return status;
}

/* ---- showing -------------------------------------------------------------------- */

const char *net_url_origin(const char *url, char *out, size_t size)
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    CURLU *u = curl_url();
    out[0] = '\0';
    if (u && !curl_url_set(u, CURLUPART_URL, url, 0) &&
        !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
        !curl_url_get(u, CURLUPART_HOST, &host, 0)) {
        (void)curl_url_get(u, CURLUPART_PORT, &port, 0);
        (void)snprintf(out, size, "%s://%s%s%s", scheme, host, port ? ":" : "",
                       port ? port : "");
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return out;
}

const char *net_url_filename(const char *url, char *out, size_t size)
{
    char *path = NULL;
    CURLU *u = curl_url();
    out[0] = '\0';
    if (u && !curl_url_set(u, CURLUPART_URL, url, 0) &&
        !curl_url_get(u, CURLUPART_PATH, &path, CURLU_URLDECODE)) {
        const char *slash = strrchr(path, '/');
        (void)snprintf(out, size, "%s", slash ? slash + 1 : path);
    }
    curl_free(path);
    curl_url_cleanup(u);
    return out;
}
