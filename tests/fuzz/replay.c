/* Gives a target every file of the folders that are named, once each: the seeds are tests
 * of the ordinary build too, where there is no libFuzzer. */
#include "fuzz.h"

#include <dirent.h>

/* What some targets do first. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

#define INPUT_MAX ((size_t)1 << 20)

static void give(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(INPUT_MAX);
    HOLDS(file && bytes);
    size_t size = fread(bytes, 1, INPUT_MAX, file);
    HOLDS(!ferror(file) && size < INPUT_MAX && !fclose(file));
    /* In a block of its size, so that a read behind its end is seen. */
    uint8_t *exact = realloc(bytes, size ? size : 1);
    HOLDS(exact);
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static size_t give_all(const char *folder)
{
    DIR *all = opendir(folder);
    size_t count = 0;
    HOLDS(all);
    for (struct dirent *one; (one = readdir(all));) {
        char path[4096];
        if (one->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, one->d_name);
        (void)fprintf(stderr, "%s\n", path);
        give(path);
        count++;
    }
    closedir(all);
    return count;
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        HOLDS(!LLVMFuzzerInitialize(&argc, &argv));
    for (int i = 1; i < argc; i++)
        HOLDS(give_all(argv[i]) > 0);
    return 0;
}
