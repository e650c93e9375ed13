/* Places that the settings name: the one for copies, and other machines by their names.
 */
#include "command/checks.h"

#include "backup/depot.h"
#include "base/fs.h"
#include "base/id.h"
#include "net/guard.h"

#include <netdb.h>
#include <string.h>

/* ---- copies ---------------------------------------------------------------------- */

struct heard {
    char text[ID_SIZE];
    size_t length;
};

static int hear(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct heard *h = arg;
    if (length >= sizeof h->text - h->length)
        return err_set(e, ERR_IO, "more comes back than was sent");
    memcpy(h->text + h->length, bytes, length);
    h->length += length;
    h->text[h->length] = '\0';
    return 0;
}

/* Something is put there, read and removed, as a copy is. */
static int try_depot(struct depot *d, struct err *e)
{
    char id[ID_SIZE], name[ID_SIZE + 8];
    struct depot_writer *w;
    struct heard h = {0};
    (void)snprintf(name, sizeof name, "probe/%s", id_new(id));
    int status = depot_begin(d, name, &w, e);
    if (status)
        return status;
    status = depot_write(w, id, strlen(id), e);
    if (status)
        depot_abort(w);
    else
        status = depot_finish(w, e);
    if (status)
        return status;
    status = depot_read(d, name, hear, &h, e);
    if (!status && strcmp(h.text, id) != 0)
        status = err_set(e, ERR_IO, "what it keeps is not what was sent");
    int gone = depot_remove(d, name, status ? NULL : e);
    return status ? status : gone;
}

static void check_bucket_of_copies(struct checks *k, const char *where)
{
    struct err e = {0};
    struct depot *d = NULL;
    int status = depot_open(&d, k->c, where, true, &e);
    if (!status)
        status = try_depot(d, &e);
    depot_close(d);
    if (status)
        check_say(k, CHECK_FAIL, "BACKUP_DIR",
                  "%s: %s; no copy can be made: correct BACKUP_DIR or the settings S3_…, "
                  "or let the key put, get and delete objects there",
                  where, e.message);
    else
        check_say(k, CHECK_OK, "BACKUP_DIR", "%s takes, gives and removes objects",
                  where);
}

void check_copies(struct checks *k)
{
    const char *folder = k->c->backup_dir;
    struct err e = {0};
    uint64_t bytes = 0;
    if (!folder) {
        check_say(k, CHECK_WARN, "BACKUP_DIR",
                  "not set, so there are no backups: set it to a folder on another disk");
        return;
    }
    if (!strncmp(folder, "s3://", 5)) {
        check_bucket_of_copies(k, folder);
        return;
    }
    int status = check_folder(folder, &e);
    if (!status)
        status = fs_free_bytes(folder, &bytes, &e);
    if (status)
        check_say(k, CHECK_FAIL, "BACKUP_DIR",
                  "%s: make the folder, and let the service's user write there",
                  e.message);
    else
        check_say(k, CHECK_OK, "BACKUP_DIR", "%s can be written and has %.1f GB free",
                  folder, (double)bytes / 1e9);
}

/* ---- names ----------------------------------------------------------------------- */

/* NULL when it leads somewhere, else why not. */
static const char *ask_for_name(const char *host)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(host, NULL, &hints, &found);
    if (status)
        return gai_strerror(status);
    freeaddrinfo(found);
    return NULL;
}

/* Networks and addresses need nobody to be asked. */
static void check_list(struct checks *k, const char *setting, const char *list)
{
    struct net_guard *guard;
    struct err e = {0};
    const char *host;
    size_t good = 0, bad = 0;
    if (!list)
        return;
    if (net_guard_new(&guard, list, &e)) {
        check_say(k, CHECK_FAIL, setting, "%s", e.message);
        return;
    }
    for (size_t i = 0; (host = net_guard_name(guard, i)); i++) {
        const char *why = *host ? ask_for_name(host) : NULL;
        good += *host && !why;
        bad += why != NULL;
        if (why)
            check_say(k, CHECK_WARN, setting,
                      "%s leads nowhere (%s): correct the name, or what this machine "
                      "asks for names (/etc/resolv.conf)",
                      host, why);
    }
    if (good && !bad)
        check_say(k, CHECK_OK, setting, "%zu name(s), each leads to an address", good);
    net_guard_free(guard);
}

void check_names(struct checks *k)
{
    if (k->c->url_fetch)
        check_list(k, "URL_FETCH_ALLOW", k->c->url_fetch_allow);
    check_list(k, "WEBHOOK_ALLOW", k->c->webhook_allow);
}
