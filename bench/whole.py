"""Whole recordings: seconds and memory of a process from its start to the text; and what the texts are worth."""

import re
import wave
from pathlib import Path

import basic
import recordings
import score
from cache import Cache
from peers import OURS, run
from report import PEERS

LONG_SECONDS = 300  # from here on a recording is held to the bars of whole recordings
WHOLE_TEXT = 0.9  # of our words: a side that leaves more out is not compared with where another does not
CT2_SIDES = {"CTranslate2, batches of 8": ("--batch", 8), "CTranslate2, batches of 8, times": ("--batch", 8, "--times"),
             "CTranslate2, one by one": ("--batch", 1)}


def seconds_of(wav):
    with wave.open(str(wav)) as file:
        return file.getnframes() / file.getframerate()


def reference_of(audio):
    """What is said in a recording: the text file beside it, or the table of its utterances; or None."""
    text, table = Path(audio).with_suffix(".txt"), Path(audio).with_suffix(".tsv")
    if text.exists():
        return text.read_text(encoding="utf-8")
    return " ".join(row["transcript"] for row in recordings.rows_of(table)) if table.exists() else None


def prepare(audio, language, join):
    """[(name, 16 kHz WAV, reference or None)]: both sides get the same samples, so that no decoder is measured. A
    table with tabs (as for script/accuracy) stands for its clips of the language. With `join`, all clips one behind
    the other, up to so many seconds."""
    cache, clips = Cache(), []
    for path in map(Path, audio):
        if path.suffix == ".tsv":
            clips += [c for c in recordings.read_manifest(path) if c["spoken"] == language]
        else:
            clips.append({"path": path.stem, "file": path.resolve(), "transcript": reference_of(path)})
    if not join:
        return [(Path(c["path"]).stem, recordings.as_wav(cache, c["file"]), c["transcript"]) for c in clips]
    chosen, total = [], 0.0
    for clip in clips:
        length = seconds_of(recordings.as_wav(cache, clip["file"]))
        if total + length <= join:
            chosen.append(clip)
            total += length + max(recordings.PAUSES)
    made = recordings.join(cache, chosen)
    texts = [c["transcript"] for c in chosen]
    return [(f"{len(chosen)} clips joined, {seconds_of(made['file']):.0f} s", made["file"],
             None if None in texts else " ".join(texts))]


def rate(reference, text, language):
    """Word error rate in percent, or of characters where words are not spaced."""
    said, heard = basic.tokens(reference, language), basic.tokens(text, language)
    return 100 * score.distance(said, heard) / max(1, len(said))


def ours(model, wav, options, beams):
    done = run([OURS, "transcribe", "--quiet", "--model", model, "--language", options.language, "--threads",
                options.threads, "--beam-size", beams, "--best-of", beams, wav])
    return done.seconds, done.peak, done.out


def whisper_cpp(peer, file, wav, options, beams):
    done = run(peer.command("whisper-cli", "-m", file, "-l", options.language, "-t", options.threads, "-bs", beams,
                            "-bo", beams, "-np", wav))
    return done.seconds, done.peak, strip_times(done.out)


def strip_times(text):
    """whisper-cli is not told to leave its times out: then it would decode without them, too."""
    return re.sub(r"^\[[\d:.]+ --> [\d:.]+\]", "", text, flags=re.M)


def ctranslate2(ct2, model, wav, options, beams, words):
    answer = ct2.run(model, options.threads, wav, "--beam-size", beams, *words)
    return answer["seconds"], answer["peak_mib"], answer["text"]


def sides_of(peer, ct2, model, wav, options, beams):
    """Functions that transcribe, by side; ours first. CTranslate2 only hears long recordings, in English alone."""
    sides = {"ours": lambda: ours(model, wav, options, beams)}
    for side, file in peer.files(model).items():
        sides[side] = lambda file=file: whisper_cpp(peer, file, wav, options, beams)
    if ct2 and options.language == "en" and seconds_of(wav) >= LONG_SECONDS:
        for side, words in CT2_SIDES.items():
            sides[side] = lambda words=words: ctranslate2(ct2, model, wav, options, beams, words)
    return sides


def measure(peer, ct2, model, recording, options, bars, report):
    """Rows of one recording: time, memory, and below them the texts' error rates, which are printed later."""
    name, wav, reference = recording
    long, notes = seconds_of(wav) >= LONG_SECONDS, []
    for beams in options.beam_size or [1, 5]:
        how = "greedy" if beams == 1 else f"beam {beams}"
        sides = sides_of(peer, ct2, model, wav, options, beams)
        results = {side: [] for side in sides}
        for _ in range(options.runs):
            for side, transcribe in sides.items():
                results[side].append(transcribe())
        seconds, peaks = ({s: [r[i] for r in results[s]] for s in sides} for i in (0, 1))
        texts = {side: some[0][2] for side, some in results.items()}
        partial = leave_out({side: len(basic.tokens(text, options.language)) for side, text in texts.items()})
        report.row(f"whole process, {name}, {how}", "s", seconds.pop("ours"), seconds,
                   bars["whole" if long else "clip"], partial=partial)
        report.row(f"peak memory, {name}, {how}", "MiB", peaks.pop("ours"), peaks, bars["memory"], partial=partial)
        notes.append(compare(f"{name}, {how}", texts, reference, options.language, report))
    return notes


def leave_out(words):
    """Sides that nobody is compared with, by their numbers of words: those that leave out much of the text, where
    another side of the same peer has more of it."""
    out = set()
    for peer in PEERS:
        counts = {side: n for side, n in words.items() if side.startswith(peer)}
        least = min(WHOLE_TEXT * words["ours"], max(counts.values(), default=0))
        out |= {side for side, n in counts.items() if n < least}
    return out


def compare(what, texts, reference, language, report):
    """A sentence about each side's text; kept in the report, too."""
    facts = {side: {"words": len(basic.tokens(text, language))} for side, text in texts.items()}
    for side, text in texts.items():
        if reference:
            facts[side]["error_rate"] = rate(reference, text, language)
        if side != "ours":
            facts[side]["from_ours"] = rate(texts["ours"], text, language)
    report.facts.setdefault("texts", []).append({"table": report.title, "what": what, "sides": facts})
    parts = []
    for side, fact in facts.items():
        words = [f"{fact['words']} words"]
        words += [f"{fact['error_rate']:.2f} % errors"] if "error_rate" in fact else []
        words += [f"{fact['from_ours']:.2f} % away from ours"] if "from_ours" in fact else []
        parts.append(f"{side} {', '.join(words)}")
    return f"Texts, {what}: {'; '.join(parts)}."


def self_test():
    assert leave_out({"ours": 100, "whisper.cpp f16": 95, "CTranslate2 a": 60, "CTranslate2 b": 80}) == {"CTranslate2 a"}
    assert leave_out({"ours": 100, "whisper.cpp f16": 50, "whisper.cpp q8_0": 99}) == {"whisper.cpp f16"}
    assert rate("a red house", "A house!", "en") == 100 / 3
    assert strip_times("[00:00:00.000 --> 00:00:02.000]  a [b]\n") == "  a [b]\n"


if __name__ == "__main__":
    self_test()
