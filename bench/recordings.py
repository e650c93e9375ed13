"""The recordings that accuracy is measured on: a manifest of clips, long recordings, their samples."""

import array
import csv
import hashlib
import os
import random
import subprocess
import sys
import wave
from collections import defaultdict
from pathlib import Path

RATE = 16000

# Languages that Whisper's smaller models have no token for, and the nearest that they have.
STANDS_FOR = {"yue": "zh", "wuu": "zh"}


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def read_manifest(path):
    rows = rows_of(path)
    missing = {"path", "language", "transcript"} - set(rows[0] if rows else ())
    if missing:
        sys.exit(f"{path}: has no column {', '.join(sorted(missing))}; a manifest is a table with tabs and a "
                 "header line, at least path (relative to it), language and transcript")
    for row in rows:
        row["file"] = Path(path).resolve().parent / row["path"]
        row["spoken"] = STANDS_FOR.get(row["language"], row["language"])
    return fair(rows)


def fair(rows):
    """An order of which every beginning is a fair sample: the languages in turn, each shuffled alike."""
    queues = defaultdict(list)
    for row in sorted(rows, key=lambda r: hashlib.sha256(r["path"].encode()).digest()):
        queues[row["language"]].append(row)
    order = []
    while any(queues.values()):
        order += [queue.pop(0) for _, queue in sorted(queues.items()) if queue]
    return order


def read_long(folder):
    """Long recordings, each with a list of its utterances (start, end, transcript) beside it."""
    found = []
    for table in sorted(Path(folder).glob("*.tsv")):
        sound = next((p for p in sorted(table.parent.glob(table.stem + ".*")) if p.suffix != ".tsv"), None)
        if sound is None:
            continue
        utterances = [(float(r["start"]), float(r["end"]), r["transcript"]) for r in rows_of(table)]
        found.append({"name": table.stem, "file": sound.resolve(), "utterances": utterances,
                      "language": "auto" if "language" in table.stem else "en"})
    return found


PAUSES = [0.2, 0.9, 0.4, 1.2, 0.3, 0.6]  # seconds between clips that are joined, in turn
LEAST_CLIPS = 15


def joined(cache, clips):
    """The clips of each language one behind the other: long recordings of many voices, rooms and levels."""
    languages = defaultdict(list)
    for clip in clips:
        languages[clip["language"]].append(clip)
    for language, some in sorted(languages.items()):
        if len(some) >= LEAST_CLIPS:
            yield {"name": f"joined-{language}", "language": language, **join(cache, some)}


def join(cache, clips):
    sound, utterances, noise = bytearray(), [], random.Random(1)
    for number, clip in enumerate(clips):
        with wave.open(str(as_wav(cache, clip["file"]))) as file:
            samples = file.readframes(file.getnframes())
        start = len(sound) / 2 / RATE
        sound += samples
        utterances.append((start, len(sound) / 2 / RATE, clip["transcript"]))
        pause = int(PAUSES[number % len(PAUSES)] * RATE)
        sound += array.array("h", (noise.randint(-3, 3) for _ in range(pause))).tobytes()
    place = cache.sounds / f"joined-{hashlib.sha256(sound).hexdigest()[:20]}.wav"
    if not place.exists():
        part = place.with_suffix(f".{os.getpid()}.part")
        with wave.open(str(part), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(sound)
        os.replace(part, place)
    return {"file": place, "utterances": utterances}


def as_wav(cache, source):
    """The 16 kHz mono samples that every program gets, made once."""
    place = cache.wavs / f"{cache.digest(source)}.wav"
    if not place.exists():
        part = place.with_suffix(f".{os.getpid()}.part")
        run(["ffmpeg", "-v", "error", "-y", "-i", str(source), "-vn", "-ac", "1", "-ar", "16000", "-map_metadata",
             "-1", "-fflags", "+bitexact", "-c:a", "pcm_s16le", "-f", "wav", str(part)])
        os.replace(part, place)
    return place


def run(command, **environment):
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          env={**os.environ, **environment})
    if done.returncode != 0:  # a missing result would count as a bad one
        sys.exit(f"{' '.join(map(str, command))}\nended with {done.returncode}: "
                 f"{done.stderr.decode('utf-8', 'replace').strip()[-2000:]}")
    return done.stdout
