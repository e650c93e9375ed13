/* The quality report as JSON and back. Notes are told by kind, in lists that a program
 * can use one by one; the order within each kind is kept. */
#include "format/json_in.h"
#include "format/json_out.h"
#include "format/text.h"
#include "format/transcript.h"

#include "base/mem.h"

#include <math.h>

#define MAX_ITEMS   2000000
#define MAX_REPEATS (1 << 24) /* as a float, a count is exact up to here */

static const char *const remedies[REMEDY_COUNT] = {
    [REMEDY_NONE] = "none",
    [REMEDY_RESAMPLED] = "resampled",
    [REMEDY_SPLIT] = "split",
    [REMEDY_CUT] = "cut",
};

/* In which list a kind is told, and what its note's value is called. */
static const struct shape {
    const char *list, *reason, *value;
} shapes[QUALITY_KINDS] = {
    [QUALITY_NON_SPEECH] = {"dropped", "non_speech", NULL},
    [QUALITY_NO_SPEECH] = {"dropped", "no_speech", "probability"},
    [QUALITY_HALLUCINATION] = {"dropped", "hallucination", NULL},
    [QUALITY_LOOP] = {"loops", NULL, "repeats"},
    [QUALITY_HEARD_AGAIN] = {"heard_again", NULL, NULL},
    [QUALITY_NO_TEXT] = {"no_text", NULL, NULL},
    [QUALITY_LOW_CONFIDENCE] = {"low_confidence", NULL, "avg_logprob"},
};

/* Each list once, in this order. */
static const char *const lists[] = {"dropped", "loops", "heard_again", "no_text",
                                    "low_confidence"};

/* ---- out ------------------------------------------------------------------------- */

static void write_span(struct buf *out, double start, double end)
{
    buf_str(out, "{\"start\": ");
    text_double(out, start);
    json_more_double(out, "end", end);
}

static void write_note(struct buf *out, const struct quality_note *n)
{
    const struct shape *s = &shapes[n->kind];
    write_span(out, n->start, n->end);
    if (s->reason)
        json_more_text(out, "reason", s->reason);
    if (n->kind == QUALITY_LOOP)
        json_more_text(out, "remedy", remedies[n->remedy]);
    if (n->kind == QUALITY_LOOP && n->value >= 0 && n->value < 1e6f &&
        n->value == rintf(n->value))
        buf_printf(out, ", \"%s\": %d", s->value, (int)n->value); /* a count */
    else if (s->value)
        json_more_float(out, s->value, n->value);
    if (n->text)
        json_more_text(out, "text", n->text);
    buf_char(out, '}');
}

static void write_list(struct buf *out, const struct quality *q, const char *list)
{
    bool any = false;
    buf_printf(out, "\"%s\": [", list);
    for (size_t i = 0; i < q->n_notes; i++) {
        if (strcmp(shapes[q->notes[i].kind].list, list) != 0)
            continue;
        buf_str(out, any ? ", " : "");
        write_note(out, &q->notes[i]);
        any = true;
    }
    buf_str(out, "], ");
}

static void write_votes(struct buf *out, const struct quality *q)
{
    buf_str(out, "\"language_votes\": [");
    for (size_t i = 0; i < q->n_votes; i++) {
        const struct quality_vote *v = &q->votes[i];
        buf_str(out, i ? ", " : "");
        write_span(out, v->start, v->end);
        json_more_text(out, "language", v->language);
        json_more_float(out, "probability", v->probability);
        buf_char(out, '}');
    }
    buf_char(out, ']');
}

static void write_figures(struct buf *out, const struct quality *q)
{
    buf_str(out, "\"audio_seconds\": ");
    text_double(out, q->audio_seconds);
    json_more_double(out, "speech_seconds", q->speech_seconds);
    json_more_double(out, "text_seconds", q->text_seconds);
    json_more_text(out, "detector", q->detector);
    json_more_float(out, "peak_dbfs", q->peak_dbfs);
    json_more_float(out, "speech_dbfs", q->speech_dbfs);
    json_more_float(out, "clipped_share", q->clipped_share);
    buf_str(out, ", ");
}

void json_quality_out(struct buf *out, const struct transcript *t)
{
    const struct quality *q = &t->quality;
    buf_char(out, '{');
    if (q->known)
        write_figures(out, q);
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++)
        write_list(out, q, lists[i]);
    write_votes(out, q);
    if (q->known) {
        buf_str(out, ", \"warnings\": ");
        transcript_warnings_json(t, out);
    }
    buf_char(out, '}');
}

void transcript_quality_json(const struct transcript *t, struct buf *out)
{
    if (quality_exists(&t->quality))
        json_quality_out(out, t);
}

/* ---- in -------------------------------------------------------------------------- */

/* The index of object[key] among `count` names; -1. */
static int which(const json_t *object, const char *key, const char *const *names,
                 int count)
{
    const char *name = json_string_value(json_object_get(object, key));
    for (int i = 0; name && i < count; i++)
        if (names[i] && !strcmp(name, names[i]))
            return i;
    return -1;
}

static int get_kind(const json_t *object, const char *list, struct quality_note *n,
                    struct err *e)
{
    const char *reason = json_string_value(json_object_get(object, "reason"));
    for (int i = 0; i < QUALITY_KINDS; i++) {
        if (strcmp(shapes[i].list, list) != 0)
            continue;
        if (shapes[i].reason && (!reason || strcmp(reason, shapes[i].reason) != 0))
            continue;
        n->kind = (enum quality_kind)i;
        return 0;
    }
    return json_wrong(e, "reason", "is not known");
}

static int get_span(const json_t *object, double *start, double *end, struct err *e)
{
    int status = json_get_seconds(object, "start", start, e);
    return status ? status : json_get_seconds(object, "end", end, e);
}

/* A loop's is a count, the others' are numbers of any kind. */
static int get_value(const json_t *object, struct quality_note *n, struct err *e)
{
    const char *name = shapes[n->kind].value;
    int64_t count = 0;
    if (!name)
        return 0;
    if (n->kind != QUALITY_LOOP)
        return json_get_float(object, name, NAN, &n->value, e);
    int status = json_get_integer(object, name, MAX_REPEATS, &count, e);
    n->value = (float)count;
    return status;
}

static int get_note(const json_t *object, const char *list, struct quality_note *n,
                    struct err *e)
{
    int status = get_kind(object, list, n, e);
    if (!status)
        status = get_span(object, &n->start, &n->end, e);
    if (!status && n->kind == QUALITY_LOOP) {
        int remedy = which(object, "remedy", remedies, REMEDY_COUNT);
        if (remedy < 0)
            return json_wrong(e, "remedy", "is not known");
        n->remedy = (enum quality_remedy)remedy;
    }
    if (!status)
        status = get_value(object, n, e);
    if (!status && json_object_get(object, "text"))
        status = json_get_long_text(object, "text", &n->text, e);
    return status;
}

static int get_list(const json_t *object, const char *key, const json_t **out,
                    struct err *e)
{
    *out = json_object_get(object, key);
    if (!json_is_array(*out) || json_array_size(*out) > MAX_ITEMS)
        return json_wrong(e, key, "is not a list, or too long");
    return 0;
}

static int get_notes(const json_t *object, const char *key, struct quality *q,
                     struct err *e)
{
    const json_t *list;
    int status = get_list(object, key, &list, e);
    for (size_t i = 0; !status && i < json_array_size(list); i++) {
        struct quality_note note = {0};
        status = get_note(json_array_get(list, i), key, &note, e);
        if (!status && quality_add_note(q, &note))
            status = err_set(e, ERR_NOMEM, "out of memory");
        free(note.text);
    }
    return status;
}

static int get_votes(const json_t *object, struct quality *q, struct err *e)
{
    const json_t *list;
    int status = get_list(object, "language_votes", &list, e);
    for (size_t i = 0; !status && i < json_array_size(list); i++) {
        struct quality_vote v = {0};
        const json_t *item = json_array_get(list, i);
        status = get_span(item, &v.start, &v.end, e);
        if (!status)
            status = json_get_text(item, "language", v.language, sizeof v.language, e);
        if (!status)
            status = json_get_float(item, "probability", NAN, &v.probability, e);
        if (!status && quality_add_vote(q, &v))
            status = err_set(e, ERR_NOMEM, "out of memory");
    }
    return status;
}

static int get_figures(const json_t *object, struct quality *q, struct err *e)
{
    q->known = true;
    int status = json_get_seconds(object, "audio_seconds", &q->audio_seconds, e);
    if (!status)
        status = json_get_seconds(object, "speech_seconds", &q->speech_seconds, e);
    if (!status)
        status = json_get_seconds(object, "text_seconds", &q->text_seconds, e);
    if (!status)
        status = json_get_text(object, "detector", q->detector, sizeof q->detector, e);
    if (!status)
        status = json_get_float(object, "peak_dbfs", -INFINITY, &q->peak_dbfs, e);
    if (!status)
        status = json_get_float(object, "speech_dbfs", -INFINITY, &q->speech_dbfs, e);
    if (!status)
        status = json_get_float(object, "clipped_share", NAN, &q->clipped_share, e);
    return status;
}

int json_get_quality(const json_t *object, struct quality *q, struct err *e)
{
    if (!json_is_object(object))
        return json_wrong(e, "quality", "is not an object");
    int status = json_object_get(object, "audio_seconds") ? get_figures(object, q, e) : 0;
    for (size_t i = 0; !status && i < ARRAY_LENGTH(lists); i++)
        status = get_notes(object, lists[i], q, e);
    if (!status)
        status = get_votes(object, q, e);
    return status;
}
