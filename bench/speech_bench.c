/* Where the engine finds speech, for bench/speech.py:
 *
 *     speech-bench [DETECTOR] <LIST
 *
 * Each line of LIST names a recording, or after a tab also the one that it was made from
 * by making it worse; both 16-bit mono WAV files at 16 kHz. For each a line is printed:
 * frames of 10 ms, frames found to be speech, frames of the original that sound like
 * speech by their level, those of them that were found, and milliseconds of processor
 * time; then the spans, `start-end`. Without DETECTOR speech is told by level alone. */
#include "base/fs.h"
#include "base/mem.h"
#include "engine/speech.h"
#include "engine/vad.h"

#include <math.h>
#include <time.h>

#define HEADER    44
#define MAX_BYTES ((size_t)2 << 30)
#define BELOW     20 /* dB below the loud frames what sounds may be … */
#define ABOVE     3  /* … and so far it must be above the background */

static float *read_wav(const char *path, size_t *n)
{
    struct buf file;
    struct err e;
    buf_init(&file, MAX_BYTES);
    if (fs_read(path, &file, &e)) {
        fprintf(stderr, "%s\n", e.message);
        exit(1);
    }
    *n = file.length < HEADER ? 0 : (file.length - HEADER) / 2;
    float *samples = mem_array(*n, sizeof *samples);
    for (size_t i = 0; samples && i < *n; i++) {
        int16_t value;
        memcpy(&value, file.data + HEADER + 2 * i, sizeof value);
        samples[i] = (float)value / 32768.0f;
    }
    buf_release(&file);
    return samples;
}

static const struct whisper_vad_options *options(void)
{
    static struct whisper_params p;
    whisper_params_init(&p);
    return &p.vad;
}

/* The frames of the original that sound: near its loud ones and above its background. */
static void measure(struct speech *s, const char *path)
{
    size_t n;
    float *samples = read_wav(path, &n);
    if (!samples || speech_all(s, samples, n, NULL))
        exit(1);
    free(samples);
}

static int sounding_level(const struct speech *s)
{
    int loud = speech_loudness(s, 0, s->total_frames, 0.99) - BELOW;
    int background = speech_loudness(s, 0, s->total_frames, 0.05) + ABOVE;
    return loud > background ? loud : background;
}

static void report(const char *original, const char *heard, const struct vad *vad)
{
    struct speech found = {0}, truth = {0};
    struct err e;
    size_t n;
    float *samples = read_wav(heard, &n);
    clock_t began = clock();
    if (!samples || speech_find(&found, vad, NULL, samples, n, options(), NULL, NULL, &e))
        exit(1);
    double ms = (double)(clock() - began) * 1000 / CLOCKS_PER_SEC;
    measure(&truth, original);
    int level = sounding_level(&truth);
    long sounding = 0, kept = 0;
    for (int64_t i = 0; i < truth.total_frames; i++) {
        bool sounds = truth.levels[i] >= level;
        sounding += sounds;
        kept += sounds && speech_at(&found, i);
    }
    printf("%ld\t%.0f\t%ld\t%ld\t%.1f\t", (long)found.total_frames,
           speech_seconds(&found, 0, found.total_frames) * 100, sounding, kept, ms);
    for (size_t i = 0; i < found.n_spans; i++)
        printf("%s%ld-%ld", i ? " " : "", (long)found.spans[i].start_frame,
               (long)found.spans[i].end_frame);
    putchar('\n');
    speech_release(&found);
    speech_release(&truth);
    free(samples);
}

int main(int argc, char **argv)
{
    struct vad *vad = NULL;
    struct err e;
    char line[8192];
    if (argc > 1 && vad_open(&vad, argv[1], &e)) {
        fprintf(stderr, "%s\n", e.message);
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        char *original = strchr(line, '\t');
        if (original)
            *original++ = '\0';
        report(original ? original : line, line, vad);
        fflush(stdout);
    }
    vad_close(vad);
    return 0;
}
