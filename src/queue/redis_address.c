#include "queue/redis_address.h"

#include "base/mem.h"

#include <curl/curl.h>
#include <sys/un.h>

#define DEFAULT_PORT 6379
#define MAX_DATABASE 65535

void redis_address_release(struct redis_address *a)
{
    if (!a)
        return;
    free(a->host);
    free(a->path);
    free(a->user);
    free(a->password);
    free(a->ca_file);
    *a = (struct redis_address){0};
}

static int refuse(struct err *e, const char *what)
{
    return err_set(
        e, ERR_INVALID,
        "REDIS_URL: %s; write redis://[user:password@]host:port/db, rediss://… "
        "for TLS, or unix:///path?db=N; in a password, : / ? # @ and %% are "
        "written as %%3A %%2F %%3F %%23 %%40 and %%25",
        what);
}

/* A part of the URL, decoded: a new string in *out, NULL when there is none. */
static int part(CURLU *url, CURLUPart what, char **out, struct err *e)
{
    char *text = NULL;
    CURLUcode rc = curl_url_get(url, what, &text, CURLU_URLDECODE);
    *out = NULL;
    if (rc == CURLUE_NO_USER || rc == CURLUE_NO_PASSWORD || rc == CURLUE_NO_PORT ||
        rc == CURLUE_NO_QUERY || rc == CURLUE_NO_HOST)
        return 0;
    if (rc == CURLUE_OUT_OF_MEMORY)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (rc)
        return refuse(e, "it cannot be read");
    *out = mem_strdup(text && *text ? text : NULL);
    bool missing = text && *text && !*out;
    curl_free(text);
    return missing ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

static int number(const char *text, int most, int *out, struct err *e)
{
    size_t length = strlen(text);
    if (length == 0 || length > 9 || text[strspn(text, "0123456789")])
        return refuse(e, "the database is no number");
    *out = (int)strtol(text, NULL, 10);
    return *out > most ? refuse(e, "a number in it is too large") : 0;
}

/* The path is "/DATABASE", or nothing. */
static int network_place(struct redis_address *a, CURLU *url, struct err *e)
{
    char *path = NULL, *port = NULL, *query = NULL;
    int status = part(url, CURLUPART_HOST, &a->host, e);
    if (!status && !a->host)
        status = refuse(e, "it names no host");
    if (!status)
        status = part(url, CURLUPART_PORT, &port, e);
    a->port = DEFAULT_PORT;
    if (!status && port)
        status = number(port, 65535, &a->port, e);
    if (!status)
        status = part(url, CURLUPART_QUERY, &query, e);
    if (!status && query)
        status = refuse(e, "it has something behind a question mark");
    if (!status)
        status = part(url, CURLUPART_PATH, &path, e);
    if (!status && path && strcmp(path, "/") != 0)
        status = number(path + 1, MAX_DATABASE, &a->database, e);
    free(path);
    free(port);
    free(query);
    return status;
}

static int socket_place(struct redis_address *a, CURLU *url, struct err *e)
{
    char *query = NULL, *host = NULL;
    int status = part(url, CURLUPART_HOST, &host, e);
    if (!status && (!host || strcmp(host, "localhost") != 0))
        status = refuse(e, "behind unix:// comes a path that begins with a slash");
    free(host);
    if (!status)
        status = part(url, CURLUPART_PATH, &a->path, e);
    if (!status && (!a->path || !strcmp(a->path, "/")))
        status = refuse(e, "it names no socket");
    if (!status && strlen(a->path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        status = refuse(e, "the path of the socket is too long");
    if (!status)
        status = part(url, CURLUPART_QUERY, &query, e);
    if (!status && query && strncmp(query, "db=", 3) != 0)
        status = refuse(e, "what is behind the question mark is not db=N");
    if (!status && query)
        status = number(query + 3, MAX_DATABASE, &a->database, e);
    free(query);
    return status;
}

/* The URL of a socket has no host; one is put in, because curl wants it. */
static char *with_host(const char *url)
{
    static const char scheme[] = "unix://";
    const char *rest = url + strlen(scheme);
    size_t before = strcspn(rest, "/");
    char *out = NULL;
    if (before && rest[before - 1] != '@')
        return strdup(url);
    if (asprintf(&out, "%s%.*slocalhost%s", scheme, (int)before, rest, rest + before) < 0)
        return NULL;
    return out;
}

int redis_address_parse(struct redis_address *out, const char *url, const char *ca_file,
                        struct err *e)
{
    bool local = !strncmp(url, "unix://", 7);
    *out = (struct redis_address){0};
    out->tls = !strncmp(url, "rediss://", 9);
    if (!local && !out->tls && strncmp(url, "redis://", 8) != 0)
        return refuse(e, "it begins with none of redis://, rediss:// and unix://");
    CURLU *u = curl_url();
    char *whole = local ? with_host(url) : strdup(url);
    int status = u && whole ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    if (!status && curl_url_set(u, CURLUPART_URL, whole, CURLU_NON_SUPPORT_SCHEME))
        status = refuse(e, "it cannot be read");
    free(whole);
    if (!status)
        status = local ? socket_place(out, u, e) : network_place(out, u, e);
    if (!status)
        status = part(u, CURLUPART_USER, &out->user, e);
    if (!status)
        status = part(u, CURLUPART_PASSWORD, &out->password, e);
    if (!status && out->user && !out->password)
        status = refuse(e, "it names a user without a password");
    if (!status && ca_file && *ca_file && !(out->ca_file = strdup(ca_file)))
        status = err_set(e, ERR_NOMEM, "out of memory");
    curl_url_cleanup(u);
    if (status)
        redis_address_release(out);
    return status;
}

const char *redis_address_print(const struct redis_address *a, char *out, size_t size)
{
    if (a->path)
        (void)snprintf(out, size, "unix://%s?db=%d", a->path, a->database);
    else
        (void)snprintf(out, size, "redis%s://%s:%d/%d", a->tls ? "s" : "", a->host,
                       a->port, a->database);
    return out;
}
