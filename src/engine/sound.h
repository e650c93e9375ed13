/* Where sound is within a window, for the edges of words. */
#ifndef ENGINE_SOUND_H
#define ENGINE_SOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Frames are mel frames, 10 ms each. */
enum sound {
    SOUND_LOUD,  /* above the threshold */
    SOUND_SHORT, /* quiet, but not long: the closure of a p or a t */
    SOUND_PAUSE  /* quiet for SOUND_PAUSE_FRAMES or more, or up to an end of the window */
};

#define SOUND_PAUSE_FRAMES 8

/* What every frame is, by its own level (dB above -100, as in speech.h) and what the
 * window's loudest and quietest are: out [frames], frames >= 1. A quiet stretch at one of
 * `cuts` (ascending, within the window) is a pause too, however short. */
void sound_find(const uint8_t *levels, size_t frames, const int *cuts, size_t n_cuts,
                uint8_t *out);

/* Move edges of words, in frames, that touch a pause (what is between end[i - 1] and
 * start[i], or before the first or behind the last) to where the sound itself begins or
 * ends: a word does not begin in the silence before it or end in the one behind it, and
 * sound of a word is not cut off. Edges never pass each other. */
void sound_snap(const uint8_t *sound, size_t frames, size_t *start, size_t *end,
                size_t n_words);

#endif
