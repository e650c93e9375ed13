"""The two systems that are compared, each as a function from samples and settings to timed text.

Settings are equal where both have them: the language, the beam, the number of drawn sequences. A mode is what
differs: for whisper.cpp "default", "no context" (it does not tell a window what the one before said) and "vad";
for ours "default", "sequential", "previous text" (it does tell, as whisper.cpp by default) and "no vad", each in the default precision or in f32.
"""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from peers import MODELS, OURS, Peer
from recordings import run

# Threads that wait for one another by spinning make it several times slower on a machine that is shared.
PATIENT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
BEAMS = {"greedy": 1, "beam 5": 5}
DTW_NAMES = {"large-v3": "large.v3", "large-v3-turbo": "large.v3.turbo", "large-v2": "large.v2", "large-v1": "large.v1"}


def preset(model):
    """What whisper.cpp calls the alignment heads of a published model."""
    name = Path(model).stem.removeprefix("ggml-").split("-q")[0]
    return DTW_NAMES.get(name, name)


class Ours:
    name = "ours"

    modes = {
        "default": [],
        "sequential": ["--mode", "sequential"],
        "batched": ["--mode", "batched"],
        "no vad": ["--no-vad-filter"],
        "multilingual": ["--multilingual"],
        "previous text": ["--condition-on-previous-text"],
    }

    def __init__(self, cache, binary=OURS, threads=2):
        self.cache, self.binary, self.threads = cache, Path(binary).resolve(), threads
        self.environment = {"WHISPER_MODEL_DIR": str(MODELS)}  # where it finds its voice detector
        self.identity = f"{cache.digest(self.binary)}-{cache.digest(self.detector())}"

    def detector(self):
        ask = [self.binary, "models", "path", "silero-vad"]
        answer = subprocess.run(ask, capture_output=True, text=True, check=False, env={**os.environ, **self.environment})
        if answer.returncode:
            run([self.binary, "models", "pull", "silero-vad"], **self.environment)
            return run(ask, **self.environment).decode().strip()
        return answer.stdout.strip()

    def version(self):
        told = run([self.binary, "--version"]).decode().strip()
        return f"{told}, SHA-256 {self.identity[:16]}…"

    def words(self, model, language, search, mode, precision, more):
        return ["--model", Path(model), "--language", language, "--threads", str(self.threads),
                "--beam-size", str(BEAMS[search]), "--best-of", "5", "--compute-type", precision,
                *self.modes[mode], *more]

    def transcribe(self, wav, model, language, search="greedy", mode="default", precision="auto", more=()):
        """What --format json holds."""
        words = self.words(model, language, search, mode, precision, more)
        return self.cache.get(self.name, self.identity, [*words, Path(wav)], lambda: json.loads(self.bytes(words, wav)))

    def bytes(self, words, wav):
        """The document itself, to compare byte by byte."""
        return run([self.binary, "transcribe", "--quiet", "--format", "json", *words, wav],
                   **self.environment)


class WhisperCpp:
    """whisper.cpp. It is not told to leave its times out: then it would also decode without them."""

    name = "whisper.cpp"

    def __init__(self, cache, folder=None, vad=None, threads=2):
        self.cache, self.peer, self.threads = cache, Peer.find(folder), threads
        self.vad = Path(vad) if vad else None
        self.identity = self.identify()

    def identify(self):
        """The program and the libraries of its own that it loads."""
        root = self.peer.jail
        program = root / "usr" / "bin" / "whisper-cli" if root else self.peer.folder / "whisper-cli"
        parts = [self.cache.digest(program)]
        loads = ["chroot", str(root), "ldd", "/usr/bin/whisper-cli"] if root else ["ldd", str(program)]
        for path in re.findall(r"=> (\S*(?:ggml|whisper)\S*)",
                               subprocess.run(loads, capture_output=True, text=True, check=False).stdout):
            parts.append(self.cache.digest(root / path.lstrip("/") if root else path))
        return "-".join(parts)

    def version(self):
        return f"{self.peer.version()}, SHA-256 {self.identity[:16]}…"

    def words(self, model, language, search, mode):
        more = {"default": [], "no context": ["-mc", "0"], "vad": ["--vad", "-vm", self.vad],
                "words": ["-dtw", preset(model), "-nfa"]}[mode]  # its alignment excludes flash attention
        return ["-m", Path(model), "-l", language, "-t", str(self.threads), "-bs", str(BEAMS[search]), "-bo", "5",
                "-np", *more]

    def transcribe(self, wav, model, language, search="greedy", mode="default"):
        """Mode "words": with every token's time, by its estimate and by its alignment."""
        words = self.words(model, language, search, mode)
        convert, wanted = (self.tokens, "-ojf") if mode == "words" else (self.segments, "-oj")
        return self.cache.get(self.name, self.identity, [*words, Path(wav)],
                              lambda: self.read([*words, wanted], wav, convert))

    def has(self, wav, model, language, search="greedy", mode="default"):
        return self.cache.has(self.identity, [*self.words(model, language, search, mode), Path(wav)])

    def read(self, words, wav, convert):
        with tempfile.TemporaryDirectory(dir=self.peer.jail / "tmp" if self.peer.jail else None) as folder:
            out = Path(folder) / "out"
            inside = "/" + str(out.relative_to(self.peer.jail)) if self.peer.jail else str(out)
            run(self.peer.command("whisper-cli", *words, "-of", inside, wav), **PATIENT)
            answer = json.loads(out.with_suffix(".json").read_text(encoding="utf-8", errors="replace"))
        return {"language": answer["result"]["language"], "segments": [convert(s) for s in answer["transcription"]]}

    @staticmethod
    def segments(s):
        return {"start": s["offsets"]["from"] / 1000, "end": s["offsets"]["to"] / 1000, "text": s["text"]}

    @staticmethod
    def tokens(s):
        tokens = [{"text": t["text"], "start": t["offsets"]["from"] / 1000, "end": t["offsets"]["to"] / 1000,
                   "aligned": t["t_dtw"] / 100} for t in s["tokens"] if not t["text"].startswith("[_")]
        return {**WhisperCpp.segments(s), "tokens": tokens}
