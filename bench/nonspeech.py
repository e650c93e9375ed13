"""Words that a system writes where nobody speaks."""

from collections import defaultdict

import wer
from clips import text_of
from longform import seconds_of
from sounds import all_sounds
from table import table

MODES = [("ours", "default"), ("ours", "no vad"), ("whisper.cpp", "default"), ("whisper.cpp", "vad")]


def words_of(answer):
    """Remarks in brackets, such as [Music], are not words."""
    return len(wer.normalise(text_of(answer)))


def report(setting):
    model = setting.model(setting.models[0])
    seconds, words = defaultdict(float), defaultdict(lambda: defaultdict(int))
    for kind, file in all_sounds(setting.cache):
        seconds[kind] += seconds_of(file)
        for system, mode in MODES:
            if mode == "vad" and not setting.peer.vad:
                continue
            setting.progress(f"nonspeech {file.name} {system} {mode}")
            side = setting.ours if system == "ours" else setting.peer
            words[kind][system, mode] += words_of(side.transcribe(file, model, "en", "greedy", mode))
    modes = [m for m in MODES if m != ("whisper.cpp", "vad") or setting.peer.vad]
    rows = [[kind, f"{seconds[kind]:.0f}", *(words[kind][m] for m in modes)] for kind in seconds]
    rows.append(["**all**", f"{sum(seconds.values()):.0f}", *(f"**{sum(w[m] for w in words.values())}**" for m in modes)])
    return (f"Model {setting.models[0]}, greedy; words written:\n\n"
            + table(["sound", "seconds", *(f"{s}, {m}" for s, m in modes)], rows))
