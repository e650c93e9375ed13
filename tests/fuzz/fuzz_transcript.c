/* A transcript as a worker sends it and as it stands in the store, and all that is
 * written of it: an input is its JSON. The model's text is from outside too: a recording
 * can make it say anything.
 *
 * What was taken reads back as the same from what is written; subtitles never overlap nor
 * go back in time, and no text ends a cue early. */
#include "fuzz.h"

#include "format/cues.h"

static void write_as(enum format f, const struct transcript *t,
                     const struct cue_options *o, struct buf *out)
{
    buf_init(out, (size_t)64 << 20);
    HOLDS(!format_write_as(f, t, o, out) && !buf_failed(out));
}

static void read_back(const struct transcript *t, const struct cue_options *o)
{
    struct buf first, second;
    struct transcript again;
    struct err e;
    write_as(FORMAT_JSON, t, o, &first);
    HOLDS(!transcript_parse(&again, buf_cstr(&first), first.length, &e));
    write_as(FORMAT_JSON, &again, o, &second);
    HOLDS(first.length == second.length &&
          !memcmp(first.data, second.data, first.length));
    transcript_release(&again);
    buf_release(&first);
    buf_release(&second);
}

static void subtitles(const struct transcript *t, const struct cue_options *o)
{
    struct cues cues = {0};
    struct err e;
    HOLDS(!cues_build(t, o, &cues));
    for (size_t i = 0; i < cues.count; i++) {
        const struct cue *c = &cues.list[i];
        HOLDS(c->start_ms >= 0 && c->end_ms >= c->start_ms);
        if (i && !o->raw_subtitles)
            HOLDS(c->start_ms >= cues.list[i - 1].end_ms);
        HOLDS(!strstr(c->text, "-->") && !strstr(c->text, "\n\n"));
    }
    cues_release(&cues);
    if (cues_check(t, o, &e))
        return;
    struct buf srt, vtt;
    write_as(FORMAT_SRT, t, o, &srt);
    write_as(FORMAT_VTT, t, o, &vtt);
    buf_release(&srt);
    buf_release(&vtt);
}

static void tell(void *arg, const char *sentence)
{
    (void)arg;
    HOLDS(sentence[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct transcript t;
    struct err e = {0};
    struct buf text, table;
    struct cue_options o;
    char *copy = fuzz_text(data, size);
    if (transcript_parse(&t, copy, strlen(copy), &e)) {
        HOLDS(e.message[0]);
        free(copy);
        return 0;
    }
    cue_options_init(&o);
    read_back(&t, &o);
    subtitles(&t, &o);
    o.max_line_width = 1 + (int)(size % 60);
    o.max_line_count = 1 + (int)(size % 3);
    o.highlight_words = size % 2;
    subtitles(&t, &o);
    o.raw_subtitles = true;
    subtitles(&t, &o);
    write_as(FORMAT_TXT, &t, &o, &text);
    write_as(FORMAT_TSV, &t, &o, &table);
    transcript_warnings(&t, tell, NULL);
    buf_release(&text);
    buf_release(&table);
    transcript_release(&t);
    free(copy);
    return 0;
}
