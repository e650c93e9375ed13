/* When copies were made and tried last, for whoever watches. */
#include "backup/backup.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

#include <limits.h>
#include <string.h>

static void change(struct backup_state *s, enum backup_event event, int64_t bytes)
{
    int64_t now_ms = clock_wall_ms();
    switch (event) {
    case BACKUP_MADE:
        s->success_ms = now_ms;
        s->bytes = bytes;
        break;
    case BACKUP_FAILED:
        s->failure_ms = now_ms;
        break;
    case BACKUP_DRILLED:
        s->drill_success_ms = now_ms;
        break;
    case BACKUP_DRILL_FAILED:
        s->drill_failure_ms = now_ms;
        break;
    default:
        break;
    }
}

static bool state_path(const struct config *c, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s/" BACKUP_STATE_FILE, c->backup_dir);
    return strncmp(c->backup_dir, "s3://", 5) != 0 && n > 0 && n < PATH_MAX;
}

static int keep(const struct config *c, struct snapshot *database,
                const struct backup_state *s, struct err *e)
{
    char path[PATH_MAX];
    struct buf text;
    buf_init(&text, BACKUP_STATE_MAX);
    backup_state_compose(s, &text);
    int status =
        database ? snapshot_set(database, STORE_BACKUP_STATE, buf_cstr(&text), e) : 0;
    if (state_path(c, path)) {
        int other = fs_write_atomic(path, buf_cstr(&text), text.length, e);
        status = status ? status : other;
    }
    buf_release(&text);
    return status;
}

void backup_note(const struct config *c, enum backup_event event, int64_t bytes)
{
    char path[PATH_MAX];
    struct backup_state s = {0};
    struct snapshot *database = NULL;
    struct buf text;
    struct err e = {0};
    buf_init(&text, BACKUP_STATE_MAX);
    if (state_path(c, path) && !fs_read(path, &text, NULL))
        backup_state_merge(&s, buf_cstr(&text));
    buf_reset(&text);
    (void)snapshot_open(&database, c->database_url, NULL);
    if (database && !snapshot_setting(database, STORE_BACKUP_STATE, &text, NULL))
        backup_state_merge(&s, buf_cstr(&text));
    buf_release(&text);
    change(&s, event, bytes);
    if (keep(c, database, &s, &e))
        log_warning("it cannot be written down for /metrics: %s", e.message);
    snapshot_close(database);
}
