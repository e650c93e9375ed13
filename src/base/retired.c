#include "base/retired.h"

#include <stdlib.h>

struct retired {
    struct retired *next;
    void *thing; /* owned */
    void (*release)(void *thing);
};

void retire(struct retired **list, void *thing, void (*release)(void *thing))
{
    struct retired *r = thing ? malloc(sizeof *r) : NULL;
    if (!r)
        return;
    *r = (struct retired){*list, thing, release};
    *list = r;
}

void retired_free(struct retired *list)
{
    while (list) {
        struct retired *next = list->next;
        list->release(list->thing);
        free(list);
        list = next;
    }
}
