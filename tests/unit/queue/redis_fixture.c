#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "redis_fixture.h"

#include <poll.h>

void open_queue(struct fixture *f)
{
    struct redis_options o = {.url = f->server.url, .name = "test"};
    CHECK(queue_redis_open(&f->queue, f->store, &o, e));
}

int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (!redis_server_present())
        return 0;
    test_folder_make(f->folder);
    test_folder_make(f->server.folder);
    redis_server_start(&f->server, NULL, NULL);
    f->store = test_store_open(f->folder);
    open_queue(f);
    return 0;
}

int tear_down(void **state)
{
    struct fixture *f = *state;
    queue_close(f->queue);
    store_close(f->store);
    redis_server_kill(&f->server);
    if (f->folder[0]) {
        test_folder_remove(f->folder);
        test_folder_remove(f->server.folder);
    }
    free(f);
    return 0;
}

const char *add_job(struct fixture *f, struct sort sort, char id[ID_SIZE])
{
    char caller[64], model[64], language[] = "auto", task[] = "transcribe", none[] = "{}";
    (void)snprintf(caller, sizeof caller, "%s", sort.caller ? sort.caller : "");
    (void)snprintf(model, sizeof model, "%s", sort.model ? sort.model : "tiny");
    id_new(id);
    struct job j = {.original_filename = id,
                    .filename = id,
                    .model = model,
                    .caller = caller,
                    .language_asked = language,
                    .task = task,
                    .options = none,
                    .priority = sort.priority,
                    .file_bytes = sort.bytes ? sort.bytes : 64000,
                    .created_ms = sort.created_ms ? sort.created_ms : 1000000};
    memcpy(j.id, id, ID_SIZE);
    CHECK(store_insert(f->store, &j, "00ff", e));
    queue_push(f->queue, id);
    return id;
}

long long on_redis(const struct fixture *f)
{
    return redis_server_number(&f->server, "HLEN " PREFIX "jobs");
}

long long leased(const struct fixture *f)
{
    return redis_server_number(&f->server, "ZCARD " PREFIX "leases");
}

bool rings(const struct fixture *f)
{
    struct pollfd p = {.fd = queue_fd(f->queue), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

bool is_up(const struct fixture *f)
{
    struct queue_ticket t;
    return queue_next(f->queue, &(struct store_wish){.model = "none"}, &t, NULL) ==
           ERR_NOT_FOUND;
}

int claim(struct fixture *f, const struct store_wish *wish, struct job *out)
{
    struct queue_ticket t;
    int status = queue_next(f->queue, wish, &t, NULL);
    return status ? status : queue_take(f->queue, &t, wish, "owner", out, NULL);
}

void claim_id(struct fixture *f, char id[ID_SIZE])
{
    struct job j = {0};
    int status = ERR_STATE;
    while (status == ERR_STATE)
        status = claim(f, NULL, &j);
    assert_int_equal(status, 0);
    memcpy(id, j.id, ID_SIZE);
    job_release(&j);
}

int claim_any(struct fixture *f)
{
    struct job j = {0};
    int status = claim(f, NULL, &j);
    if (!status)
        job_release(&j);
    return status == 0;
}

void over(struct fixture *f, const char *id, double seconds, bool dead)
{
    struct queue_end end = {.seconds = seconds, .dead = dead};
    queue_over(f->queue, id, &end);
}

void finish(struct fixture *f, const char *id, int attempt)
{
    struct store_result result = {.transcript_json = "{}", .transcript_text = ""};
    CHECK(store_complete(f->store, id, attempt, 2, &result, e));
    over(f, id, 0, false);
}
