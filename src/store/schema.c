#include "store/schema.h"

#include "base/log.h"

static const char *file_of(const char *url)
{
    static const char scheme[] = "sqlite:///";
    return strncmp(url, scheme, strlen(scheme)) ? NULL : url + strlen(scheme);
}

int store_schema_look(const char *url, struct store_schema *out, struct err *e)
{
    const char *file = file_of(url);
    return file ? sqlite_schema_look(file, out, e) : pg_schema_look(url, out, e);
}

int store_schema_move(const char *url, int to, struct err *e)
{
    const char *file = file_of(url);
    return file ? sqlite_schema_move(file, to, e) : pg_schema_move(url, to, e);
}

int store_schema_judge(const struct store_schema *s, const char *name, struct err *e)
{
    if (s->needs > s->known)
        return err_set(
            e, ERR_UNSUPPORTED,
            "the database %s was written by a newer version of this program (schema %d; "
            "this one knows up to %d, and %d is needed): install that version again and "
            "take it back with `whisper-transcriber migrate down --to %d`, or restore a "
            "backup from before the upgrade",
            name, s->version, s->known, s->needs, s->known);
    if (s->version > s->known)
        log_info(
            "the database is of a newer version (schema %d; this one knows up to %d) "
            "that allows this one",
            s->version, s->known);
    return 0;
}

int store_schema_unknown(int version, int known, struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED,
                   "the database has schema %d, and this program knows only up to %d: "
                   "take it back with the version that made it",
                   version, known);
}

int store_schema_no_way_back(int version, struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED,
                   "schema %d has no way back: restore a backup from before the upgrade",
                   version);
}
