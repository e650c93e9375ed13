"""The same recording, the same settings: the same bytes?"""

import json
from difflib import SequenceMatcher

from clips import text_of
from recordings import as_wav, run
from table import table

SECONDS = 60


def pieces(setting):
    """The beginning of each long recording, and the first clips."""
    for item in setting.long:
        whole = as_wav(setting.cache, item["file"])
        piece = whole.with_name(f"{whole.stem}-{SECONDS}s.wav")
        if not piece.exists():
            part = piece.with_suffix(".part")
            run(["ffmpeg", "-v", "error", "-y", "-i", whole, "-t", SECONDS, "-map_metadata", "-1", "-fflags",
                 "+bitexact", "-c:a", "copy", "-f", "wav", part])
            part.rename(piece)
        yield piece, item["language"]
    for clip in setting.clips[:3]:
        yield as_wav(setting.cache, clip["file"]), clip["spoken"]


# What must not matter: (name, threads, more words). Those of a group are compared with its first.
GROUPS = [
    ("sequential", [("2 threads", 2, 0), ("2 threads, again", 2, 0), ("1 thread", 1, 0)]),
    ("batched", [("8 windows at once", 2, 8), ("4", 2, 4), ("2", 2, 2), ("1", 2, 1), ("8, 1 thread", 1, 8)]),
]


def document(setting, wav, language, precision, mode, threads, batch):
    """Never from the cache: it is the doing again that is looked at."""
    more = ["--batch-size", str(batch)] if batch else []
    words = setting.ours.words(setting.model(setting.models[0]), language, "greedy", mode, precision, more)
    words[words.index("--threads") + 1] = str(threads)
    return setting.ours.bytes(words, wav)


def report(setting):
    files, rows = list(pieces(setting)), []
    for precision in ("f32", "auto"):
        for mode, variants in GROUPS:
            first = None
            for name, threads, batch in variants:
                setting.progress(f"same {precision} {mode} {name}")
                made = [document(setting, wav, language, precision, mode, threads, batch) for wav, language in files]
                if first is None:
                    first, first_name = made, name
                    continue
                rows.append([f"{precision}, {mode}: {name}", first_name, *compare(first, made)])
    head = ["precision, mode: run", "beside", "documents", "same bytes", "same text", "least likeness of a text, %"]
    return f"Model {setting.models[0]}, greedy.\n\n" + table(head, rows, numbers_from=2)


def compare(first, made):
    texts = [(text_of(json.loads(a)), text_of(json.loads(b))) for a, b in zip(first, made)]
    likeness = min(SequenceMatcher(None, a, b, autojunk=False).ratio() if a or b else 1.0 for a, b in texts)
    return [len(made), sum(a == b for a, b in zip(first, made)), sum(a == b for a, b in texts), f"{100 * likeness:.1f}"]
