#include "api/misspelt.h"

#include "base/mem.h"
#include "base/near.h"
#include "job/option_table.h"

#include <string.h>

static const char *const plain[] = {
    "file",   "model", "language",    "task",           "priority",
    "retain", "url",   "webhook_url", "webhook_secret", "webhook_transcript"};

/* One error in a short name is already another word. */
static bool nearly(const char *name, const char *ours)
{
    size_t length = strlen(name), our_length = strlen(ours);
    if (length < 4 || length > NEAR_MAX_LENGTH || our_length > NEAR_MAX_LENGTH)
        return false;
    return near_distance(name, length, ours, our_length) <= (our_length < 8 ? 1 : 2);
}

int api_misspelt(const char *name, struct err *e)
{
    const char *meant = NULL;
    if (job_option_find(name))
        return 0;
    for (size_t i = 0; i < ARRAY_LENGTH(plain); i++) {
        if (!strcmp(name, plain[i]))
            return 0;
        if (!meant && nearly(name, plain[i]))
            meant = plain[i];
    }
    for (const struct job_option *o = job_option_table(); !meant && o->name; o++)
        if (nearly(name, o->name))
            meant = o->name;
    return meant ? err_set(e, ERR_INVALID,
                           "There is no parameter \"%.48s\"; did you mean \"%s\"?", name,
                           meant)
                 : 0;
}

int api_misspelt_any(const struct http_params *p, struct err *e)
{
    for (size_t i = 0; i < p->count; i++) {
        int status = api_misspelt(p->list[i].name, e);
        if (status)
            return status;
    }
    return 0;
}
