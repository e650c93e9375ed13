/* Plain sentences for the reader of a transcript, made from its quality report alone.
 *
 * Few and of use: each says what is the matter, where, and what can be done. Limits that
 * are not obvious have their reason beside them. */
#include "format/json_out.h"
#include "format/transcript.h"

#include <math.h>
#include <stdio.h>

#define CLIPPED_SHARE    0.001f /* a thousandth is audible as a crackle on vowels */
#define QUIET_DBFS       -45.0f /* speech in good recordings lies at -30 to -15 */
#define LEFT_OUT_SHARE   0.5    /* more than half without speech is worth a line … */
#define LEFT_OUT_SECONDS 60.0   /* … unless it is short anyway */
#define UNSURE_LANGUAGE  0.5
#define UNSURE_SHARE     0.15 /* of the text */
#define OTHER_LANGUAGE   0.7f /* a vote that is so sure is told when it is another */
#define PLACES           3    /* named in a sentence; the others are counted */
#define SENTENCE_BYTES   600

struct teller {
    void (*tell)(void *arg, const char *sentence);
    void *arg;
    const struct transcript *t;
};

static void say(const struct teller *s, const struct buf *sentence)
{
    s->tell(s->arg, buf_cstr(sentence));
}

/* "3:07", "1:02:03" */
static void put_time(struct buf *out, double seconds)
{
    long s = lround(seconds < 0 ? 0 : seconds);
    if (s >= 3600)
        buf_printf(out, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        buf_printf(out, "%ld:%02ld", s / 60, s % 60);
}

/* What the notes of some kinds come to. */
struct tally {
    size_t count;
    double seconds;
};

static struct tally tally(const struct quality *q, unsigned kinds)
{
    struct tally sum = {0};
    for (size_t i = 0; i < q->n_notes; i++)
        if (kinds & 1u << q->notes[i].kind) {
            sum.count++;
            sum.seconds += q->notes[i].end - q->notes[i].start;
        }
    return sum;
}

/* "0:10, 1:20, 3:00 and 5 more places" */
static void put_places(struct buf *out, const struct quality *q, unsigned kinds)
{
    size_t count = tally(q, kinds).count, said = 0;
    for (size_t i = 0; i < q->n_notes && said < PLACES; i++) {
        if (!(kinds & 1u << q->notes[i].kind))
            continue;
        bool last = said + 1 == count;
        buf_str(out, !said ? "" : last ? " and " : ", ");
        put_time(out, q->notes[i].start);
        said++;
    }
    if (count > said)
        buf_printf(out, " and %zu more place%s", count - said,
                   count - said == 1 ? "" : "s");
}

/* ---- the sound ------------------------------------------------------------------- */

static void tell_level(const struct teller *s, struct buf *b)
{
    const struct quality *q = &s->t->quality;
    if (isinf(q->peak_dbfs) && q->audio_seconds > 0) {
        buf_str(b, "The recording is silent.");
    } else if (q->speech_seconds <= 0 && q->audio_seconds > 0) {
        buf_str(b, "No speech was found in the recording.");
    } else if (q->speech_dbfs < QUIET_DBFS) {
        buf_printf(b,
                   "Speech is very quiet (%.0f dBFS): words may be missing or wrong; a "
                   "recording with more gain will do better.",
                   (double)q->speech_dbfs);
    }
}

static void tell_clipping(const struct teller *s, struct buf *b)
{
    const struct quality *q = &s->t->quality;
    if (q->clipped_share > CLIPPED_SHARE)
        buf_printf(b,
                   "The sound is clipped (%.2g %% of it is at full scale): words may be "
                   "misheard; a recording with less gain will do better.",
                   (double)q->clipped_share * 100);
}

/* ---- what is not in the text ----------------------------------------------------- */

static void tell_no_text(const struct teller *s, struct buf *b)
{
    const struct quality *q = &s->t->quality;
    unsigned kinds = 1u << QUALITY_NO_TEXT;
    struct tally sum = tally(q, kinds);
    if (!sum.count)
        return;
    buf_printf(b, "Somebody seems to speak for %.0f s without a text, at ",
               ceil(sum.seconds));
    put_places(b, q, kinds);
    buf_str(b, ": listen there.");
}

static void tell_left_out(const struct teller *s, struct buf *b)
{
    const struct quality *q = &s->t->quality;
    double silent = q->audio_seconds - q->speech_seconds;
    if (q->speech_seconds <= 0 || silent < LEFT_OUT_SECONDS ||
        silent < LEFT_OUT_SHARE * q->audio_seconds)
        return;
    buf_str(b, "Speech was found in ");
    put_time(b, q->speech_seconds);
    buf_str(b, " of ");
    put_time(b, q->audio_seconds);
    buf_str(b, "; the rest was left out. Switch vad_filter off if words are missing.");
}

static void tell_taken_out(const struct teller *s, struct buf *b)
{
    const struct quality *q = &s->t->quality;
    unsigned kinds = 1u << QUALITY_HALLUCINATION;
    if (!tally(q, kinds).count)
        return;
    buf_str(b, "Text that nobody seems to have said was taken out at ");
    put_places(b, q, kinds);
    buf_char(b, '.');
}

static void tell_loops(const struct teller *s, struct buf *b)
{
    const struct quality *q = &s->t->quality;
    unsigned kinds = 1u << QUALITY_LOOP;
    if (!tally(q, kinds).count)
        return;
    buf_str(b, "The model repeated itself, which was mended, at ");
    put_places(b, q, kinds);
    buf_str(b, ": compare with the recording.");
}

/* ---- what is unsure -------------------------------------------------------------- */

static void tell_unsure_text(const struct teller *s, struct buf *b)
{
    const struct quality *q = &s->t->quality;
    unsigned kinds = 1u << QUALITY_LOW_CONFIDENCE;
    struct tally sum = tally(q, kinds);
    if (!(q->text_seconds > 0) || sum.seconds < UNSURE_SHARE * q->text_seconds)
        return;
    double share = sum.seconds / q->text_seconds;
    buf_printf(b, "%.0f %% of the text is unsure, at ", 100 * (share < 1 ? share : 1));
    put_places(b, q, kinds);
    buf_str(b, "; a larger model may know better.");
}

static const struct quality_vote *other_vote(const struct transcript *t)
{
    const struct quality *q = &t->quality;
    for (size_t i = 0; i < q->n_votes; i++)
        if (strcmp(q->votes[i].language, t->language) != 0 &&
            q->votes[i].probability > OTHER_LANGUAGE)
            return &q->votes[i];
    return NULL;
}

/* Where each window has its own language, none of them is the wrong one: but who asked
 * for no language may not know that there are several. */
static bool each_its_own(const struct transcript *t)
{
    return t->n_segments && t->segments[0].language[0];
}

static void tell_languages(const struct quality_vote *other, struct buf *b)
{
    if (!other)
        return;
    buf_str(b, "Several languages seem to be spoken (at ");
    put_time(b, other->start);
    buf_printf(b, " %s): each part is written in its own.", other->language);
}

static void tell_language(const struct teller *s, struct buf *b)
{
    const struct transcript *t = s->t;
    const struct quality_vote *other = other_vote(t);
    if (!t->language[0])
        return;
    if (each_its_own(t)) {
        tell_languages(other, b);
    } else if (other) {
        buf_str(b, "At ");
        put_time(b, other->start);
        buf_printf(b,
                   " the language seems to be %s, not %s: ask for multilingual if both "
                   "are spoken.",
                   other->language, t->language);
    } else if (t->language_probability < UNSURE_LANGUAGE) {
        buf_printf(
            b,
            "The language is unsure (%s, %.0f %%): if that is wrong, name the right one.",
            t->language_name[0] ? t->language_name : t->language,
            100 * t->language_probability);
    }
}

/* ---- all of it ------------------------------------------------------------------- */

void transcript_warnings(const struct transcript *t,
                         void (*tell)(void *arg, const char *sentence), void *arg)
{
    static void (*const rules[])(const struct teller *s, struct buf *b) = {
        tell_level, tell_no_text,     tell_language, tell_left_out,
        tell_loops, tell_unsure_text, tell_clipping, tell_taken_out};
    const struct teller s = {tell, arg, t};
    struct buf b;
    buf_init(&b, SENTENCE_BYTES);
    if (t->warning[0])
        tell(arg, t->warning);
    for (size_t i = 0; t->quality.known && i < sizeof rules / sizeof *rules; i++) {
        buf_reset(&b);
        rules[i](&s, &b);
        if (b.length)
            say(&s, &b);
    }
    buf_release(&b);
}

static void add_json(void *arg, const char *sentence)
{
    struct buf *out = arg;
    if (out->data[out->length - 1] != '[')
        buf_str(out, ", ");
    json_string_out(out, sentence);
}

void transcript_warnings_json(const struct transcript *t, struct buf *out)
{
    buf_char(out, '[');
    if (!buf_failed(out))
        transcript_warnings(t, add_json, out);
    buf_char(out, ']');
}
