#include "engine/report.h"

#include "base/mem.h"
#include "engine/level.h"

int report_note(struct whisper_result *r, const struct whisper_callbacks *c,
                const struct whisper_note *note, struct err *e)
{
    struct whisper_report *report = &r->report;
    if (mem_grow(&report->notes, &report->notes_capacity, report->n_notes + 1,
                 sizeof(*report->notes)) < 0) {
        free(note->text);
        return err_set(e, ERR_NOMEM, "no memory is left for the report");
    }
    report->notes[report->n_notes++] = *note;
    if (c && c->note)
        c->note(c->arg, &report->notes[report->n_notes - 1]);
    return 0;
}

int report_vote(struct whisper_result *r, const struct whisper_vote *vote, struct err *e)
{
    struct whisper_report *report = &r->report;
    if (mem_grow(&report->votes, &report->votes_capacity, report->n_votes + 1,
                 sizeof(*report->votes)) < 0)
        return err_set(e, ERR_NOMEM, "no memory is left for the report");
    report->votes[report->n_votes++] = *vote;
    return 0;
}

void report_begin(struct whisper_result *r, const struct speech *s, bool vad_filter)
{
    static const enum whisper_detector detectors[] = {
        [SPEECH_ALL] = WHISPER_DETECTOR_OFF,
        [SPEECH_SILERO] = WHISPER_DETECTOR_SILERO,
        [SPEECH_ENERGY] = WHISPER_DETECTOR_ENERGY,
    };
    struct whisper_report *report = &r->report;
    report->audio_seconds = r->duration_seconds;
    report->detector = vad_filter ? detectors[s->source] : WHISPER_DETECTOR_OFF;
    report->speech_seconds = report->detector == WHISPER_DETECTOR_OFF
                                 ? r->duration_seconds
                                 : speech_seconds(s, 0, s->total_frames);
}

void report_level(struct whisper_result *r, const struct speech *s, const float *samples,
                  size_t n_samples)
{
    struct level level;
    level_measure(&level, samples, n_samples, s);
    r->report.peak_dbfs = level.peak_dbfs;
    r->report.speech_dbfs = level.speech_dbfs;
    r->report.clipped_share = level.clipped_share;
}

void report_end(struct whisper_result *r)
{
    double sum = 0;
    for (size_t i = 0; i < r->n_segments; i++)
        sum += r->segments[i].end_seconds - r->segments[i].start_seconds;
    r->report.text_seconds = sum;
}
