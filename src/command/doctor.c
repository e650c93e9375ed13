/* What is set, where it was set, and whether this machine can do the work. */
#include "command/command.h"

#include "base/fs.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "command/cli.h"
#include "engine/kernels/kernels.h"
#include "engine/threads.h"
#include "engine/vad.h"
#include "engine/whisper.h"
#include "media/decode.h"
#include "store/blob.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

static const char help[] =
    "usage: whisper-transcriber doctor [--settings-markdown]\n"
    "\n"
    "Prints every setting with its value and where that came from, then checks the "
    "model\n"
    "folder, the storage and the processor. Settings are environment variables;\n"
    "docs/settings.md lists them.\n"
    "\n"
    "options:\n"
    "  --settings-markdown   print that page and do nothing else\n"
    "  -h, --help            this help\n"
    "\n"
    "exit codes: 0 all is well, 1 a check failed, 2 wrong command line or setting\n";

struct findings {
    bool failed;
};

static void __attribute__((format(printf, 4, 5)))
say(struct findings *f, bool good, const char *what, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%-5s %s: ", good ? "ok" : "WRONG", what);
    (void)vprintf(format, args);
    putchar('\n');
    va_end(args);
    f->failed |= !good;
}

static void check_models(struct findings *f, const struct config *c)
{
    struct err e = {0};
    struct catalog_present *list;
    size_t count;
    char name[64], path[PATH_MAX];
    if (catalog_list(c, &list, &count, &e)) {
        say(f, false, "models", "%s", e.message);
        return;
    }
    free(list);
    if (catalog_default(c, name, &e)) {
        say(f, false, "models", "%s", e.message);
        return;
    }
    say(f, true, "models", "%zu in %s, the default is %s", count, c->model_dir, name);
    if (c->default_model && catalog_path(c, c->default_model, path, &e))
        say(f, false, "DEFAULT_WHISPER_MODEL", "%s", e.message);
}

/* Without it the service works, a little worse: no failure, unless it was asked for. */
static void check_detector(struct findings *f, const struct config *c)
{
    char path[PATH_MAX];
    struct err e = {0};
    struct vad *vad = NULL;
    int status = catalog_detector_path(c, path, &e);
    if (status && !c->vad_model) {
        say(f, true, "voice detector", "none, so speech is told by its level alone: %s",
            e.message);
        return;
    }
    if (!status)
        status = vad_open(&vad, path, &e);
    if (status)
        say(f, false, "voice detector", "%s", e.message);
    else
        say(f, true, "voice detector", "Silero, %s", path);
    vad_close(vad);
}

static void check_language(struct findings *f, const struct config *c)
{
    if (!strcmp(c->language, "auto") || whisper_language_find(c->language) >= 0)
        say(f, true, "language", "%s", c->language);
    else
        say(f, false, "language", "WHISPER_LANGUAGE is \"%s\", which is no language",
            c->language);
}

static void check_formats(struct findings *f, const struct config *c)
{
    struct err e = {0};
    if (media_formats_check(c->allowed_formats, &e))
        say(f, false, "formats", "%s", e.message);
    else
        say(f, true, "formats", "all of ALLOWED_AUDIO_FORMATS are known");
}

/* Really written, because neither mode bits nor free blocks tell everything. */
static int try_folder(const char *folder, struct err *e)
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
static void check_media(struct findings *f)
{
    struct err e = {0};
    if (media_check(&e))
        say(f, false, "media", "%s", e.message);
    else
        say(f, true, "media", "FFmpeg can be loaded");
}

static void check_bucket(struct findings *f, const struct config *c)
{
    struct err e = {0};
    struct blob_store *blobs = NULL;
    int status = blob_store_open_as_set(&blobs, c, 0, &e);
    if (!status)
        status = blob_store_try(blobs, &e);
    if (status)
        say(f, false, "storage", "%s", e.message);
    else
        say(f, true, "storage", "%s takes, gives and removes objects; scratch is in %s",
            blob_store_name(blobs), blob_store_scratch(blobs));
    blob_store_close(blobs);
}

static void check_storage(struct findings *f, const struct config *c)
{
    struct err e = {0};
    uint64_t free_bytes = 0;
    if (c->storage_url && !strncmp(c->storage_url, "s3://", 5)) {
        check_bucket(f, c);
        return;
    }
    const char *folder =
        c->storage_url ? c->storage_url + strlen("file://") : c->storage_dir;
    if (access(folder, F_OK) && errno == ENOENT) {
        say(f, true, "storage", "%s does not exist yet; `serve` makes it", folder);
        return;
    }
    int status = try_folder(folder, &e);
    if (!status)
        status = fs_free_bytes(folder, &free_bytes, &e);
    if (status)
        say(f, false, "storage", "%s", e.message);
    else
        say(f, free_bytes >= (uint64_t)c->max_file_size_mb << 20, "storage",
            "%s can be written and has %.1f GB free", folder, (double)free_bytes / 1e9);
}

static void check_log(struct findings *f, const struct config *c)
{
    if (!c->log_to_stdout && !c->log_file)
        say(f, false, "log",
            "LOG_TO_STDOUT is false and LOG_FILE is not set: nothing is logged");
}

int command_doctor(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"settings-markdown", no_argument, NULL, 'm'},
                                            {0}};
    for (int o; (o = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (o == 'h')
            fputs(help, stdout);
        else if (o == 'm')
            config_markdown(stdout);
        else
            return cli_bad_option(o, argv);
        return cli_finish_output();
    }
    if (optind < argc) {
        cli_error("`doctor` takes no arguments; try --help");
        return EXIT_USAGE;
    }
    struct config c;
    int code = cli_load_config(&c);
    if (code)
        return code;
    config_print(&c, stdout);
    putchar('\n');
    struct findings f = {.failed = false};
    const char *level = kernels_choose()->name;
    say(&f, true, "processor", "%d threads, instructions: %s%s", threads_available(),
        level,
        strcmp(level, "amx") == 0 ? " (not tested on hardware yet; "
                                    "WT_CPU_LEVEL=avx512vnni does without)"
                                  : "");
    check_models(&f, &c);
    check_detector(&f, &c);
    check_language(&f, &c);
    check_formats(&f, &c);
    check_media(&f);
    check_storage(&f, &c);
    check_log(&f, &c);
    config_release(&c);
    code = cli_finish_output();
    return code ? code : f.failed ? EXIT_ERROR : EXIT_OK;
}
