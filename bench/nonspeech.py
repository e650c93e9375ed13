"""Words that a system writes where nobody speaks."""

from collections import defaultdict

import wer
from clips import text_of
from longform import seconds_of
from recordings import as_wav
from sounds import all_sounds
from table import table

MODES = [("ours", "default"), ("ours", "no vad"), ("whisper.cpp", "default"), ("whisper.cpp", "vad")]


def words_of(answer):
    """Remarks in brackets, such as [Music], are not words."""
    return len(wer.normalise(text_of(answer)))


def report(setting):
    model, done = setting.model(setting.models[0]), defaultdict(list)
    seconds, words = defaultdict(float), defaultdict(lambda: defaultdict(int))
    for kind, file in all_sounds(setting.cache):
        wav = as_wav(setting.cache, file)
        seconds[kind] += seconds_of(wav)
        for system, mode in MODES:
            side = setting.ours if system == "ours" else setting.peer
            if side is setting.peer and not setting.may_run_peer(wav, model, "en", "greedy", mode):
                continue
            setting.progress(f"nonspeech {file.name} {system} {mode}")
            words[kind][system, mode] += words_of(side.transcribe(wav, model, "en", "greedy", mode))
            done[system, mode].append(file)
    whole = max(len(files) for files in done.values())
    modes = [m for m in MODES if len(done[m]) == whole]
    rows = [[kind, f"{seconds[kind]:.0f}", *(words[kind][m] for m in modes)] for kind in seconds]
    rows.append(["**all**", f"{sum(seconds.values()):.0f}", *(f"**{sum(w[m] for w in words.values())}**" for m in modes)])
    return (f"Model {setting.models[0]}, greedy; words written:\n\n"
            + table(["sound", "seconds", *(f"{s}, {m}" for s, m in modes)], rows))
