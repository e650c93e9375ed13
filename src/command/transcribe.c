/* Recordings to text, from the shell: no service, no database. */
#include "command/command.h"

#include "base/clock.h"
#include "base/config_checks.h"
#include "command/cli.h"
#include "command/request.h"
#include "command/switches.h"
#include "catalog/catalog.h"
#include "job/detector.h"
#include "job/transcribe.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help_head[] =
    "usage: whisper-transcriber transcribe [options] FILE...\n"
    "\n"
    "Writes down what is said in audio and video files of any format. FILE may be - for\n"
    "standard input. The text goes to standard output, one segment a line.\n"
    "\n"
    "options:\n"
    "  -m, --model NAME      tiny, base, small, medium, large-v3, large-v3-turbo …, or "
    "the\n"
    "                        path of a ggml file or safetensors folder (default:\n"
    "                        DEFAULT_WHISPER_MODEL, else small, else the best present)\n"
    "  -l, --language LANG   a code or an English name (de, german), or auto (default:\n"
    "                        WHISPER_LANGUAGE, else auto: found from the first 30 s)\n"
    "  -t, --task TASK       transcribe, or translate: into English (default: "
    "transcribe)\n"
    "  -f, --format FORMAT   txt, srt, vtt, tsv, json; with --output-dir also several,\n"
    "                        separated by commas, or all (default: txt)\n"
    "  -o, --output-dir DIR  write DIR/<name of the input>.<format> instead of standard\n"
    "                        output; each file is written whole or not at all, and\n"
    "                        replaces one that is there\n"
    "      --threads N       threads to use (default: all processors)\n"
    "      --compute-type T  auto: 8 bits where the processor is fast in them; or f32: "
    "exact\n"
    "                        and slower (COMPUTE_TYPE)\n"
    "      --model-dir DIR   folder of the models (WHISPER_MODEL_DIR; default: models)\n"
    "  -q, --quiet           no progress bar and no warnings\n"
    "  -h, --help            this help\n";

static const char help_tail[] =
    "\n"
    "With several files, each text on standard output follows a line ==> FILE <==; json\n"
    "documents just follow one another. A file that cannot be used does not stop the\n"
    "others.\n"
    "\n"
    "examples:\n"
    "  whisper-transcriber transcribe interview.mp3\n"
    "  whisper-transcriber transcribe -m small -l de -f srt film.mkv >film.srt\n"
    "  whisper-transcriber transcribe -f all -o out/ *.m4a\n"
    "  arecord -f cd -d 10 | whisper-transcriber transcribe -\n"
    "\n"
    "exit codes: 0 done, 1 it did not work, 2 wrong command line or setting, 3 an input\n"
    "could not be used, 4 the model is missing or damaged, 130 interrupted\n";

/* Standard input has no size to be judged by: what its spool may take. */
#define STDIN_BYTES ((size_t)64 << 30)

struct work {
    struct request request;

    struct whisper_model *model;     /* owned; NULL before the first input */
    struct whisper_session *session; /* owned */
    struct vad *vad;                 /* owned; NULL: none */

    const char *input; /* the one that is being done */
    struct cli_bar bar;
    double seconds, began_at; /* of audio; monotonic */
};

/* ---- the model ------------------------------------------------------------------- */

/* What an English-only model cannot do is better said than done wrong. */
static int check_model(const struct work *w)
{
    struct whisper_model_info info;
    const char *language = w->request.options.params.language;
    whisper_model_describe(w->model, &info);
    if (info.multilingual)
        return EXIT_OK;
    if (w->request.options.params.task == WHISPER_TRANSLATE) {
        cli_error(
            "the model %s knows only English and cannot translate; take one without "
            "\".en\"",
            w->request.model_name);
        return EXIT_USAGE;
    }
    if (language && strcmp(language, "en") != 0) {
        cli_error("the model %s knows only English, not \"%s\"; take one without \".en\"",
                  w->request.model_name, language);
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

/* The voice detector's opening, beside that of the model. */
struct opening {
    struct vad *vad; /* what came of it */
    struct err e;
    pthread_t thread;
    bool wanted, apart; /* in a thread of its own */
    char path[PATH_MAX];
};

static void *open_detector(void *arg)
{
    struct opening *o = arg;
    (void)detector_open(&o->vad, o->path, &o->e);
    return NULL;
}

static void begin_detector(const struct work *w, struct opening *o)
{
    o->vad = NULL;
    o->e = (struct err){0};
    o->apart = false;
    o->wanted = w->request.options.params.vad_filter;
    if (!o->wanted)
        return;
    (void)catalog_detector_path(&w->request.config, o->path, NULL);
    o->apart = pthread_create(&o->thread, NULL, open_detector, o) == 0;
    if (!o->apart)
        (void)open_detector(o);
}

/* The work can be done without. */
static void end_detector(struct work *w, struct opening *o, bool of_use)
{
    if (o->apart)
        (void)pthread_join(o->thread, NULL);
    if (o->e.code && of_use)
        cli_error("%s", o->e.message);
    w->vad = o->vad;
}

static int load_weights(struct work *w, bool exact)
{
    struct err e = {0};
    if (whisper_model_load(&w->model, w->request.model_path,
                           exact ? WHISPER_WEIGHTS_AS_GIVEN : WHISPER_WEIGHTS_FASTEST,
                           &e)) {
        cli_error("%s", e.message);
        return EXIT_NO_MODEL;
    }
    return check_model(w);
}

static int load_model(struct work *w)
{
    struct opening detector;
    struct err e = {0};
    if (w->session)
        return EXIT_OK;
    bool exact = compute_type_is_exact(w->request.config.compute_type);
    begin_detector(w, &detector);
    int code = load_weights(w, exact);
    end_detector(w, &detector, code == 0);
    if (code)
        return code;
    const struct whisper_session_options options = {
        .threads = (int)w->request.config.worker_threads,
        .max_batch = w->request.options.params.batch_size,
        .exact = exact,
        .vad = w->vad};
    int status = whisper_session_open(&w->session, w->model, &options, &e);
    if (status)
        cli_error("%s", e.message);
    return status ? EXIT_ERROR : EXIT_OK;
}

/* ---- one input ------------------------------------------------------------------- */

static const char *minutes(double seconds, char out[24])
{
    long s = (long)seconds;
    if (s >= 3600)
        (void)snprintf(out, 24, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        (void)snprintf(out, 24, "%ld:%02ld", s / 60, s % 60);
    return out;
}

static const char *basename_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void draw(struct work *w, double done, bool now)
{
    char at[24], of[24], detail[120];
    double elapsed = clock_monotonic_seconds() - w->began_at;
    (void)snprintf(detail, sizeof detail, "%s of %s, %.1f times as fast",
                   minutes(done, at), minutes(w->seconds, of),
                   elapsed > 0 ? done / elapsed : 0);
    if (!w->request.quiet)
        cli_bar_draw(&w->bar, basename_of(w->input),
                     w->seconds > 0 ? done / w->seconds : 1, detail, now);
}

static void on_decoded(void *arg, const struct media_info *info, const struct pcm *pcm)
{
    (void)pcm;
    struct work *w = arg;
    w->seconds = info->seconds;
    w->began_at = clock_monotonic_seconds();
    draw(w, 0, true);
}

static void on_segment(void *arg, const struct transcript_segment *segment)
{
    draw(arg, segment->end, false);
}

static void on_window(void *arg, int64_t next_frame, int64_t total_frames)
{
    int64_t frame = next_frame < total_frames ? next_frame : total_frames;
    draw(arg, (double)frame / WHISPER_FRAMES_PER_SECOND, false);
}

/* A descriptor of a regular file, or an error. */
static int open_input(const char *name, struct err *e)
{
    bool standard = !strcmp(name, "-");
    int fd = standard ? dup(STDIN_FILENO) : open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (fd < 0)
        return err_errno(e, "cannot open %.200s", standard ? "standard input" : name);
    if (fstat(fd, &st)) {
        int status = err_errno(e, "cannot look at %.200s", name);
        close(fd);
        return status;
    }
    if (S_ISREG(st.st_mode))
        return fd;
    int status = S_ISDIR(st.st_mode) ? err_set(e, ERR_INVALID, "%.200s is a folder", name)
                                     : media_spool(fd, NULL, STDIN_BYTES, e);
    close(fd);
    return status;
}

/* The decoder works while the model is loaded. */
static int start_decoding(const struct work *w, int fd, struct decoding **out,
                          struct err *e)
{
    struct media_limits limits;
    media_limits_init(&limits);
    limits.max_seconds = (double)w->request.config.max_audio_seconds;
    limits.formats = w->request.config.allowed_formats;
    limits.cancelled = cli_interrupted;
    return media_start(out, fd, &limits, e);
}

/* Takes the decoding. */
static int hear(struct work *w, struct decoding *decoding, struct transcript *t,
                struct err *e)
{
    struct transcribe_options options = {.params = w->request.options.params,
                                         .model_name = w->request.model_name};
    const struct transcribe_callbacks callbacks = {.arg = w,
                                                   .cancelled = cli_interrupted,
                                                   .decoded = on_decoded,
                                                   .segment = on_segment,
                                                   .window = on_window};
    cli_bar_init(&w->bar);
    w->began_at = clock_monotonic_seconds();
    int status = transcribe_file(w->session, decoding, &options, &callbacks, t, e);
    cli_bar_clear(&w->bar);
    return status;
}

static int input_failed(const struct work *w, int status, const struct err *e)
{
    if (cli_interrupted(NULL))
        return EXIT_INTERRUPTED;
    cli_error("%s: %s", w->input, e->message);
    switch (status) {
    case ERR_NOMEM:
    case ERR_FULL:
    case ERR_IO:
    case ERR_AWAY:
        return EXIT_ERROR;
    default:
        return EXIT_INPUT;
    }
}

static void print_warning(void *arg, const char *sentence)
{
    const struct work *w = arg;
    cli_error("%s: warning: %s", w->input, sentence);
}

static int write_outputs(struct work *w, const struct transcript *t)
{
    struct err e = {0};
    char took[24], of[24];
    double elapsed = clock_monotonic_seconds() - w->began_at;
    if (outputs_write(&w->request.outputs, w->input, t, &w->request.options.subtitles,
                      &e)) {
        cli_error("%s: %s", w->input, e.message);
        return EXIT_ERROR;
    }
    if (!w->request.quiet)
        transcript_warnings(t, print_warning, w);
    if (w->bar.terminal && !w->request.quiet)
        fprintf(stderr, "%s: %s of %s in %s\n", w->input, minutes(t->duration, of),
                t->language_name, minutes(elapsed, took));
    return EXIT_OK;
}

/* Takes the decoding. */
static int do_decoding(struct work *w, struct decoding *decoding)
{
    struct err e = {0};
    struct transcript t;
    int code = load_model(w);
    if (code) {
        media_abandon(decoding);
        return code;
    }
    transcript_init(&t);
    int status = hear(w, decoding, &t, &e);
    code = status ? input_failed(w, status, &e) : write_outputs(w, &t);
    transcript_release(&t);
    return code;
}

static int do_input(struct work *w, const char *input)
{
    struct err e = {0};
    struct decoding *decoding;
    w->input = input;
    int fd = open_input(input, &e);
    if (fd < 0) {
        cli_error("%s", e.message);
        return cli_interrupted(NULL) ? EXIT_INTERRUPTED : EXIT_INPUT;
    }
    int status = start_decoding(w, fd, &decoding, &e);
    close(fd);
    return status ? input_failed(w, status, &e) : do_decoding(w, decoding);
}

/* ---- the command ----------------------------------------------------------------- */

/* One bad input does not stop the others; a model that cannot be had, or an interrupt,
 * does. The code tells the worst. */
static int do_inputs(struct work *w, char **inputs, int count)
{
    int worst = EXIT_OK;
    for (int i = 0; i < count; i++) {
        int code = do_input(w, inputs[i]);
        if (code == EXIT_INTERRUPTED || code == EXIT_NO_MODEL || code == EXIT_USAGE)
            return code;
        if (code && worst != EXIT_ERROR)
            worst = code;
    }
    return worst;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

int command_transcribe(int argc, char **argv)
{
    if (asks_for_help(argc, argv)) {
        fputs(help_head, stdout);
        switches_help(stdout);
        fputs(help_tail, stdout);
        return cli_finish_output();
    }
    struct work w = {.request.outputs.wanted[FORMAT_TXT] = true};
    int code = request_parse(&w.request, argc, argv);
    cli_catch_signals();
    if (!code)
        code = request_prepare(&w.request, argv + optind, argc - optind);
    if (!code)
        code = do_inputs(&w, argv + optind, argc - optind);
    whisper_session_close(w.session);
    whisper_model_free(w.model);
    vad_close(w.vad);
    request_release(&w.request);
    return code;
}
