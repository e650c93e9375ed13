#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_test.h"

#include "postgres.h"

#include <ftw.h>
#include <unistd.h>

void test_folder_make(char folder[PATH_MAX])
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(folder, PATH_MAX, "%s/store-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void test_folder_remove(const char *folder)
{
    char made[PATH_MAX + 16];
    (void)snprintf(made, sizeof made, "%s/is-made", folder);
    if (!access(made, F_OK))
        postgres_drop(strrchr(folder, '/') + 1);
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

bool test_file_holds(const char *path, const char *text)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t length = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(length + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, length, file), length);
    fclose(file);
    bool holds = length && memmem(bytes, length, text, strlen(text));
    free(bytes);
    return holds;
}

bool test_on_postgres(void)
{
    const char *which = getenv("WT_TEST_STORE");
    return which && !strcmp(which, "postgresql");
}

/* Every folder has a database of its own, of the same name, from its first use on. */
void test_store_url(const char *folder, char *url, size_t size)
{
    const char *slash = strrchr(folder, '/');
    char made[PATH_MAX + 16];
    if (!test_on_postgres()) {
        (void)snprintf(url, size, "sqlite:///%s/app.db", folder);
        return;
    }
    postgres_need();
    (void)snprintf(made, sizeof made, "%s/is-made", folder);
    if (access(made, F_OK)) {
        postgres_make(slash + 1);
        fclose(fopen(made, "w"));
    }
    postgres_url(slash + 1, url, size);
}

struct store *test_store_open(const char *folder)
{
    char url[PATH_MAX + 32];
    test_store_url(folder, url, sizeof url);
    struct store *s = NULL;
    struct store_options options = {.exclusive = true};
    CHECK(store_open(&s, url, &options, e));
    return s;
}

void test_store_add(struct store *s, int64_t created_ms, const char *filename,
                    char id[ID_SIZE])
{
    char name[256], model[] = "tiny", language[] = "auto", task[] = "transcribe",
                    none[] = "{}";
    (void)snprintf(name, sizeof name, "%s", filename);
    id_new(id);
    struct job j = {.original_filename = name,
                    .filename = id,
                    .model = model,
                    .language_asked = language,
                    .task = task,
                    .options = none,
                    .file_bytes = 1234,
                    .created_ms = created_ms};
    memcpy(j.id, id, ID_SIZE);
    CHECK(store_insert(s, &j, "00ff", e));
}

int test_set_up(void **state)
{
    struct store_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    test_folder_make(f->folder);
    f->store = test_store_open(f->folder);
    *state = f;
    return 0;
}

int test_tear_down(void **state)
{
    struct store_fixture *f = *state;
    store_close(f->store);
    test_folder_remove(f->folder);
    free(f);
    return 0;
}
