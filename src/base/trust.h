/* A clock that distrusts the wall clock, for a database that has no server whose clock
 * counts.
 *
 * What is old is deleted, for good. So an age must not come from a clock that somebody
 * has just set. Between two looks at the wall clock, time here is what the machine's time
 * since its start adds, which is as exact and which nobody sets. When the two part by
 * more than a few seconds, the wall clock has jumped, and nothing in the machine tells
 * which of both was right. There are three stories:
 *
 *   - It was right and is wrong now: a mistake, a host's clock, a bad time server. It
 * will come back, within minutes or an hour. Nothing may be deleted meanwhile, and what
 * is written down meanwhile must not have a time that is in the future later.
 *   - It was right, and is right again: the machine stood still (a virtual machine that
 * was paused), and the clock has caught up.
 *   - It was wrong and is right now: a machine without a battery, whose clock begins
 *     anywhere and is set by NTP soon after its start.
 *
 * So a new time is believed when it has stood for an hour; in the third story at once: in
 * the first hour after a start of the machine, when it leads forward. Until then it does
 * not count. When it is believed, what was written down by the old one since the jump
 * (or, in the third story, since the start) moves along: an upload that was begun a
 * minute ago is a minute old by the new time as well. Of what is older, the new time
 * decides.
 *
 * Believed is not sure. In the first hour after a start nobody knows how long the machine
 * was off, apart from the clock that may be wrong, so what is deleted goes by the last
 * time of the previous start, and from then on by the time that has passed since; after
 * the hour by the time that is believed. A clock that stays wrong for longer than an hour
 * is believed in the end: else one that was put right could stop the retention for ever.
 *
 * All of it is written down (trust_write), so that a service that is started again in the
 * meantime does not begin to believe a wrong clock. Times are milliseconds. Not
 * thread-safe. */
#ifndef BASE_TRUST_H
#define BASE_TRUST_H

#include <stdbool.h>
#include <stdint.h>

/* Differences of less are followed at once: so much is put right by NTP every now and
 * then.
 */
#define TRUST_SAME_MS 5000
/* So long a new time has to stand. */
#define TRUST_STAND_MS  INT64_C(3600000)
#define TRUST_BOOT_SIZE 40
#define TRUST_TEXT_SIZE 200

struct clock_trust {
    char boot[TRUST_BOOT_SIZE]; /* a name of this start of the machine */
    int64_t now_ahead_ms;       /* of the time since the start: what is believed */
    int64_t sure_ahead_ms;      /* never more than that */
    int64_t sure_at_ms;         /* since the start: it is sure then; 0: it is */
    bool parted;                /* the wall clock says something else: */
    int64_t wall_ahead_ms, parted_at_ms;
    int64_t since_ms; /* by what is believed: what moves along if it changes */
};

enum trust_news {
    TRUST_SAME,
    TRUST_PARTED,  /* the wall clock has jumped, by `by_ms` */
    TRUST_AGAIN,   /* it is back */
    TRUST_STEP,    /* it is believed: times from `since_ms` on are to move by `by_ms` */
    TRUST_CERTAIN, /* the time that was believed has become sure */
};

struct trust_step {
    int64_t by_ms, since_ms;
};

/* From what was written down before (NULL or nonsense: nothing), the name of this start
 * of the machine, the time since then, and the wall clock. */
void trust_begin(struct clock_trust *t, const char *text, const char *boot,
                 int64_t boot_ms, int64_t wall_ms);

/* Look at the wall clock. `step` is filled with TRUST_PARTED and TRUST_STEP. */
enum trust_news trust_look(struct clock_trust *t, int64_t boot_ms, int64_t wall_ms,
                           struct trust_step *step);

/* To be written down now and then, and after all news. Returns `out`. */
const char *trust_write(const struct clock_trust *t, int64_t boot_ms,
                        char out[TRUST_TEXT_SIZE]);

#endif
