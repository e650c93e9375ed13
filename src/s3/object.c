/* Whole objects. */
#include "s3/request.h"

static int run(struct s3 *s, const struct s3_request *r, struct err *e)
{
    struct s3_answer a;
    int status = s3_perform(s, r, &a, e);
    s3_answer_release(&a);
    return status;
}

int s3_put(struct s3 *s, const char *key, const void *bytes, size_t length, struct err *e)
{
    const struct s3_request r = {.method = "PUT",
                                 .key = key,
                                 .query = "",
                                 .body = length ? bytes : "",
                                 .body_length = length,
                                 .first = -1};
    return run(s, &r, e);
}

int s3_delete(struct s3 *s, const char *key, struct err *e)
{
    const struct s3_request r = {
        .method = "DELETE", .key = key, .query = "", .first = -1};
    int status = run(s, &r, e);
    return status == ERR_NOT_FOUND ? 0 : status;
}

int s3_size(struct s3 *s, const char *key, int64_t *bytes, struct err *e)
{
    const struct s3_request r = {.method = "HEAD", .key = key, .query = "", .first = -1};
    struct s3_answer a;
    int status = s3_perform(s, &r, &a, e);
    if (!status && a.length < 0)
        status =
            err_set(e, ERR_IO, "%s: it does not say how large an object is", s3_name(s));
    *bytes = a.length;
    s3_answer_release(&a);
    return status;
}

int s3_get(struct s3 *s, const char *key, int64_t first, int64_t length, s3_data_fn data,
           void *arg, struct err *e)
{
    const int64_t end = length < 0 ? -1 : first + length;
    int status = length ? ERR_NETWORK : 0;
    for (int n = 1; status == ERR_NETWORK; n++) {
        const struct s3_request r = {.method = "GET",
                                     .key = key,
                                     .query = "",
                                     .first = first || end >= 0 ? first : -1,
                                     .last = end - 1 < 0 ? -1 : end - 1,
                                     .data = data,
                                     .arg = arg};
        struct s3_answer a;
        status = s3_perform(s, &r, &a, e);
        if (!status && r.first > 0 && a.status != 206)
            status =
                err_set(e, ERR_IO, "%s: it does not send parts of an object", s3_name(s));
        first += a.taken;
        n = a.taken ? 1 : n;
        s3_answer_release(&a);
        if (status == ERR_NETWORK && s3_wait(s, n, e))
            status = ERR_CANCELLED;
    }
    return status;
}
