#include "engine/sound.h"

#include <string.h>

#define LEVELS 256

/* The window's loudest speech lies this far above what is quiet at most (dB); a voice
 * that fades lies above that. */
#define BELOW_LOUD 33
/* And so far above the background, unless there is little between both. */
#define ABOVE_FLOOR    10
#define SHARE_OF_RANGE 0.35

/* An edge looks so far for its sound. */
#define REACH_BACK 6
#define REACH_ON   25
#define LEAST      3 /* frames that a word keeps */

/* ---- levels ------------------------------------------------------------------------ */

static int centile(const size_t histogram[LEVELS], size_t total, double share)
{
    size_t wanted = (size_t)(share * (double)total), seen = 0;
    for (int i = 0; i < LEVELS; i++) {
        seen += histogram[i];
        if (seen > wanted)
            return i;
    }
    return LEVELS - 1;
}

/* Frames of at most this level are quiet. */
static int quiet_level(const uint8_t *levels, size_t frames)
{
    size_t histogram[LEVELS] = {0};
    for (size_t i = 0; i < frames; i++)
        histogram[levels[i]]++;
    int loud = centile(histogram, frames, 0.95), floor = centile(histogram, frames, 0.05);
    double rise = SHARE_OF_RANGE * (loud - floor);
    int background = floor + (rise < ABOVE_FLOOR ? (int)rise : ABOVE_FLOOR);
    return background > loud - BELOW_LOUD ? background : loud - BELOW_LOUD;
}

static void mark(uint8_t *out, size_t from, size_t to, bool at_end)
{
    bool pause = at_end || to - from >= SOUND_PAUSE_FRAMES;
    memset(out + from, pause ? SOUND_PAUSE : SOUND_SHORT, to - from);
}

void sound_find(const uint8_t *levels, size_t frames, const int *cuts, size_t n_cuts,
                uint8_t *out)
{
    int quiet = quiet_level(levels, frames);
    size_t next_cut = 0, from = 0;
    bool began_at_end = true; /* of the window, or at a cut */
    for (size_t i = 0; i <= frames; i++) {
        bool at_cut = next_cut < n_cuts && (size_t)cuts[next_cut] == i;
        bool at_end = i == frames || at_cut;
        if (at_end || levels[i] > quiet) {
            mark(out, from, i, began_at_end || at_end);
            from = i;
            began_at_end = at_end;
        }
        next_cut += at_cut;
        if (i < frames && levels[i] > quiet) {
            out[i] = SOUND_LOUD;
            from = i + 1;
            began_at_end = false;
        }
    }
}

/* ---- edges ------------------------------------------------------------------------- */

/* Where the sound begins that is at or behind `at`, within [least, most]. */
static size_t snap_start(const uint8_t *sound, size_t at, size_t least, size_t most)
{
    size_t i = at;
    if (sound[i] == SOUND_LOUD) {
        while (i > least && i + REACH_BACK > at && sound[i - 1] == SOUND_LOUD)
            i--;
        return i;
    }
    while (i < most && sound[i] != SOUND_LOUD)
        i++;
    return i < most ? i : at;
}

/* Where the sound ends that is before `at`. */
static size_t snap_end(const uint8_t *sound, size_t at, size_t least, size_t most)
{
    size_t i = at;
    if (sound[i - 1] == SOUND_LOUD) {
        while (i < most && i < at + REACH_ON && sound[i] == SOUND_LOUD)
            i++;
        return i;
    }
    while (i > least && sound[i - 1] != SOUND_LOUD)
        i--;
    return i > least ? i : at;
}

void sound_snap(const uint8_t *sound, size_t frames, size_t *start, size_t *end,
                size_t n_words)
{
    for (size_t i = 0; i < n_words; i++) {
        size_t before = i ? end[i - 1] : 0;
        size_t behind = i + 1 < n_words ? start[i + 1] : frames;
        if (start[i] > before && end[i] > start[i] + LEAST)
            start[i] = snap_start(sound, start[i], before, end[i] - LEAST);
        if (end[i] < behind && end[i] > start[i] + LEAST)
            end[i] = snap_end(sound, end[i], start[i] + LEAST, behind);
    }
}
