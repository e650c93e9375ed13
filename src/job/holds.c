#include "job/holds.h"

#include "base/clock.h"
#include "format/text.h"

static int check_reason(const char *reason, struct err *e)
{
    size_t length = reason ? strlen(reason) : 0;
    if (!length || length > STORE_HOLD_REASON_MAX)
        return err_set(e, ERR_INVALID,
                       "a hold needs a reason of 1 to %d bytes, which says why the job "
                       "must be kept",
                       STORE_HOLD_REASON_MAX);
    for (const char *p = reason; *p;) {
        uint32_t c = text_next(&p);
        if (c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xFFFD)
            return err_set(e, ERR_INVALID,
                           "the reason of a hold is plain UTF-8 without control "
                           "characters");
    }
    return 0;
}

static int check_id(const char *id, struct err *e)
{
    return id_valid(id) ? 0 : err_set(e, ERR_NOT_FOUND, "there is no job of that name");
}

int holds_place(struct store *s, const char *id, const char *reason,
                const struct key_actor *actor, struct err *e)
{
    struct store_hold hold = {.placed_ms = clock_now_ms()};
    int status = check_id(id, e);
    if (!status)
        status = check_reason(reason, e);
    if (status)
        return status;
    memcpy(hold.job_id, id, ID_SIZE);
    (void)snprintf(hold.reason, sizeof hold.reason, "%s", reason);
    (void)snprintf(hold.placed_by, sizeof hold.placed_by, "%s",
                   *actor->caller ? actor->caller : actor->client);
    status = store_hold_set(s, &hold, e);
    if (!status)
        audit_note(s, "hold_placed", actor, "%s: %.180s", id, reason);
    return status;
}

int holds_take_back(struct store *s, const char *id, const struct key_actor *actor,
                    struct err *e)
{
    int status = check_id(id, e);
    if (!status)
        status = store_hold_drop(s, id, e);
    if (!status)
        audit_note(s, "hold_taken_back", actor, "%s", id);
    return status;
}

json_t *hold_json(const struct store_hold *h, bool all)
{
    char when[CLOCK_ISO_SIZE];
    json_t *o = json_pack("{s:s}", "since", clock_iso(h->placed_ms, when));
    if (o && all &&
        (json_object_set_new(o, "reason", json_string(h->reason)) ||
         json_object_set_new(o, "placed_by", json_string(h->placed_by)))) {
        json_decref(o);
        return NULL;
    }
    return o;
}
