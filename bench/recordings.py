"""The recordings that accuracy is measured on: a manifest of clips, long recordings, their samples."""

import csv
import hashlib
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

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
