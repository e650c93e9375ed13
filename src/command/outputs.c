#include "command/outputs.h"

#include "base/fs.h"

#include <strings.h>
#include <unistd.h>

#define OUTPUT_BYTES ((size_t)1 << 30)

int outputs_parse_formats(struct outputs *o, const char *list, struct err *e)
{
    memset(o->wanted, 0, sizeof o->wanted);
    for (const char *p = list;; p++) {
        char name[16];
        size_t length = strcspn(p, ",");
        (void)snprintf(name, sizeof name, "%.*s", (int)(length < 15 ? length : 15), p);
        enum format f;
        if (format_parse(name, &f))
            o->wanted[f] = true;
        else if (!strcasecmp(name, "all"))
            memset(o->wanted, 1, sizeof o->wanted);
        else
            return err_set(e, ERR_INVALID,
                           "there is no format \"%.*s\"; the formats are txt, srt, vtt, "
                           "tsv, json and all",
                           (int)(length < 40 ? length : 40), p);
        p += length;
        if (!*p)
            return 0;
    }
}

/* The input's name without folders and extension. */
static void stem(const char *input, char out[NAME_MAX + 1])
{
    const char *slash = strrchr(input, '/');
    const char *name = slash ? slash + 1 : input;
    if (!strcmp(input, "-"))
        name = "stdin";
    (void)snprintf(out, NAME_MAX + 1, "%.*s", NAME_MAX - 10, name);
    char *dot = strrchr(out, '.');
    if (dot && dot != out)
        *dot = '\0';
}

static int wanted_count(const struct outputs *o)
{
    int n = 0;
    for (int i = 0; i < FORMAT_COUNT; i++)
        n += o->wanted[i];
    return n;
}

static int refuse_same_names(char *const *inputs, int count, struct err *e)
{
    char a[NAME_MAX + 1], b[NAME_MAX + 1];
    for (int i = 0; i < count; i++) {
        stem(inputs[i], a);
        for (int j = 0; j < i; j++) {
            stem(inputs[j], b);
            if (!strcmp(a, b))
                return err_set(e, ERR_INVALID,
                               "%.150s and %.150s would be written to one file; "
                               "transcribe them into different folders",
                               inputs[j], inputs[i]);
        }
    }
    return 0;
}

/* Really written, because mode bits do not tell everything. */
static int try_folder(const char *folder, struct err *e)
{
    char path[PATH_MAX];
    int status = fs_mkdirs(folder, e);
    if (status)
        return status;
    int n = snprintf(path, sizeof path, "%s/.transcribe.%d", folder, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_INVALID, "the folder's name is too long");
    status = fs_write_atomic(path, "", 0, e);
    if (!status)
        (void)unlink(path);
    return status;
}

int outputs_prepare(struct outputs *o, char *const *inputs, int count, struct err *e)
{
    o->headed = count > 1 && !o->wanted[FORMAT_JSON];
    if (!o->folder)
        return wanted_count(o) == 1
                   ? 0
                   : err_set(e, ERR_INVALID,
                             "several formats need a folder to go to: --output-dir DIR");
    int status = refuse_same_names(inputs, count, e);
    return status ? status : try_folder(o->folder, e);
}

static int write_stdout(struct outputs *o, const char *input, const struct buf *text,
                        struct err *e)
{
    if (o->headed)
        printf("%s==> %s <==\n", o->begun ? "\n" : "", input);
    o->begun = true;
    size_t written = fwrite(text->data, 1, text->length, stdout);
    if (written != text->length || fflush(stdout))
        return err_errno(e, "cannot write to standard output");
    return 0;
}

static int write_file(const struct outputs *o, const char *input, enum format f,
                      const struct buf *text, struct err *e)
{
    char path[PATH_MAX], name[NAME_MAX + 1];
    stem(input, name);
    int n = snprintf(path, sizeof path, "%s/%s.%s", o->folder, name, format_extension(f));
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_INVALID, "the path of the output is too long");
    return fs_write_atomic(path, buf_cstr(text), text->length, e);
}

int outputs_write(struct outputs *o, const char *input, const struct transcript *t,
                  const struct cue_options *subtitles, struct err *e)
{
    int status = 0;
    for (int i = 0; i < FORMAT_COUNT && !status; i++) {
        if (!o->wanted[i])
            continue;
        struct buf text;
        buf_init(&text, OUTPUT_BYTES);
        if (format_write_as((enum format)i, t, subtitles, &text))
            status = err_set(e, ERR_NOMEM, "out of memory");
        else if (o->folder)
            status = write_file(o, input, (enum format)i, &text, e);
        else
            status = write_stdout(o, input, &text, e);
        buf_release(&text);
    }
    return status;
}
