"""Word error rate of English recordings: ours and whisper.cpp's on the same weights and samples.

Both sides get the same 16 kHz WAV made by ffmpeg and decode greedily with the fallback ladder; whisper.cpp
with its defaults otherwise. The rates are those of wer.py's normaliser over the whole set.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import wer
from bench import OURS, Peer, find_model


# whisper.cpp is not told to leave its times out, because then it also decodes without them.
TIMES = re.compile(r"^\[[\d:.]+ --> [\d:.]+\]", re.MULTILINE)


def read_manifest(path, limit):
    with open(path, encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                if r["language"] == "en"]
    return rows[:limit] if limit else rows


def read_long(path):
    """A long recording; beside it a list of its utterances: start, end, transcript."""
    with open(path.with_suffix(".tsv"), encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {"path": str(path.resolve()), "transcript": " ".join(r["transcript"] for r in rows)}


def to_wav(source, target):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", str(source), "-vn", "-ac", "1", "-ar", "16000",
                    "-c:a", "pcm_s16le", str(target)], check=True)


def text_of(command, what):
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:  # a missing text would count as a bad one
        sys.exit(f"{what}: ended with {done.returncode}: {done.stderr.decode('utf-8', 'replace').strip()}")
    text = TIMES.sub("", done.stdout.decode("utf-8", "replace"))
    return " ".join(text.split())


def transcribe(peer, model, wav, threads, context):
    ours = text_of([str(OURS), "transcribe", "--model", str(model), "--language", "en", "--threads",
                    str(threads), str(wav)], f"ours, {wav.name}")
    theirs = text_of(peer.command("whisper-cli", "-m", model, "-l", "en", "-t", threads, "-bs", "1",
                                  "-bo", "1", "-np", *context, wav),
                     f"whisper.cpp, {wav.name}")
    return ours, theirs


def judge(reference, hypothesis):
    """Errors and reference words of one pair, normalised."""
    a, b = wer.normalise(reference), wer.normalise(hypothesis)
    return sum(wer.errors(a, b)), len(a)


def measure(peer, name, rows, folder, scratch, arguments):
    model = find_model(name)
    totals, words, worst = [0, 0], 0, []
    for index, entry in enumerate(rows):
        wav = Path(scratch) / f"{index:04d}.wav"
        if not wav.exists():
            to_wav(folder / entry["path"], wav)
        texts = transcribe(peer, model, wav, arguments.threads,
                           ["-mc", "0"] if arguments.peer_without_context else [])
        judged = [judge(entry["transcript"], t) for t in texts]
        words += judged[0][1]
        for side in (0, 1):
            totals[side] += judged[side][0]
        worst.append((judged[0][0] - judged[1][0], entry["path"], entry["transcript"], *texts))
    rates = [100 * t / max(words, 1) for t in totals]
    print(f"| {name} | {len(rows)} | {words} | {rates[0]:.2f} | {rates[1]:.2f} | "
          f"{rates[0] - rates[1]:+.2f} |", flush=True)
    for more, path, reference, ours, theirs in sorted(worst, reverse=True)[:arguments.worst]:
        if more > 0:
            print(f"  {more:+d} {path}\n    said   {reference}\n    ours   {ours}\n    theirs {theirs}",
                  file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", action="append")
    parser.add_argument("--peer", default=os.environ.get("WHISPER_CPP"))
    parser.add_argument("--peer-without-context", action="store_true",
                        help="whisper.cpp, too, does not carry text from window to window")
    parser.add_argument("--long", action="append", type=Path, default=[],
                        help="a long recording with its utterances in a .tsv beside it")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--worst", type=int, default=0, help="show this many files where we lose")
    arguments = parser.parse_args()

    peer = Peer.find(arguments.peer)
    rows = read_manifest(arguments.manifest, arguments.limit) + [read_long(p) for p in arguments.long]
    print(f"peer: {peer.version()}\n\n| model | files | words | ours, WER % | whisper.cpp, WER % | "
          "difference, points |\n|---|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.model or ["tiny", "base.en"]:
            measure(peer, name, rows, arguments.manifest.resolve().parent, scratch, arguments)


if __name__ == "__main__":
    main()
