#include "wyoming/utterance.h"

#include "base/json_text.h"
#include "base/mem.h"
#include "wyoming/info.h"

#define HOT_WORDS_MAX ((size_t)4000)

void utterance_init(struct utterance *u, struct jobs *jobs)
{
    *u = (struct utterance){.jobs = jobs};
    buf_init(&u->sound, UTTERANCE_IN_MEMORY + WYOMING_WAV_SIZE);
}

void utterance_reset(struct utterance *u)
{
    upload_abort(u->upload);
    free(u->hot_words);
    buf_release(&u->sound);
    utterance_init(u, u->jobs);
}

/* ---- what is asked for ---- */

static void add_words(struct buf *out, const json_t *list)
{
    size_t i;
    const json_t *word;
    json_array_foreach(list, i, word) if (json_string_length(word) > 0)
        buf_printf(out, "%s%s", out->length ? ", " : "", json_string_value(word));
}

/* Names first: where the words are too many, the last ones go. */
static int set_hot_words(struct utterance *u, const json_t *data, struct err *e)
{
    struct buf words;
    buf_init(&words, HOT_WORDS_MAX);
    add_words(&words, json_object_get(data, "transcript_names"));
    add_words(&words, json_object_get(data, "transcript_terms"));
    free(u->hot_words);
    u->hot_words = words.length ? mem_strdup(buf_cstr(&words)) : NULL;
    bool failed = words.length && !u->hot_words;
    buf_release(&words);
    return failed ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

int utterance_ask(struct utterance *u, const json_t *data, struct err *e)
{
    const char *name = json_string_value(json_object_get(data, "name"));
    const char *language = json_string_value(json_object_get(data, "language"));
    if (name && strlen(name) >= sizeof u->model)
        return err_set(e, ERR_INVALID, "that is not the name of a model");
    /* Some clients choose the program, and leave the model to it. */
    bool any = !name || !strcmp(name, WYOMING_PROGRAM);
    (void)snprintf(u->model, sizeof u->model, "%s", any ? "" : name);
    (void)snprintf(u->language, sizeof u->language, "%s", language ? language : "");
    return set_hot_words(u, data, e);
}

/* ---- sound ---- */

static bool has_sound(const struct utterance *u)
{
    return u->upload || u->sound.length > 0;
}

int utterance_format(struct utterance *u, const json_t *data, struct err *e)
{
    struct wyoming_format f;
    int status = wyoming_format_read(&f, data, e);
    if (status)
        return status;
    if (has_sound(u) && memcmp(&f, &u->format, sizeof f) != 0)
        return err_set(e, ERR_INVALID,
                       "the sound changed its format: end it with audio-stop first");
    u->format = f;
    u->begun = true;
    return 0;
}

/* From here on it goes to the storage, behind a head that does not know its end. */
static int begin_upload(struct utterance *u, struct err *e)
{
    uint8_t head[WYOMING_WAV_SIZE];
    wyoming_wav_head(&u->format, WYOMING_WAV_OPEN, head);
    int status = upload_begin(u->jobs, &u->upload, e);
    if (!status)
        status = upload_write(u->upload, head, sizeof head, e);
    if (!status && u->sound.length)
        status = upload_write(u->upload, u->sound.data, u->sound.length, e);
    buf_release(&u->sound);
    return status;
}

int utterance_add(struct utterance *u, const void *bytes, size_t length, struct err *e)
{
    int status = 0;
    if (!u->upload && length <= UTTERANCE_IN_MEMORY - u->sound.length) {
        buf_add(&u->sound, bytes, length);
        return buf_failed(&u->sound) ? err_set(e, ERR_NOMEM, "out of memory") : 0;
    }
    if (!u->upload)
        status = begin_upload(u, e);
    return status ? status : upload_write(u->upload, bytes, length, e);
}

/* ---- the job ---- */

/* A whole file of what is in memory. */
static int upload_all(struct utterance *u, struct err *e)
{
    uint8_t head[WYOMING_WAV_SIZE];
    size_t frame = (size_t)(u->format.width * u->format.channels);
    size_t whole = u->sound.length / frame * frame;
    wyoming_wav_head(&u->format, (uint32_t)whole, head);
    int status = upload_begin(u->jobs, &u->upload, e);
    if (!status)
        status = upload_write(u->upload, head, sizeof head, e);
    return status ? status : upload_write(u->upload, u->sound.data, whole, e);
}

static int submit(struct utterance *u, const char *caller, const char *options,
                  struct job *out, struct err *e)
{
    struct job_request request = {.caller = caller,
                                  .original_filename = "speech.wav",
                                  .model = u->model,
                                  .language = u->language,
                                  .options_json = options};
    struct upload *upload = u->upload;
    u->upload = NULL; /* taken over in every case */
    return jobs_submit(u->jobs, upload, &request, out, e);
}

int utterance_submit(struct utterance *u, const char *caller, struct job *out,
                     struct err *e)
{
    int status = 0;
    char *options = NULL;
    if (!has_sound(u))
        return err_set(e, ERR_INVALID, "no sound came before audio-stop");
    if (!u->upload)
        status = upload_all(u, e);
    if (!status && u->hot_words) {
        json_t *o = json_pack("{s:s}", "hotwords", u->hot_words);
        options = o ? json_text(o, JSON_COMPACT) : NULL;
        json_decref(o);
        if (!options)
            status = err_set(e, ERR_NOMEM, "out of memory");
    }
    if (!status)
        status = submit(u, caller, options, out, e);
    free(options);
    utterance_reset(u);
    return status;
}
