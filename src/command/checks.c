/* What does not leave this machine and takes no time. */
#include "command/checks.h"

#include "base/fs.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "engine/kernels/kernels.h"
#include "engine/threads.h"
#include "engine/vad.h"
#include "engine/whisper.h"
#include "media/decode.h"
#include "store/blob.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

void checks_release(struct checks *k)
{
    free(k->list);
    *k = (struct checks){0};
}

void check_say(struct checks *k, enum check_level level, const char *name,
               const char *format, ...)
{
    va_list args;
    k->worst = level > k->worst ? level : k->worst;
    if (mem_grow(&k->list, &k->capacity, k->count + 1, sizeof *k->list))
        return; /* its level is known all the same */
    struct finding *f = &k->list[k->count++];
    f->level = level;
    f->name = name;
    va_start(args, format);
    (void)vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
}

void check_processor(struct checks *k)
{
    const char *level = kernels_choose()->name;
    check_say(k, CHECK_OK, "processor", "%d threads, instructions: %s%s",
              threads_available(), level,
              strcmp(level, "amx") == 0 ? " (not tested on hardware yet; "
                                          "WT_CPU_LEVEL=avx512vnni does without)"
                                        : "");
}

void check_models(struct checks *k)
{
    const struct config *c = k->c;
    struct err e = {0};
    struct catalog_present *list;
    size_t count;
    char name[64], path[PATH_MAX];
    if (catalog_list(c, &list, &count, &e)) {
        check_say(k, CHECK_FAIL, "models", "%s", e.message);
        return;
    }
    free(list);
    if (catalog_default(c, name, &e)) {
        check_say(k, CHECK_FAIL, "models", "%s", e.message);
        return;
    }
    check_say(k, CHECK_OK, "models", "%zu in %s, the default is %s", count, c->model_dir,
              name);
    if (c->default_model && catalog_path(c, c->default_model, path, &e))
        check_say(k, CHECK_FAIL, "DEFAULT_WHISPER_MODEL", "%s", e.message);
}

/* Without it the service works, a little worse: no failure, unless it was asked for. */
void check_detector(struct checks *k)
{
    const struct config *c = k->c;
    char path[PATH_MAX];
    struct err e = {0};
    struct vad *vad = NULL;
    int status = catalog_detector_path(c, path, &e);
    if (status && !c->vad_model) {
        check_say(k, CHECK_OK, "voice detector",
                  "none, so speech is told by its level alone: %s", e.message);
        return;
    }
    if (!status)
        status = vad_open(&vad, path, &e);
    if (status)
        check_say(k, CHECK_FAIL, "voice detector", "%s", e.message);
    else
        check_say(k, CHECK_OK, "voice detector", "Silero, %s", path);
    vad_close(vad);
}

void check_language(struct checks *k)
{
    const struct config *c = k->c;
    if (!strcmp(c->language, "auto") || whisper_language_find(c->language) >= 0)
        check_say(k, CHECK_OK, "language", "%s", c->language);
    else
        check_say(k, CHECK_FAIL, "language",
                  "WHISPER_LANGUAGE is \"%s\", which is no language", c->language);
}

void check_formats(struct checks *k)
{
    const struct config *c = k->c;
    struct err e = {0};
    if (media_formats_check(c->allowed_formats, &e))
        check_say(k, CHECK_FAIL, "formats", "%s", e.message);
    else
        check_say(k, CHECK_OK, "formats", "all of ALLOWED_AUDIO_FORMATS are known");
}

/* Really written, because neither mode bits nor free blocks tell everything. */
int check_folder(const char *folder, struct err *e)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/.doctor.%d", folder, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_INVALID, "the folder's name is too long");
    int status = fs_write_atomic(path, "ok", 2, e);
    if (!status)
        (void)unlink(path);
    return status;
}

/* FFmpeg is loaded when it is needed: that it is missing would be seen then. */
void check_media(struct checks *k)
{
    struct err e = {0};
    if (media_check(&e))
        check_say(k, CHECK_FAIL, "media", "%s", e.message);
    else
        check_say(k, CHECK_OK, "media", "FFmpeg can be loaded");
}

static void check_bucket(struct checks *k)
{
    const struct config *c = k->c;
    struct err e = {0};
    struct blob_store *blobs = NULL;
    int status = blob_store_open_as_set(&blobs, c, 0, &e);
    if (!status)
        status = blob_store_try(blobs, &e);
    if (status)
        check_say(k, CHECK_FAIL, "storage", "%s", e.message);
    else
        check_say(k, CHECK_OK, "storage",
                  "%s takes, gives and removes objects; scratch is in %s",
                  blob_store_name(blobs), blob_store_scratch(blobs));
    blob_store_close(blobs);
}

void check_storage(struct checks *k)
{
    const struct config *c = k->c;
    struct err e = {0};
    uint64_t free_bytes = 0;
    if (c->storage_url && !strncmp(c->storage_url, "s3://", 5)) {
        check_bucket(k);
        return;
    }
    const char *folder =
        c->storage_url ? c->storage_url + strlen("file://") : c->storage_dir;
    if (access(folder, F_OK) && errno == ENOENT) {
        check_say(k, CHECK_OK, "storage", "%s does not exist yet; `serve` makes it",
                  folder);
        return;
    }
    int status = check_folder(folder, &e);
    if (!status)
        status = fs_free_bytes(folder, &free_bytes, &e);
    if (status)
        check_say(k, CHECK_FAIL, "storage", "%s", e.message);
    else
        check_say(
            k, free_bytes >= (uint64_t)c->max_file_size_mb << 20 ? CHECK_OK : CHECK_FAIL,
            "storage", "%s can be written and has %.1f GB free", folder,
            (double)free_bytes / 1e9);
}

void check_log(struct checks *k)
{
    const struct config *c = k->c;
    if (!c->log_to_stdout && !c->log_file)
        check_say(k, CHECK_FAIL, "log",
                  "LOG_TO_STDOUT is false and LOG_FILE is not set: nothing is logged");
}
