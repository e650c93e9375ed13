#include "format/transcript.h"

#include "base/mem.h"
#include "format/text.h"
#include "format/writers.h"

#include <strings.h>

void transcript_init(struct transcript *t)
{
    *t = (struct transcript){0};
}

void transcript_segment_release(struct transcript_segment *s)
{
    for (size_t i = 0; i < s->n_words; i++)
        free(s->words[i].text);
    free(s->words);
    for (size_t i = 0; i < s->n_logprobs; i++)
        free(s->logprobs[i].hex);
    free(s->logprobs);
    free(s->text);
    free(s->tokens);
    *s = (struct transcript_segment){0};
}

void transcript_release(struct transcript *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_segments; i++)
        transcript_segment_release(&t->segments[i]);
    free(t->segments);
    quality_release(&t->quality);
    transcript_init(t);
}

static int copy_words(struct transcript_segment *copy,
                      const struct transcript_segment *from)
{
    copy->words = NULL;
    copy->n_words = 0;
    if (!from->words)
        return 0;
    copy->words = mem_array(from->n_words + 1, sizeof *copy->words);
    if (!copy->words)
        return ERR_NOMEM;
    for (size_t i = 0; i < from->n_words; i++) {
        copy->words[i] = from->words[i];
        copy->words[i].text = mem_strdup(from->words[i].text ? from->words[i].text : "");
        copy->n_words++;
        if (!copy->words[i].text)
            return ERR_NOMEM;
    }
    return 0;
}

static int copy_logprobs(struct transcript_segment *copy,
                         const struct transcript_segment *from)
{
    copy->logprobs = NULL;
    copy->n_logprobs = 0;
    if (!from->logprobs)
        return 0;
    copy->logprobs = mem_array(from->n_logprobs + 1, sizeof *copy->logprobs);
    if (!copy->logprobs)
        return ERR_NOMEM;
    for (size_t i = 0; i < from->n_logprobs; i++) {
        copy->logprobs[i] = from->logprobs[i];
        copy->logprobs[i].hex = mem_strdup(from->logprobs[i].hex);
        copy->n_logprobs++;
        if (!copy->logprobs[i].hex)
            return ERR_NOMEM;
    }
    return 0;
}

int transcript_add(struct transcript *t, const struct transcript_segment *segment)
{
    if (mem_grow(&t->segments, &t->capacity, t->n_segments + 1, sizeof *t->segments))
        return ERR_NOMEM;
    struct transcript_segment copy = *segment;
    copy.text = mem_strdup(segment->text ? segment->text : "");
    copy.tokens = mem_array(segment->n_tokens, sizeof *copy.tokens);
    int status = copy_words(&copy, segment);
    if (copy_logprobs(&copy, segment) || status || !copy.text || !copy.tokens) {
        transcript_segment_release(&copy);
        return ERR_NOMEM;
    }
    if (segment->n_tokens)
        memcpy(copy.tokens, segment->tokens, segment->n_tokens * sizeof *copy.tokens);
    t->segments[t->n_segments++] = copy;
    return 0;
}

void transcript_untrimmed(const struct transcript *t, struct buf *out)
{
    for (size_t i = 0; i < t->n_segments; i++)
        for (const char *p = t->segments[i].text; *p;)
            text_put(out, text_next(&p));
}

void transcript_text(const struct transcript *t, struct buf *out)
{
    struct buf joined;
    buf_init(&joined, out->maximum);
    transcript_untrimmed(t, &joined);
    size_t length;
    const char *trimmed = text_trimmed(buf_cstr(&joined), &length);
    if (buf_failed(&joined))
        out->failed = true;
    else
        buf_add(out, trimmed, length);
    buf_release(&joined);
}

static const struct {
    const char *extension, *content_type;
    void (*write)(const struct transcript *t, const struct cue_options *o,
                  struct buf *out);
} formats[FORMAT_COUNT] = {
    [FORMAT_TXT] = {"txt", "text/plain; charset=utf-8", txt_write},
    [FORMAT_SRT] = {"srt", "application/x-subrip; charset=utf-8", srt_write},
    [FORMAT_VTT] = {"vtt", "text/vtt; charset=utf-8", vtt_write},
    [FORMAT_TSV] = {"tsv", "text/tab-separated-values; charset=utf-8", tsv_write},
    [FORMAT_JSON] = {"json", "application/json", json_write},
};

bool format_parse(const char *name, enum format *out)
{
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (!strcasecmp(name, formats[i].extension)) {
            *out = (enum format)i;
            return true;
        }
    return false;
}

const char *format_extension(enum format f)
{
    return formats[f].extension;
}

const char *format_content_type(enum format f)
{
    return formats[f].content_type;
}

int format_write_as(enum format f, const struct transcript *t,
                    const struct cue_options *o, struct buf *out)
{
    formats[f].write(t, o, out);
    return buf_failed(out) ? ERR_NOMEM : 0;
}

int format_write(enum format f, const struct transcript *t, struct buf *out)
{
    struct cue_options defaults;
    cue_options_init(&defaults);
    return format_write_as(f, t, &defaults, out);
}
