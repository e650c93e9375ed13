/* Administrators type `whisper-transcriber keys create` as root, beside a service that is
 * not. A database that root has written to (its write-ahead log, for one) is one that the
 * service cannot open any more, so root is given up first. */
#include "command/owner.h"

#include "command/cli.h"
#include "command/command.h"
#include "command/database.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What stands at `path`, else at the nearest folder above that is there. */
static int look(const char *path, struct stat *st)
{
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof copy)
        return -1;
    memcpy(copy, path, strlen(path) + 1);
    for (char *at = copy; stat(at, st); at = dirname(at))
        if (errno != ENOENT || !strcmp(at, ".") || !strcmp(at, "/"))
            return -1;
    return 0;
}

static int give_up_root(const struct stat *st)
{
    const struct passwd *user = getpwuid(st->st_uid);
    gid_t group = user ? user->pw_gid : st->st_gid;
    if (user ? initgroups(user->pw_name, group) : setgroups(1, &group))
        return -1;
    if (setgid(group) || setuid(st->st_uid))
        return -1;
    /* npm, for one, keeps files in it. */
    return user ? setenv("HOME", user->pw_dir, 1) : 0;
}

int owner_become(const char *path)
{
    struct stat st;
    if (geteuid() != 0 || look(path, &st) || st.st_uid == 0)
        return EXIT_OK;
    if (!give_up_root(&st))
        return EXIT_OK;
    cli_error("%s belongs to the user %u, as whom root could not go on: %s", path,
              (unsigned)st.st_uid, strerror(errno));
    return EXIT_ERROR;
}

int owner_become_of_data(const struct config *c)
{
    const char *file = database_file(c);
    return owner_become(file ? file : c->storage_dir);
}
