#include "base/trust.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what was written down ------------------------------------------------------- */

enum { FIELD_SEEN, FIELD_NOW, FIELD_SURE, FIELD_SURE_AT, FIELD_SINCE, FIELDS };

/* "BOOT SEEN NOW SURE SURE_AT SINCE". False for anything else. */
static bool read_text(const char *text, char boot[TRUST_BOOT_SIZE], int64_t field[FIELDS])
{
    size_t length = text ? strcspn(text, " ") : 0;
    if (!length || length >= TRUST_BOOT_SIZE)
        return false;
    memcpy(boot, text, length);
    boot[length] = '\0';
    text += length;
    for (int i = 0; i < FIELDS; i++) {
        char *end;
        errno = 0;
        field[i] = *text == ' ' ? strtoll(text + 1, &end, 10) : 0;
        if (*text != ' ' || end == text + 1 || errno || field[i] > INT64_MAX / 4 ||
            field[i] < -INT64_MAX / 4)
            return false;
        text = end;
    }
    return !*text;
}

const char *trust_write(const struct clock_trust *t, int64_t boot_ms,
                        char out[TRUST_TEXT_SIZE])
{
    (void)snprintf(out, TRUST_TEXT_SIZE, "%s %lld %lld %lld %lld %lld", t->boot,
                   (long long)(boot_ms + t->now_ahead_ms), (long long)t->now_ahead_ms,
                   (long long)t->sure_ahead_ms, (long long)t->sure_at_ms,
                   (long long)t->since_ms);
    return out;
}

/* ---- beginning ------------------------------------------------------------------- */

/* The machine was started since: how long it was off, only its clock can say, and that
 * may be wrong as long as nobody has had the time to set it. It is not earlier than what
 * was written down, or something would be older than its own beginning. */
static void begin_anew(struct clock_trust *t, int64_t seen_ms, int64_t boot_ms,
                       int64_t wall_ms)
{
    int64_t now_ms = wall_ms > seen_ms ? wall_ms : seen_ms;
    t->now_ahead_ms = t->sure_ahead_ms = now_ms - boot_ms;
    t->since_ms = now_ms;
    if (boot_ms >= TRUST_STAND_MS)
        return;
    t->sure_at_ms = TRUST_STAND_MS;
    if (seen_ms)
        t->sure_ahead_ms = seen_ms - boot_ms;
}

void trust_begin(struct clock_trust *t, const char *text, const char *boot,
                 int64_t boot_ms, int64_t wall_ms)
{
    char old[TRUST_BOOT_SIZE];
    int64_t field[FIELDS] = {0};
    bool known = read_text(text, old, field);
    *t = (struct clock_trust){0};
    (void)snprintf(t->boot, sizeof t->boot, "%s", *boot ? boot : "-");
    /* A container may have a time since its start of its own: it must not go back. */
    if (!known || strcmp(old, t->boot) != 0 || !strcmp(old, "-") ||
        field[FIELD_SEEN] > boot_ms + field[FIELD_NOW]) {
        begin_anew(t, known ? field[FIELD_SEEN] : 0, boot_ms, wall_ms);
        return;
    }
    t->now_ahead_ms = field[FIELD_NOW];
    t->sure_ahead_ms =
        field[FIELD_SURE] < field[FIELD_NOW] ? field[FIELD_SURE] : field[FIELD_NOW];
    t->sure_at_ms = field[FIELD_SURE_AT];
    t->since_ms = field[FIELD_SINCE];
}

/* ---- looking --------------------------------------------------------------------- */

static bool is_same(int64_t a, int64_t b)
{
    return a - b <= TRUST_SAME_MS && b - a <= TRUST_SAME_MS;
}

static enum trust_news agree(struct clock_trust *t, int64_t boot_ms, int64_t ahead_ms)
{
    bool was_parted = t->parted, certain = t->sure_at_ms && boot_ms >= t->sure_at_ms;
    t->parted = false;
    t->now_ahead_ms = ahead_ms;
    if (certain)
        t->sure_at_ms = 0;
    if (!t->sure_at_ms || t->sure_ahead_ms > ahead_ms)
        t->sure_ahead_ms = ahead_ms;
    return was_parted ? TRUST_AGAIN : certain ? TRUST_CERTAIN : TRUST_SAME;
}

static void believe(struct clock_trust *t, int64_t boot_ms, int64_t ahead_ms, bool stood)
{
    t->since_ms += ahead_ms - t->now_ahead_ms;
    t->now_ahead_ms = ahead_ms;
    t->parted = false;
    t->sure_at_ms = stood ? 0 : boot_ms + TRUST_STAND_MS;
    if (stood || t->sure_ahead_ms > ahead_ms)
        t->sure_ahead_ms = ahead_ms;
}

enum trust_news trust_look(struct clock_trust *t, int64_t boot_ms, int64_t wall_ms,
                           struct trust_step *step)
{
    int64_t ahead_ms = wall_ms - boot_ms;
    if (is_same(ahead_ms, t->now_ahead_ms))
        return agree(t, boot_ms, ahead_ms);
    bool jumped = !t->parted || !is_same(ahead_ms, t->wall_ahead_ms);
    step->by_ms = ahead_ms - t->now_ahead_ms;
    if (jumped) {
        /* Of what is written down in the first hour, none has a time that is sure. */
        if (!t->parted && !t->sure_at_ms)
            t->since_ms = boot_ms + t->now_ahead_ms;
        t->parted = true;
        t->wall_ahead_ms = ahead_ms;
        t->parted_at_ms = boot_ms;
    }
    bool stood = boot_ms - t->parted_at_ms >= TRUST_STAND_MS;
    if (!stood && !(t->sure_at_ms && boot_ms < t->sure_at_ms && step->by_ms > 0))
        return jumped ? TRUST_PARTED : TRUST_SAME;
    step->since_ms = t->since_ms;
    believe(t, boot_ms, ahead_ms, stood);
    return TRUST_STEP;
}
