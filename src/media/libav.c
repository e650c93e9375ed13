#include "media/libav.h"

#include "base/mem.h"
#include "media/decode.h"

#include <dlfcn.h>
#include <stddef.h>

struct libav libav;

struct symbol {
    const char *name;
    size_t at; /* of its pointer in struct libav */
};

#define SYMBOL(name) {#name, offsetof(struct libav, name)},

static const struct symbol util[] = {LIBAV_UTIL(SYMBOL) LIBAV_UTIL_LAYOUTS(SYMBOL)};
static const struct symbol codec[] = {LIBAV_CODEC(SYMBOL)};
static const struct symbol format[] = {LIBAV_FORMAT(SYMBOL)};
static const struct symbol resample[] = {LIBAV_RESAMPLE(SYMBOL)
                                             LIBAV_RESAMPLE_LAYOUTS(SYMBOL)};

#define NAME(library, major) "lib" library ".so." AV_STRINGIFY(major)

/* The first one brings the others. */
static const struct library {
    const char *name;
    const struct symbol *symbols;
    size_t n_symbols;
} libraries[] = {
    {NAME("avformat", LIBAVFORMAT_VERSION_MAJOR), format, ARRAY_LENGTH(format)},
    {NAME("avcodec", LIBAVCODEC_VERSION_MAJOR), codec, ARRAY_LENGTH(codec)},
    {NAME("swresample", LIBSWRESAMPLE_VERSION_MAJOR), resample, ARRAY_LENGTH(resample)},
    {NAME("avutil", LIBAVUTIL_VERSION_MAJOR), util, ARRAY_LENGTH(util)},
};

/* Functions are bound when they are called first, which needs no system call: the decoder
 * never calls most of what its libraries could. */
static int load(const struct library *l, struct err *e)
{
    void *handle = dlopen(l->name, RTLD_LAZY | RTLD_LOCAL);
    for (size_t i = 0; handle && i < l->n_symbols; i++) {
        void *at = dlsym(handle, l->symbols[i].name);
        if (!at)
            handle = NULL;
        memcpy((char *)&libav + l->symbols[i].at, &at, sizeof at);
    }
    return handle ? 0
                  : err_set(e, ERR_IO,
                            "FFmpeg, which reads the recordings, cannot be loaded: %s",
                            dlerror());
}

int libav_load(struct err *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < ARRAY_LENGTH(libraries); i++)
        rc = load(&libraries[i], e);
    return rc;
}

int media_check(struct err *e)
{
    return libav_load(e);
}
