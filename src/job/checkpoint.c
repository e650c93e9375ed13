#include "job/checkpoint.h"

#include "base/fs.h"
#include "engine/whisper.h"
#include "format/transcript.h"

#include <sys/mman.h>
#include <unistd.h>

/* A transcript of 10 hours takes about 10 MB. */
#define TRANSCRIPT_MAX_BYTES (256u << 20)

void checkpoint_texts_init(struct checkpoint_texts *t)
{
    buf_init(&t->json, TRANSCRIPT_MAX_BYTES);
    buf_init(&t->text, TRANSCRIPT_MAX_BYTES);
    buf_init(&t->quality, TRANSCRIPT_MAX_BYTES);
}

void checkpoint_texts_release(struct checkpoint_texts *t)
{
    buf_release(&t->json);
    buf_release(&t->text);
    buf_release(&t->quality);
}

static int add_window(struct transcript *out, const char *json, struct err *e)
{
    struct transcript window;
    transcript_init(&window);
    int status = transcript_parse(&window, json, strlen(json), e);
    for (size_t i = 0; !status && i < window.n_segments; i++)
        if (transcript_add(out, &window.segments[i]))
            status = err_set(e, ERR_NOMEM, "out of memory");
    if (!status && quality_join(&out->quality, &window.quality))
        status = err_set(e, ERR_NOMEM, "out of memory");
    transcript_release(&window);
    return status;
}

static int join(const struct store_resume *r, struct transcript *out, struct err *e)
{
    int status = 0;
    for (size_t i = 0; !status && i < r->n_windows; i++)
        status = add_window(out, r->windows[i], e);
    return status;
}

static int write_json(const struct transcript *t, struct buf *json, struct err *e)
{
    if (format_write(FORMAT_JSON, t, json) < 0 || buf_failed(json))
        return err_set(e, ERR_TOO_LARGE, "the transcript is larger than %u MB",
                       TRANSCRIPT_MAX_BYTES >> 20);
    return 0;
}

static int memory_file(const struct buf *bytes, struct err *e)
{
    int fd = memfd_create("checkpoint", MFD_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot hold the checkpoint in memory");
    int status = fs_write_all(fd, bytes->data, bytes->length, e);
    if (!status)
        return fd;
    close(fd);
    return status;
}

int checkpoint_file(const struct store_resume *r, struct err *e)
{
    struct transcript t;
    struct buf json;
    transcript_init(&t);
    buf_init(&json, TRANSCRIPT_MAX_BYTES);
    int status = join(r, &t, e);
    if (!status)
        status = write_json(&t, &json, e);
    if (!status)
        status = memory_file(&json, e);
    buf_release(&json);
    transcript_release(&t);
    return status;
}

static void set_facts(const struct checkpoint_facts *facts, struct transcript *t)
{
    int language = whisper_language_find(facts->language);
    const char *name = language < 0 ? "" : whisper_language_name(language);
    (void)snprintf(t->task, sizeof t->task, "%s", facts->task);
    (void)snprintf(t->model, sizeof t->model, "%s", facts->model);
    (void)snprintf(t->language, sizeof t->language, "%s", facts->language);
    (void)snprintf(t->language_name, sizeof t->language_name, "%s", name);
    (void)snprintf(t->warning, sizeof t->warning, "%s", facts->warning);
    t->language_probability = facts->probability;
    t->duration = facts->seconds;
}

int checkpoint_finish(const struct store_resume *r, const struct checkpoint_facts *facts,
                      struct checkpoint_texts *out, struct err *e)
{
    struct transcript t;
    transcript_init(&t);
    int status = join(r, &t, e);
    for (size_t i = 0; !status && i < facts->n_report; i++)
        status = add_window(&t, facts->report[i], e);
    if (!status) {
        set_facts(facts, &t);
        transcript_text(&t, &out->text);
        transcript_quality_json(&t, &out->quality);
        status = buf_failed(&out->text) || buf_failed(&out->quality)
                     ? err_set(e, ERR_NOMEM, "out of memory")
                     : write_json(&t, &out->json, e);
    }
    transcript_release(&t);
    return status;
}
