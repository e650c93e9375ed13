#include "store/job.h"

#include "base/err.h"
#include "base/mem.h"

static const char *const names[JOB_STATUS_COUNT] = {"pending", "processing", "completed",
                                                    "failed", "cancelled"};

const char *job_status_name(enum job_status s)
{
    return (unsigned)s < JOB_STATUS_COUNT ? names[s] : "unknown";
}

bool job_status_parse(const char *name, enum job_status *out)
{
    for (int i = 0; name && i < JOB_STATUS_COUNT; i++)
        if (!strcmp(name, names[i])) {
            *out = (enum job_status)i;
            return true;
        }
    return false;
}

/* Where the owned strings are. */
static const size_t strings[] = {
    offsetof(struct job, caller),
    offsetof(struct job, original_filename),
    offsetof(struct job, filename),
    offsetof(struct job, model),
    offsetof(struct job, language_asked),
    offsetof(struct job, language),
    offsetof(struct job, task),
    offsetof(struct job, options),
    offsetof(struct job, transcript_text),
    offsetof(struct job, quality),
    offsetof(struct job, error_message),
    offsetof(struct job, error_code),
    offsetof(struct job, message),
};

static char **string_at(struct job *j, size_t i)
{
    return (char **)(void *)((char *)j + strings[i]);
}

void job_release(struct job *j)
{
    if (!j)
        return;
    for (size_t i = 0; i < ARRAY_LENGTH(strings); i++)
        free(*string_at(j, i));
    *j = (struct job){0};
}

int job_copy(struct job *out, const struct job *from)
{
    struct job source = *from;
    bool failed = false;
    *out = *from;
    for (size_t i = 0; i < ARRAY_LENGTH(strings); i++) {
        const char *text = *string_at(&source, i);
        *string_at(out, i) = mem_strdup(text);
        failed |= text && !*string_at(out, i);
    }
    if (failed)
        job_release(out);
    return failed ? ERR_NOMEM : 0;
}

void job_list_release(struct job_list *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->count; i++)
        job_release(&l->jobs[i]);
    free(l->jobs);
    *l = (struct job_list){0};
}
