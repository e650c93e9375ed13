#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "crowd.h"

int crowd_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    test_folder_make(f->folder);
    test_store_url(f->folder, f->url, sizeof f->url);
    f->database = strrchr(f->folder, '/') + 1;
    *state = f;
    return 0;
}

int crowd_tear_down(void **state)
{
    struct fixture *f = *state;
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

struct store *crowd_open(const char *url, int connections)
{
    struct store *s = NULL;
    struct store_options options = {.exclusive = true, .connections = connections};
    CHECK(store_open(&s, url, &options, e));
    return s;
}

struct job crowd_job(char name[64], int64_t created_ms)
{
    static char model[] = "tiny", language[] = "auto", task[] = "transcribe",
                none[] = "{}";
    struct job j = {.original_filename = name,
                    .filename = name,
                    .model = model,
                    .language_asked = language,
                    .task = task,
                    .options = none,
                    .created_ms = created_ms};
    id_new(j.id);
    return j;
}

static void *one_of_many(void *arg)
{
    struct crowd *c = arg;
    c->fn(c, atomic_fetch_add(&c->next, 1));
    return NULL;
}

void crowd_run(struct crowd *c, int count, void (*fn)(struct crowd *c, int i))
{
    pthread_t threads[64];
    c->fn = fn;
    atomic_store(&c->next, 0);
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, one_of_many, c), 0);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}
