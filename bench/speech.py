"""Does the voice detector keep what is said, and drop what is not?

    python3 bench/speech.py MANIFEST.tsv [--detector FILE] [--every N]

Clips as they are and made worse with sox, long recordings with the times of their utterances, and sounds
in which nobody speaks; prints tables for docs/model.md. A clip's speech is told by level here: the frames of
10 ms within 20 dB of its loud ones and 3 dB above its background, before it was made worse.
"""

import argparse
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from cache import DEFAULT, Cache
from recordings import as_wav, read_long, read_manifest, run
from sounds import all_sounds
from table import percent, table

PROGRAM = Path(os.environ.get("SPEECH_BENCH", Path(__file__).resolve().parent.parent / "build/bench/speech-bench"))
NOISE = {"white noise": "whitenoise", "pink noise": "pinknoise"}

# name: what sox does to a clip.
EFFECTS = {
    "20 dB softer": "gain -20", "40 dB softer": "gain -40", "50 dB softer": "gain -50",
    "a telephone's band": "sinc 300-3400", "clipped": "gain 20", "reverberation": "gain -6 reverb 80",
    "five semitones higher": "gain -3 pitch 500", "four lower": "gain -3 pitch -400", "twice as fast": "gain -3 tempo 2",
}


class Detector:
    def __init__(self, detector):
        self.command = [PROGRAM] + ([detector] if detector else [])
        self.seconds = self.processor = 0

    def find(self, pairs):
        """(heard, original) pairs of WAV files: a list of (frames, found, sounding, kept, spans)."""
        text = "".join(f"{heard}\t{original}\n" for heard, original in pairs)
        answer = subprocess.run(self.command, input=text, capture_output=True, text=True, check=True).stdout
        results = []
        for line in answer.splitlines():
            *numbers, spans = line.split("\t")
            frames, found, sounding, kept, ms = map(float, numbers)
            self.seconds += frames / 100
            self.processor += ms / 1000
            results.append((frames, found, sounding, kept, [tuple(map(int, s.split("-"))) for s in spans.split()]))
        return results


def made(cache, source, name, build):
    target = cache.sounds / f"{cache.digest(source)[:20]}-{name.replace(' ', '-').replace(chr(39), '')}.wav"
    if not target.exists():
        build(target)
    return target


def effect(cache, source, name):
    words = EFFECTS[name].split()
    return made(cache, source, name, lambda t: run(["sox", "-R", "-D", source, "-b", "16", t, *words]))


def loudness(source):
    """Root mean square of what is said, near enough: that of all, 3 dB up for the pauses."""
    said = subprocess.run(["sox", source, "-n", "stat"], capture_output=True, text=True, check=True).stderr
    return next(float(line.split()[-1]) for line in said.splitlines() if "RMS" in line and "amplitude" in line) * 1.41


def noisy(cache, source, kind, ratio_db):
    """The clip at a tenth of full scale, and noise under it."""
    def build(target):
        rms = loudness(source) or 1
        noise = target.with_suffix(".noise.wav")
        seconds = subprocess.run(["soxi", "-D", source], capture_output=True, text=True, check=True).stdout.strip()
        run(["sox", "-R", "-n", "-r", "16000", "-b", "16", noise, "synth", seconds, NOISE[kind], "gain", "-20"])
        volume = 0.1 / 10 ** (ratio_db / 20) / loudness(noise) * 1.41
        run(["sox", "-R", "-D", "-m", "-v", 0.1 / rms, source, "-v", volume, noise, "-b", "16", target])
        noise.unlink()
    return made(cache, source, f"{kind} {ratio_db}", build)


def beside(cache, near, distant, softer_db):
    """Somebody near, two seconds of nothing, somebody so much softer."""
    def build(target):
        first, second = (target.with_suffix(f".{i}.wav") for i in (1, 2))
        run(["sox", "-R", "-D", near, "-b", "16", first, "gain", "-n", "-3", "pad", "0", "2"])
        run(["sox", "-R", "-D", distant, "-b", "16", second, "gain", "-n", -3 - softer_db])
        run(["sox", "-R", "-D", first, second, "-b", "16", target])
        first.unlink()
        second.unlink()
    return made(cache, distant, f"beside {cache.digest(near)[:8]} {softer_db}", build)


# ---- tables ----------------------------------------------------------------------------


def summary(name, results):
    """Share of sounding frames kept, share of audio kept, clips lost altogether, clips with a fifth lost."""
    frames, found, sounding, kept = (sum(r[i] for r in results) for i in range(4))
    lost = sum(r[3] < 0.01 * r[2] for r in results)
    some = sum(r[3] < 0.8 * r[2] for r in results)
    return [name, len(results), percent(kept, sounding), percent(found, frames), lost, some]


def clips_table(detector, cache, rows, every):
    wavs = [(row, as_wav(cache, row["file"])) for row in rows]
    groups = defaultdict(list)
    for (row, wav), result in zip(wavs, detector.find([(w, w) for _, w in wavs])):
        groups[row.get("set") or row["language"]].append(result)
        groups["all"].append(result)
    lines = [summary(name, results) for name, results in sorted(groups.items())]
    some = [wav for _, wav in wavs][::every]
    lines.append(summary(f"every {every}th", detector.find([(w, w) for w in some])))
    for name in EFFECTS:
        heard = [effect(cache, w, name) for w in some]
        lines.append(summary(name, detector.find([(h, h if "fast" in name else w) for h, w in zip(heard, some)])))
    for kind in NOISE:
        for ratio in (10, 0, -5):
            lines.append(summary(f"{kind}, {ratio} dB", detector.find([(noisy(cache, w, kind, ratio), w) for w in some])))
    return table(["clips", "number", "sounding frames kept, %", "audio kept, %", "lost altogether", "a fifth lost"], lines)


def beside_table(detector, cache, rows, every):
    some = [as_wav(cache, row["file"]) for row in rows][::every]
    pairs = list(zip(some, some[1:]))
    lines = []
    for softer in (0, 20, 30, 40):
        heard = [(beside(cache, *pair, softer), beside(cache, *pair, 0)) for pair in pairs]
        lines.append(summary(f"{softer} dB softer", detector.find(heard)))
    return table(["near, then far", "number", "sounding frames kept, %", "audio kept, %", "lost altogether",
                  "a fifth lost"], lines)


def long_table(detector, cache, folder):
    lines = []
    for recording in read_long(folder):
        wav = as_wav(cache, recording["file"])
        [(frames, _, _, _, spans)] = detector.find([(wav, wav)])
        found = [False] * int(frames)
        for start, end in spans:
            found[start:end] = [True] * (end - start)
        said = [False] * int(frames)
        for start, end, _ in recording["utterances"]:
            said[int(start * 100):int(end * 100)] = [True] * (int(end * 100) - int(start * 100))
        kept = sum(f and s for f, s in zip(found, said))
        dropped = sum(not f and not s for f, s in zip(found, said))
        lines.append([recording["name"], percent(kept, sum(said)), percent(dropped, len(said) - sum(said)),
                      percent(sum(found), len(found))])
    return table(["recording", "of the utterances' time kept, %", "of the gaps dropped, %", "audio kept, %"], lines)


def sounds_table(detector, cache):
    kinds = defaultdict(list)
    sounds = list(all_sounds(cache))
    for (kind, _), result in zip(sounds, detector.find([(file, file) for _, file in sounds])):
        kinds[kind].append(result)
        kinds["all"].append(result)
    return table(["sound", "seconds", "taken for speech, s"],
                 [[kind, f"{sum(r[0] for r in results) / 100:.0f}", f"{sum(r[1] for r in results) / 100:.1f}"]
                  for kind, results in kinds.items() if kind != "all"]
                 + [["all", *(f"{sum(r[i] for r in kinds['all']) / 100:.1f}" for i in (0, 1))]])


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("manifest", type=Path)
    words.add_argument("--detector", help="the ONNX file; without it speech is told by level alone")
    words.add_argument("--every", type=int, default=5, help="which clips are made worse (default: every 5th)")
    words.add_argument("--cache", type=Path, default=DEFAULT)
    given = words.parse_args()
    if not PROGRAM.exists():
        sys.exit(f"{PROGRAM} is missing: build first (script/build)")
    cache, detector = Cache(given.cache), Detector(given.detector)
    rows = read_manifest(given.manifest)
    print(clips_table(detector, cache, rows, given.every), end="\n\n")
    print(beside_table(detector, cache, rows, given.every), end="\n\n")
    print(long_table(detector, cache, given.manifest.resolve().parent / "long"), end="\n\n")
    print(sounds_table(detector, cache), end="\n\n")
    print(f"{detector.seconds / 3600:.1f} hours in {detector.processor:.1f} s of one processor")


if __name__ == "__main__":
    main()
