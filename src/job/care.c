#include "job/care.h"

#include "base/clock.h"
#include "store/settings.h"

#include <stdlib.h>

#define PAGE         200
#define NOTE         "care_check"
#define SENTENCE_MAX 300

struct search {
    struct store *store;      /* borrowed, as is the other */
    struct blob_store *blobs; /* NULL: only the database is looked at */
    store_finding_fn fn;
    void *arg;
    int64_t findings;
};

static void found(void *arg, const char *sentence)
{
    struct search *s = arg;
    s->findings++;
    s->fn(s->arg, sentence);
}

/* It may have gone since its row was read. */
static bool still_has_recording(struct search *s, const char *id)
{
    struct job j;
    if (store_get(s->store, id, &j, NULL))
        return false;
    bool has = j.audio_present;
    job_release(&j);
    return has;
}

static int check_recording(struct search *s, const struct job *j, struct err *e)
{
    char sentence[SENTENCE_MAX];
    int64_t bytes = 0;
    if (!j->audio_present || !j->file_bytes) /* gone, or still on its way here */
        return 0;
    int status = blob_size(s->blobs, j->id, &bytes, e);
    if (status == ERR_NOT_FOUND) {
        if (!still_has_recording(s, j->id))
            return 0;
        (void)snprintf(sentence, sizeof sentence,
                       "the job %s has lost its recording: its transcript is not harmed, "
                       "but it cannot be tried again",
                       j->id);
        found(s, sentence);
        return 0;
    }
    if (!status && bytes != j->file_bytes) {
        (void)snprintf(sentence, sizeof sentence,
                       "the recording of the job %s has %lld bytes, not %lld: restore it "
                       "from a backup",
                       j->id, (long long)bytes, (long long)j->file_bytes);
        found(s, sentence);
    }
    return status;
}

static int check_recordings(struct search *s, struct err *e)
{
    struct job_filter filter = {.limit = PAGE};
    struct job_list list;
    int status = 0;
    do {
        status = store_list(s->store, &filter, &list, e);
        if (status)
            return status;
        for (size_t i = 0; !status && i < list.count; i++)
            status = check_recording(s, &list.jobs[i], e);
        filter.offset += (int64_t)list.count;
        int64_t total = list.total;
        bool more = list.count > 0 && filter.offset < total;
        job_list_release(&list);
        if (!more)
            break;
    } while (!status);
    return status;
}

static int note(struct store *s, int64_t findings, struct err *e)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%lld %lld", (long long)clock_now_ms(),
                   (long long)findings);
    return store_setting_set(s, NOTE, text, e);
}

int care_check(struct store *s, struct blob_store *blobs, bool quick, store_finding_fn fn,
               void *arg, int64_t *findings, struct err *e)
{
    struct search search = {.store = s, .blobs = blobs, .fn = fn, .arg = arg};
    int status = store_check(s, quick, found, &search, e);
    if (!status && blobs)
        status = check_recordings(&search, e);
    *findings = search.findings;
    if (!status)
        status = note(s, search.findings, e);
    return status;
}

int care_note_read(struct store *s, struct care_note *out, struct err *e)
{
    struct buf text;
    *out = (struct care_note){0};
    buf_init(&text, 256);
    int status = store_setting_get(s, NOTE, &text, e);
    if (!status) {
        char *end;
        out->time_ms = strtoll(buf_cstr(&text), &end, 10);
        out->findings = strtoll(end, NULL, 10);
    }
    buf_release(&text);
    return status == ERR_NOT_FOUND ? 0 : status;
}
