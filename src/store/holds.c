#include "store/holds.h"

#include <stdlib.h>

void store_hold_list_release(struct store_hold_list *l)
{
    if (!l)
        return;
    free(l->holds);
    *l = (struct store_hold_list){0};
}

int store_hold_check(struct store *s, const char *id, struct err *e)
{
    struct store_hold hold;
    int status = store_hold_get(s, id, &hold, e);
    if (!status)
        return err_set(e, ERR_HELD,
                       "the job %.36s is on hold: it is kept until an operator takes the "
                       "hold back",
                       id);
    return status == ERR_NOT_FOUND ? 0 : status;
}
