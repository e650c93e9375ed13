#include "engine/verdict.h"

#include "base/mem.h"
#include "engine/loop.h"

/* Times are not exact: a segment's text may lie so much outside of it. */
#define SLACK_FRAMES 100
/* A pace is the fastest that anybody speaks; letters are not exact either. */
#define RATE_TOLERANCE 1.25f
/* So often, and so long, and it is worth a second hearing. */
#define SUSPECT_REPEATS 4
#define SUSPECT_SECONDS 1.5f

int verdict_needed(const struct special_tokens *special, const uint8_t *paces,
                   const int32_t *tokens, size_t count)
{
    int sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (tokens[i] < special->eot)
            sum += paces[tokens[i]];
    }
    return sum;
}

static int needed_frames(const struct testimony *t, size_t from, size_t to)
{
    return verdict_needed(t->special, t->paces, t->tokens + from, to - from);
}

static int clamp(const struct testimony *t, int frame)
{
    return frame < 0 ? 0 : frame < t->frames ? frame : t->frames;
}

/* Frames in which somebody speaks within [from, to), or all that there are. */
static int spoken_frames(const struct testimony *t, int from, int to)
{
    from = clamp(t, from);
    to = clamp(t, to);
    if (to <= from)
        return 0;
    return t->spoken ? t->spoken[to] - t->spoken[from] : to - from;
}

static bool too_fast(int needed, int available)
{
    return (float)needed > RATE_TOLERANCE * (float)available + SLACK_FRAMES / 2;
}

/* Has some segment, or the whole window, more text than there is time to speak it? */
static bool is_impossible(const struct testimony *t)
{
    for (size_t i = 0; i < t->n_pieces; i++) {
        const struct piece *p = &t->pieces[i];
        int available =
            spoken_frames(t, p->start_frame - SLACK_FRAMES, p->end_frame + SLACK_FRAMES);
        if (too_fast(needed_frames(t, p->from, p->to), available))
            return true;
    }
    return too_fast(needed_frames(t, 0, t->count), spoken_frames(t, 0, t->frames));
}

enum verdict verdict(const struct testimony *t)
{
    struct loop l = loop_find(t->special, t->paces, t->tokens, t->count,
                              (float)t->frames / WHISPER_FRAMES_PER_SECOND);
    if (loop_is_impossible(&l) || is_impossible(t))
        return VERDICT_CERTAIN;
    if (t->segment_repetitive)
        return VERDICT_LIKELY;
    if (t->repetitive ||
        (l.repeats >= SUSPECT_REPEATS && l.needed_seconds >= SUSPECT_SECONDS))
        return VERDICT_SUSPECT;
    return VERDICT_FINE;
}

/* ---- likeness --------------------------------------------------------------------- */

static size_t text_of(const struct special_tokens *special, const int32_t *tokens,
                      size_t n, int32_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < special->eot)
            out[count++] = tokens[i];
    }
    return count;
}

/* Length of the longest common subsequence; row [n_b + 1] is scratch, all 0. */
static size_t common(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b,
                     size_t *row)
{
    for (size_t i = 0; i < n_a; i++) {
        size_t diagonal = 0;
        for (size_t j = 0; j < n_b; j++) {
            size_t above = row[j + 1];
            if (a[i] == b[j])
                row[j + 1] = diagonal + 1;
            else if (row[j] > above)
                row[j + 1] = row[j];
            diagonal = above;
        }
    }
    return row[n_b];
}

/* Tokens of text in a, in b, and in both of them in order. */
struct comparison {
    size_t left, right, common;
};

static int compare(const struct special_tokens *special, const int32_t *a, size_t n_a,
                   const int32_t *b, size_t n_b, struct comparison *out)
{
    int32_t *texts = mem_array(n_a + n_b + 1, sizeof(*texts));
    size_t *row = mem_array(n_b + 1, sizeof(*row));
    int rc = texts && row ? 0 : ERR_NOMEM;
    if (rc == 0) {
        out->left = text_of(special, a, n_a, texts);
        out->right = text_of(special, b, n_b, texts + out->left);
        out->common = common(texts, out->left, texts + out->left, out->right, row);
    }
    free(texts);
    free(row);
    return rc;
}

static float share(size_t part, size_t whole)
{
    return whole == 0 ? 1 : (float)part / (float)whole;
}

int verdict_likeness(const struct special_tokens *special, const int32_t *a, size_t n_a,
                     const int32_t *b, size_t n_b, float *likeness)
{
    struct comparison c;
    int rc = compare(special, a, n_a, b, n_b, &c);
    if (rc == 0)
        *likeness = share(c.common, c.left > c.right ? c.left : c.right);
    return rc;
}

int verdict_kept(const struct special_tokens *special, const int32_t *a, size_t n_a,
                 const int32_t *b, size_t n_b, float *kept)
{
    struct comparison c;
    int rc = compare(special, a, n_a, b, n_b, &c);
    if (rc == 0)
        *kept = share(c.common, c.left);
    return rc;
}
