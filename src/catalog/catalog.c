/* What is in the model folder. */
#include "catalog/catalog.h"

#include "base/mem.h"
#include "catalog/digest.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "ggml-"
#define SUFFIX ".bin"

bool catalog_name_valid(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > 63 || name[0] == '.')
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_", *p))
            return false;
    return true;
}

/* ---- one model ------------------------------------------------------------------- */

static bool join(char path[PATH_MAX], const char *dir, const char *before,
                 const char *name, const char *after)
{
    int n = snprintf(path, PATH_MAX, "%s/%s%s%s", dir, before, name, after);
    return n > 0 && n < PATH_MAX;
}

static bool is_file(const char *path, uint64_t *bytes)
{
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode) || st.st_size == 0)
        return false;
    *bytes = (uint64_t)st.st_size;
    return true;
}

/* Bytes of the safetensors in a folder; 0 when it is no model. */
static uint64_t folder_bytes(const char *folder)
{
    char path[PATH_MAX];
    uint64_t bytes, total = 0;
    if (!join(path, folder, "", "config", ".json") || !is_file(path, &bytes))
        return 0;
    DIR *dir = opendir(folder);
    if (!dir)
        return 0;
    for (const struct dirent *entry; (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && !strcmp(dot, ".safetensors") &&
            join(path, folder, "", entry->d_name, "") && is_file(path, &bytes))
            total += bytes;
    }
    closedir(dir);
    return total;
}

/* Whether `number` says that something is not there: the others, that nobody can tell. */
static bool is_missing(int number)
{
    return number == 0 || number == ENOENT || number == ENOTDIR || number == EACCES ||
           number == ELOOP || number == ENAMETOOLONG;
}

/* Fill in path and bytes of a model that is present; errno says why it is not. */
static bool find_present(const char *dir, const char *name, char path[PATH_MAX],
                         uint64_t *bytes)
{
    errno = 0;
    if (join(path, dir, PREFIX, name, SUFFIX) && is_file(path, bytes))
        return true;
    if (!is_missing(errno))
        return false;
    errno = 0;
    return join(path, dir, "", name, "") && (*bytes = folder_bytes(path)) > 0;
}

static int not_present(const struct config *c, const char *name, struct err *e)
{
    if (!catalog_find(name))
        return err_set(
            e, ERR_INVALID,
            "there is no model \"%s\"; `whisper-transcriber models list` shows "
            "the names",
            name);
    return err_set(
        e, ERR_NOT_FOUND,
        "the model \"%s\" is not in the folder %s; `whisper-transcriber models "
        "pull %s` gets it",
        name, c->model_dir, name);
}

int catalog_path(const struct config *c, const char *name, char path[PATH_MAX],
                 struct err *e)
{
    if (!catalog_name_valid(name))
        return err_set(e, ERR_INVALID,
                       "\"%.80s\" is not a model's name: letters, digits, '.', '-' and "
                       "'_' only, at most 63 of them",
                       name);
    uint64_t bytes;
    if (find_present(c->model_dir, name, path, &bytes))
        return 0;
    return is_missing(errno)
               ? not_present(c, name, e)
               : err_errno(e, "cannot look whether the model \"%s\" is there", name);
}

int catalog_detector_path(const struct config *c, char path[PATH_MAX], struct err *e)
{
    uint64_t bytes;
    const struct catalog_entry *d = catalog_detector();
    int n = c->vad_model ? snprintf(path, PATH_MAX, "%s", c->vad_model)
                         : snprintf(path, PATH_MAX, "%s/%s", c->model_dir, d->file);
    if (n > 0 && n < PATH_MAX && is_file(path, &bytes))
        return 0;
    if (c->vad_model)
        return err_set(e, ERR_NOT_FOUND,
                       "the voice detector is not at %s, where VAD_MODEL says", path);
    return err_set(e, ERR_NOT_FOUND,
                   "the voice detector is not in the folder %s; `whisper-transcriber "
                   "models pull %s` gets it",
                   c->model_dir, d->name);
}

/* ---- all of them ----------------------------------------------------------------- */

/* Place in the list: that of the published file; just behind it for a form of it that is
 * not published ("tiny-q4_0"); last for what we do not know. */
static size_t rank(const char *name)
{
    size_t count;
    const struct catalog_entry *entries = catalog_entries(&count);
    const struct catalog_entry *found = catalog_find(name);
    if (found)
        return 2 * (size_t)(found - entries);
    char base[64];
    (void)snprintf(base, sizeof base, "%s", name);
    for (char *dash; (dash = strrchr(base, '-'));) {
        *dash = '\0';
        if ((found = catalog_find(base)))
            return 2 * (size_t)(found - entries) + 1;
    }
    return 2 * count;
}

static int compare(const void *a, const void *b)
{
    const struct catalog_present *x = a, *y = b;
    size_t rank_x = rank(x->name), rank_y = rank(y->name);
    if (rank_x != rank_y)
        return rank_x < rank_y ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Other projects keep voice detectors as "ggml-silero-v5.1.2.bin", beside their models.
 */
static bool is_detector(const char *name)
{
    return !strncasecmp(name, "silero", strlen("silero"));
}

/* The model's name in a file's or folder's name; false when it cannot be one. */
static bool name_of(const char *entry, char name[64])
{
    size_t length = strlen(entry);
    const size_t extra = strlen(PREFIX) + strlen(SUFFIX);
    if (length > extra && !strncmp(entry, PREFIX, strlen(PREFIX)) &&
        !strcmp(entry + length - strlen(SUFFIX), SUFFIX)) {
        entry += strlen(PREFIX);
        length -= extra;
    }
    if (length > 63)
        return false;
    memcpy(name, entry, length);
    name[length] = '\0';
    return catalog_name_valid(name) && !is_detector(name);
}

static bool listed(const struct catalog_present *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(list[i].name, name))
            return true;
    return false;
}

static int read_folder(DIR *dir, const struct config *c, struct catalog_present **out,
                       size_t *count)
{
    size_t capacity = 0;
    for (const struct dirent *entry; (entry = readdir(dir));) {
        struct catalog_present p;
        if (!name_of(entry->d_name, p.name) || listed(*out, *count, p.name) ||
            !find_present(c->model_dir, p.name, p.path, &p.bytes))
            continue;
        if (mem_grow(out, &capacity, *count + 1, sizeof **out))
            return ERR_NOMEM;
        (*out)[(*count)++] = p;
    }
    return 0;
}

int catalog_list(const struct config *c, struct catalog_present **out, size_t *count,
                 struct err *e)
{
    *out = NULL;
    *count = 0;
    DIR *dir = opendir(c->model_dir);
    if (!dir && errno == ENOENT)
        return err_set(e, ERR_NOT_FOUND,
                       "the model folder %s does not exist; `whisper-transcriber models "
                       "pull small` makes it, WHISPER_MODEL_DIR names another",
                       c->model_dir);
    if (!dir)
        return err_errno(e, "cannot read the model folder %s", c->model_dir);
    int status = read_folder(dir, c, out, count);
    closedir(dir);
    if (status) {
        free(*out);
        *out = NULL;
        *count = 0;
        return err_set(e, status, "out of memory");
    }
    if (*count)
        qsort(*out, *count, sizeof **out, compare);
    return 0;
}

/* "base.en", "small.en-q5_1": by its name, a model that knows only English. */
static bool is_english_only(const char *name)
{
    const char *en = strstr(name, ".en");
    return en && (en[3] == '\0' || en[3] == '-');
}

static const char *best_for(const struct config *c, const struct catalog_present *list,
                            size_t count)
{
    bool english = c->language && (!strcasecmp(c->language, "en") ||
                                   !strcasecmp(c->language, "english"));
    for (size_t i = 0; i < count; i++)
        if (english || !is_english_only(list[i].name))
            return list[i].name;
    return list[0].name;
}

/* The one thing here that is not in the settings: it changes while they do not. */
static struct {
    pthread_mutex_t lock;
    char name[64];
} chosen = {.lock = PTHREAD_MUTEX_INITIALIZER};

void catalog_choose(const char *name)
{
    pthread_mutex_lock(&chosen.lock);
    (void)snprintf(chosen.name, sizeof chosen.name, "%s", name ? name : "");
    pthread_mutex_unlock(&chosen.lock);
}

static const char *copy_chosen(char name[64])
{
    pthread_mutex_lock(&chosen.lock);
    memcpy(name, chosen.name, sizeof chosen.name);
    pthread_mutex_unlock(&chosen.lock);
    return name[0] ? name : NULL;
}

int catalog_default(const struct config *c, char name[64], struct err *e)
{
    char path[PATH_MAX], by_choice[64];
    const char *const wanted[] = {c->default_model, copy_chosen(by_choice), "small"};
    int status;
    for (size_t i = 0; i < ARRAY_LENGTH(wanted); i++) {
        status = wanted[i] ? catalog_path(c, wanted[i], path, e) : ERR_NOT_FOUND;
        if (!status)
            (void)snprintf(name, 64, "%s", wanted[i]);
        /* Another one would be a surprise while it is only not to be seen just now. */
        if (status != ERR_NOT_FOUND && status != ERR_INVALID)
            return status;
    }
    struct catalog_present *list;
    size_t count;
    status = catalog_list(c, &list, &count, e);
    if (status)
        return status;
    if (count)
        (void)snprintf(name, 64, "%s", best_for(c, list, count));
    free(list);
    if (count)
        return 0;
    return err_set(
        e, ERR_NOT_FOUND,
        "no model is in the folder %s; `whisper-transcriber models pull small` "
        "gets one",
        c->model_dir);
}

/* "DIR/.ggml-tiny.bin.packed-8" and the like: what engine/model_cache.h keeps. */
static void remove_packed(const char *model_dir, const char *file)
{
    char start[80], path[PATH_MAX];
    int n = snprintf(start, sizeof start, ".%s.packed", file);
    DIR *dir = opendir(model_dir);
    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        if (!strncmp(entry->d_name, start, (size_t)n) &&
            join(path, model_dir, "", entry->d_name, ""))
            (void)unlink(path);
    if (dir)
        closedir(dir);
}

int catalog_remove(const struct config *c, const char *name, struct err *e)
{
    char path[PATH_MAX], file[80];
    uint64_t bytes;
    int status = catalog_path(c, name, path, e);
    if (status)
        return status;
    (void)snprintf(file, sizeof file, PREFIX "%s" SUFFIX, name);
    if (!join(path, c->model_dir, "", file, "") || !is_file(path, &bytes))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s is a folder, not a file that was pulled: its operator removes "
                       "it",
                       name);
    if (unlink(path))
        return err_errno(e, "%s cannot be removed", name);
    remove_packed(c->model_dir, file);
    return 0;
}

int catalog_verify(const struct config *c, const char *name, struct err *e)
{
    char path[PATH_MAX];
    const struct catalog_entry *entry = catalog_find(name);
    bool detector = !strcmp(name, catalog_detector()->name);
    if (detector)
        entry = catalog_detector();
    int status =
        detector ? catalog_detector_path(c, path, e) : catalog_path(c, name, path, e);
    if (status)
        return status;
    if (!entry)
        return err_set(e, ERR_UNSUPPORTED, "no checksum is published for \"%s\"", name);
    return digest_check(path, entry->bytes, entry->sha256, e);
}
