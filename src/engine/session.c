/* Opening what one transcription needs beside the weights. */
#include "engine/session.h"

#include "base/mem.h"
#include "engine/align.h"
#include "engine/search.h"

const char *whisper_token_bytes(const struct whisper_session *s, int32_t token,
                                size_t *length)
{
    return tokenizer_piece(s->tokenizer, token, length);
}

static int open_scratch(struct whisper_session *s)
{
    size_t context = (size_t)s->model->config.n_text_ctx;
    size_t windows = (size_t)s->max_windows;
    size_t n_mels = (size_t)s->model->config.n_mels;
    s->mel_pieces = mem_array(WHISPER_WINDOW_FRAMES, sizeof(*s->mel_pieces));
    s->features = mem_aligned(WHISPER_WINDOW_FRAMES * n_mels, sizeof(float));
    s->prompts = mem_array(windows * context, sizeof(*s->prompts));
    return s->mel_pieces && s->features && s->prompts ? 0 : ERR_NOMEM;
}

/* What can be shared: the net and the search over it. */
static int open_decoder(struct whisper_session *s,
                        const struct whisper_session_options *options, struct err *e)
{
    /* Memory is mapped when it is used: what is not decoded costs nothing. */
    s->max_windows =
        options && options->max_batch > 0 ? options->max_batch : WHISPER_DEFAULT_BATCH;
    struct net_options net = {
        .threads = options ? options->threads : 0,
        .max_windows = s->max_windows,
        .max_slots = s->max_windows * SEARCH_SLOTS,
        .wide_caches = options && options->exact,
        .short_attention = !options || !options->exact,
    };
    if (s->max_windows > WHISPER_MAX_BATCH)
        return err_set(e, ERR_INVALID, "at most %d windows are decoded together, not %d",
                       WHISPER_MAX_BATCH, s->max_windows);
    int rc = net_open(&s->net, s->model, &net, e);
    if (rc < 0)
        return rc;
    if ((rc = tokenizer_open(&s->tokenizer, s->model, e)) < 0)
        return rc;
    return search_open(&s->search, s->model, s->net, s->tokenizer, s->max_windows, e);
}

static void share_decoder(struct whisper_session *s, struct whisper_session *other)
{
    s->beside = true;
    s->max_windows = other->max_windows;
    s->net = other->net;
    s->tokenizer = other->tokenizer;
    s->search = other->search;
}

static int open_parts(struct whisper_session *s,
                      const struct whisper_session_options *options, struct err *e)
{
    int rc = 0;
    if (options && options->beside)
        share_decoder(s, options->beside);
    else
        rc = open_decoder(s, options, e);
    if (rc < 0)
        return rc;
    if ((rc = mel_open(&s->mel, s->model, net_pool(s->net), e)) < 0)
        return rc;
    if (open_scratch(s) < 0)
        return err_set(e, ERR_NOMEM, "no memory is left for a transcription's scratch");
    return 0;
}

int whisper_session_open(struct whisper_session **out, const struct whisper_model *m,
                         const struct whisper_session_options *options, struct err *e)
{
    *out = NULL;
    struct whisper_session *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(e, ERR_NOMEM, "no memory is left for a transcription's scratch");
    s->model = m;
    s->vad = options ? options->vad : NULL;
    int rc = open_parts(s, options, e);
    if (rc < 0) {
        whisper_session_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void whisper_session_close(struct whisper_session *s)
{
    if (!s)
        return;
    align_close(s->align);
    mel_close(s->mel);
    speech_release(&s->speech);
    timeline_release(&s->timeline);
    if (!s->beside) {
        search_close(s->search);
        tokenizer_close(s->tokenizer);
        net_close(s->net);
    }
    free(s->mel_pieces);
    free(s->features);
    free(s->prompts);
    free(s);
}
