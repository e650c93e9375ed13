"""Results on disk: what was once computed from the same bytes is not computed again.

A transcription is a function of a program, its arguments and the files that it reads. The name of a
result is the SHA-256 of all of these, files by their content, so that an interrupted run goes on
where it stopped and a changed program, model or recording never meets an old result.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path

DEFAULT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper-transcriber" / "accuracy"


class Cache:
    def __init__(self, folder=DEFAULT):
        self.folder = Path(folder)
        self.wavs = self.folder / "wav"
        self.sounds = self.folder / "sounds"
        self.packages = self.folder / "packages"
        for place in (self.wavs, self.sounds, self.packages, self.folder / "results"):
            place.mkdir(parents=True, exist_ok=True)
        self.digests = {}
        self.found, self.computed = {}, {}  # how many results of each program came from where

    def digest(self, path):
        """SHA-256 of a file, kept while its size and time stay."""
        path = Path(path).resolve()
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in self.digests:
            with open(path, "rb") as file:
                sha = hashlib.sha256()
                while block := file.read(1 << 20):
                    sha.update(block)
            self.digests[key] = sha.hexdigest()
        return self.digests[key]

    def name(self, program, words):
        """The place of a result. Words that are files count by content."""
        parts = [program]
        for word in words:
            parts.append(self.digest(word) if isinstance(word, Path) else str(word))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def place(self, name):
        return self.folder / "results" / name[:2] / f"{name}.json"

    def has(self, program, words):
        return self.place(self.name(program, words)).exists()

    def get(self, who, program, words, compute):
        """The stored result, or what compute() gives, which is then stored."""
        place = self.place(self.name(program, words))
        try:
            stored = json.loads(place.read_text(encoding="utf-8"))
            self.found[who] = self.found.get(who, 0) + 1
            return stored["result"]
        except FileNotFoundError:
            pass
        result = compute()
        self.computed[who] = self.computed.get(who, 0) + 1
        write(place, json.dumps({"program": program, "words": [Path(w).name if isinstance(w, Path) else str(w)
                                                               for w in words],
                                 "result": result}, ensure_ascii=False))
        return result


def write(place, text):
    """All of it or nothing: a run may be interrupted at any time."""
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=place.parent, suffix=".part")
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, place)
