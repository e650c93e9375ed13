#include "job/option_table.h"

#include "base/mem.h"
#include "job/options.h"

#include <math.h>

#define CUE(member)   offsetof(struct job_options, subtitles.member)
#define FIELD(member) offsetof(struct job_options, params.member)

/* docs/accuracy.md says what each does and why its default is what it is. */
static const struct job_option table[] = {
    {"beam_size", OPTION_WHOLE, 0, FIELD(beam_size), 1, WHISPER_MAX_SEQUENCES,
     GROUP_DECODING, "N", "beams searched at temperature 0; 1: greedy"},
    {"patience", OPTION_NUMBER, 0, FIELD(patience), 0.1, 10, GROUP_DECODING, "X",
     "a search ends with beam_size times X texts"},
    {"length_penalty", OPTION_NUMBER, 0, FIELD(length_penalty), 0, 10, GROUP_DECODING,
     "X", "texts are ranked by sum / length^X"},
    {"best_of", OPTION_WHOLE, 0, FIELD(best_of), 1, WHISPER_MAX_SEQUENCES, GROUP_DECODING,
     "N", "texts drawn at temperatures above 0"},
    {"temperature", OPTION_TEMPERATURES, 0, 0, 0, 1, GROUP_DECODING, "T",
     "first step of the ladder, or all: 0,0.4,0.8"},
    {"temperature_increment_on_fallback", OPTION_NUMBER, NONE_IS_ZERO,
     offsetof(struct job_options, temperature_increment), 0, 1, GROUP_DECODING, "X",
     "its steps; none: no fallback"},
    {"repetition_penalty", OPTION_NUMBER, 0, FIELD(repetition_penalty), 0.1, 10,
     GROUP_DECODING, "X", "above 1: what was said is less likely"},
    {"no_repeat_ngram_size", OPTION_WHOLE, 0, FIELD(no_repeat_ngram_size), 0, 100,
     GROUP_DECODING, "N", "no N tokens twice in a window; 0: off"},
    {"max_new_tokens", OPTION_WHOLE, NONE_IS_ZERO, FIELD(max_new_tokens), 0, 448,
     GROUP_DECODING, "N", "of a window; 0: as many as fit"},
    {"seed", OPTION_SEED, 0, FIELD(seed), 0, 0, GROUP_DECODING, "N",
     "of what is drawn at temperatures above 0"},

    {"compression_ratio_threshold", OPTION_NUMBER, NONE_IS_OFF,
     FIELD(compression_ratio_threshold), 0, 1000, GROUP_JUDGEMENT, "X",
     "above: too repetitive, decoded again"},
    {"log_prob_threshold", OPTION_NUMBER, NONE_IS_OFF, FIELD(log_prob_threshold), -1000,
     0, GROUP_JUDGEMENT, "X", "below: too unsure, decoded again"},
    {"no_speech_threshold", OPTION_NUMBER, NONE_IS_OFF, FIELD(no_speech_threshold), 0, 1,
     GROUP_JUDGEMENT, "P", "above, and unsure: nobody speaks"},

    {"suppress_blank", OPTION_BOOLEAN, 0, FIELD(suppress_blank), 0, 0, GROUP_WRITING,
     NULL, "no text begins with a blank"},
    {"suppress_tokens", OPTION_TOKENS, NONE_IS_ZERO, 0, -1, INT32_MAX, GROUP_WRITING,
     "LIST", "never written; -1: signs that are not speech"},
    {"without_timestamps", OPTION_BOOLEAN, 0, FIELD(without_timestamps), 0, 0,
     GROUP_WRITING, NULL, "the model writes no times"},
    {"max_initial_timestamp", OPTION_NUMBER, 0, FIELD(max_initial_timestamp), 0, 30,
     GROUP_WRITING, "S", "a text begins by then; 0: any time"},

    {"prompt", OPTION_TEXT, 0, FIELD(initial_prompt), 0, 0, GROUP_TOLD, "TEXT",
     "words to expect, or what was said before"},
    {"prefix", OPTION_TEXT, 0, FIELD(prefix), 0, 0, GROUP_TOLD, "TEXT",
     "what the first window begins with"},
    {"hotwords", OPTION_TEXT, 0, FIELD(hotwords), 0, 0, GROUP_TOLD, "TEXT",
     "words to expect, told before every window"},
    {"condition_on_previous_text", OPTION_BOOLEAN, 0, FIELD(condition_on_previous_text),
     0, 0, GROUP_TOLD, NULL, "tell what was written before"},
    {"context_pass", OPTION_BOOLEAN, 0, FIELD(context_pass), 0, 0, GROUP_TOLD, NULL,
     "hear each window again with what was said before"},
    {"prompt_reset_on_temperature", OPTION_NUMBER, 0, FIELD(prompt_reset_on_temperature),
     0, 2, GROUP_TOLD, "T", "but not what came out above T"},

    {"mode", OPTION_MODE, 0, FIELD(mode), 0, 0, GROUP_WAY, "MODE",
     "sequential, batched or default"},
    {"batch_size", OPTION_WHOLE, NONE_IS_ZERO, FIELD(batch_size), 0, WHISPER_MAX_BATCH,
     GROUP_WAY, "N", "windows decoded side by side; 0: decide"},
    {"clip_timestamps", OPTION_CLIPS, 0, 0, 0, 1e9, GROUP_WAY, "LIST",
     "only these seconds: start,end,start,end…"},

    {"vad_filter", OPTION_BOOLEAN, 0, FIELD(vad_filter), 0, 0, GROUP_SPEECH, NULL,
     "hear only where somebody speaks"},
    {"vad_parameters", OPTION_VAD, 0, 0, 0, 0, GROUP_SPEECH, "JSON",
     "the following as one object, without vad_"},
    {"vad_threshold", OPTION_NUMBER, 0, FIELD(vad.threshold), 0, 1, GROUP_SPEECH, "P",
     "above: speech"},
    {"vad_neg_threshold", OPTION_NUMBER, NONE_IS_OFF, FIELD(vad.neg_threshold), 0, 1,
     GROUP_SPEECH, "P", "below: its end; none: threshold - 0.15"},
    {"vad_min_speech_duration_ms", OPTION_WHOLE, 0, FIELD(vad.min_speech_duration_ms), 0,
     3600000, GROUP_SPEECH, "MS", "what is shorter is no speech"},
    {"vad_max_speech_duration_s", OPTION_NUMBER, NONE_IS_ENDLESS,
     FIELD(vad.max_speech_duration_s), 0.1, 1e6, GROUP_SPEECH, "S",
     "longer is cut at a pause; none: never"},
    {"vad_min_silence_duration_ms", OPTION_WHOLE, 0, FIELD(vad.min_silence_duration_ms),
     0, 3600000, GROUP_SPEECH, "MS", "a shorter pause is no end"},
    {"vad_speech_pad_ms", OPTION_WHOLE, 0, FIELD(vad.speech_pad_ms), 0, 60000,
     GROUP_SPEECH, "MS", "kept on both sides of speech"},

    {"multilingual", OPTION_BOOLEAN, 0, FIELD(multilingual), 0, 0, GROUP_LANGUAGE, NULL,
     "each window its own language, even if votes agree"},
    {"language_detection_segments", OPTION_WHOLE, 0, FIELD(language_detection_segments),
     1, 1000, GROUP_LANGUAGE, "N", "windows that vote, at most"},
    {"language_detection_threshold", OPTION_NUMBER, 0,
     FIELD(language_detection_threshold), 0, 1, GROUP_LANGUAGE, "P",
     "a window that is so sure decides alone"},

    {"word_timestamps", OPTION_BOOLEAN, 0, FIELD(word_timestamps), 0, 0, GROUP_WORDS,
     NULL, "times of every word"},
    {"prepend_punctuations", OPTION_CHARACTERS, 0, FIELD(prepend_punctuations), 0, 0,
     GROUP_WORDS, "CHARS", "signs that belong to the word behind"},
    {"append_punctuations", OPTION_CHARACTERS, 0, FIELD(append_punctuations), 0, 0,
     GROUP_WORDS, "CHARS", "signs that belong to the word before"},

    {"max_line_width", OPTION_WHOLE, 0, CUE(max_line_width), 8, 500, GROUP_SUBTITLES, "N",
     "characters of a line; wide ones count twice"},
    {"max_line_count", OPTION_WHOLE, 0, CUE(max_line_count), 1, 10, GROUP_SUBTITLES, "N",
     "lines of a subtitle"},
    {"max_words_per_line", OPTION_WHOLE, NONE_IS_ZERO, CUE(max_words_per_line), 0, 100,
     GROUP_SUBTITLES, "N", "0: any number"},
    {"max_cps", OPTION_NUMBER, 0, CUE(max_cps), 1, 1000, GROUP_SUBTITLES, "X",
     "characters to read in a second, if there is time"},
    {"min_cue_duration", OPTION_NUMBER, 0, CUE(min_cue_duration), 0, 5, GROUP_SUBTITLES,
     "S", "seconds, if there is time"},
    {"max_cue_duration", OPTION_NUMBER, 0, CUE(max_cue_duration), 1, 60, GROUP_SUBTITLES,
     "S", "seconds; what lasts longer is divided"},
    {"highlight_words", OPTION_BOOLEAN, 0, CUE(highlight_words), 0, 0, GROUP_SUBTITLES,
     NULL, "underline each word as it is said"},
    {"raw_subtitles", OPTION_BOOLEAN, 0, CUE(raw_subtitles), 0, 0, GROUP_SUBTITLES, NULL,
     "the segments as they are, whatever their length"},
    {0},
};

static const char *const titles[GROUP_COUNT] = {
    [GROUP_DECODING] = "decoding",
    [GROUP_JUDGEMENT] = "what is decoded again, or taken for silence",
    [GROUP_WRITING] = "what may be written",
    [GROUP_TOLD] = "what the model is told",
    [GROUP_WAY] = "the way through a recording",
    [GROUP_SPEECH] = "where speech is",
    [GROUP_LANGUAGE] = "the language",
    [GROUP_WORDS] = "words",
    [GROUP_SUBTITLES] = "subtitles (srt, vtt)",
};

static const struct {
    const char *alias, *name;
} aliases[] = {
    {"initial_prompt", "prompt"},
    {"logprob_threshold", "log_prob_threshold"},
    {"vad_onset", "vad_threshold"},
    {"vad_offset", "vad_neg_threshold"},
};

const struct job_option *job_option_table(void)
{
    return table;
}

const char *job_option_group_title(enum job_option_group g)
{
    return titles[g];
}

static bool same_name(const char *a, const char *b)
{
    while (*a && (*a == *b || (*a == '-' && *b == '_')))
        a++, b++;
    return !*a && !*b;
}

const struct job_option *job_option_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(aliases); i++)
        if (same_name(name, aliases[i].alias))
            name = aliases[i].name;
    for (const struct job_option *o = table; o->name; o++)
        if (same_name(name, o->name))
            return o;
    return NULL;
}

void job_option_expects(const struct job_option *o, struct buf *out)
{
    static const char *const words[] = {
        [OPTION_TEXT] = "a text",
        [OPTION_CHARACTERS] = "a text",
        [OPTION_NUMBER] = "a number",
        [OPTION_WHOLE] = "a whole number",
        [OPTION_SEED] = "a whole number from 0 on",
        [OPTION_BOOLEAN] = "true or false",
        [OPTION_MODE] = "sequential, batched or default",
        [OPTION_TEMPERATURES] =
            "a number from 0 to 1, or a list of up to 8 from 0 to 2 such as 0,0.4,0.8",
        [OPTION_TOKENS] = "a list of token numbers such as 11,50257, with -1 for the "
                          "signs that are not speech",
        [OPTION_CLIPS] = "a list of rising seconds, start,end,start,end …, of up to 256 "
                         "parts; the last end may be missing",
        [OPTION_VAD] = "a JSON object such as {\"threshold\": 0.5}",
    };
    buf_str(out, words[o->kind]);
    if (o->kind == OPTION_NUMBER || o->kind == OPTION_WHOLE)
        buf_printf(out, " from %.10g to %.10g", o->low, o->high);
    if (o->none != NONE_IS_DEFAULT)
        buf_str(out, ", or none");
}
