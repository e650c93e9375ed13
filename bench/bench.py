"""Run the engine and whisper.cpp on the same work in turn and print ratios of medians.

whisper.cpp runs with the f16 file and with q8_0 made of it by its own whisper-quantize; the better of the two
counts.

A figure of one run on a shared machine says little; a ratio of medians, both sides measured
alternately in the same minutes, says something.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ROOT / "build" / "whisper-transcriber"
ENGINE_BENCH = ROOT / "build" / "bench" / "engine-bench"
MODELS = Path(os.environ.get("WHISPER_MODEL_DIR", ROOT / "models"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper-transcriber"


class Peer:
    """whisper.cpp's programs, native or inside a debootstrapped folder."""

    def __init__(self, folder=None, jail=None):
        self.folder, self.jail = folder, jail

    @staticmethod
    def find(folder):
        if folder:
            return Peer(folder=Path(folder).resolve())
        found = shutil.which("whisper-cli")
        if found:
            return Peer(folder=Path(found).parent)
        return Peer(jail=install_from_debian())

    def command(self, program, *words):
        if not self.jail:
            return [str(self.folder / program), *map(str, words)]
        return ["chroot", str(self.jail), program, *(self.inside(w) for w in words)]

    def inside(self, word):
        """Files are linked or copied into the jail; other words stay as they are."""
        path = Path(str(word))
        if not path.is_absolute() or not path.is_file():
            return str(word)
        place = self.jail / "bench" / path.name
        place.parent.mkdir(exist_ok=True)
        if not place.exists() or place.stat().st_size != path.stat().st_size:
            shutil.copyfile(path, place)
        return "/bench/" + path.name

    def version(self):
        out = subprocess.run(self.command("whisper-cli", "--version"), capture_output=True, text=True)
        found = re.search(r"\d+\.\d+\.\d+", out.stdout + out.stderr)
        where = "Debian's package" if self.jail else "native build"
        return f"whisper.cpp {found.group(0) if found else '(version not told)'}, {where}"


def install_from_debian():
    jail = CACHE / "peer-sid"
    if (jail / "usr" / "bin" / "whisper-cli").exists():
        return jail
    if os.geteuid() != 0:
        sys.exit("whisper.cpp is not here: name its folder with --peer, or run this once as root")
    print(f"installing whisper.cpp from Debian sid into {jail}", file=sys.stderr)
    if not shutil.which("debootstrap"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "debootstrap"], check=True)
    jail.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["debootstrap", "--variant=minbase", "sid", str(jail)], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run(["chroot", str(jail), "apt-get", "install", "-y", "-qq",
                    "--no-install-recommends", "whisper.cpp"], check=True, stdout=subprocess.DEVNULL)
    return jail


def run(command):
    """Seconds of wall clock, peak resident MiB over the process and its children, output."""
    with tempfile.TemporaryFile() as out:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{text[-2000:]}")
    return seconds, usage.ru_maxrss / 1024, text


def our_engine(model, threads):
    """engine-bench prints name, value and unit, separated by tabs."""
    _, _, text = run([str(ENGINE_BENCH), str(model), str(threads)])
    figures = {}
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) == 3:
            try:
                figures[parts[0]] = float(parts[1])
            except ValueError:
                pass
    return figures


def peer_engine(peer, model, threads):
    _, _, text = run(peer.command("whisper-bench", "-m", model, "-t", threads))
    figures = {}
    for name, label in (("encoder_ms", "encode"), ("decoder_ms_token", "decode"),
                        ("decoder_ms_token_batch", "batchd")):
        found = re.search(label + r" time = .*\(\s*([\d.]+) ms per run\)", text)
        if found:
            figures[name] = float(found.group(1))
    return figures


def whole_file(peer, models, audio, threads, beams):
    """Commands: ours, and the peer's with each of its files."""
    ours = [str(OURS), "transcribe", "--quiet", "--model", str(models[0]), "--language", "en", "--threads",
            str(threads), "--beam-size", str(beams), "--best-of", str(beams), str(audio)]
    return [ours] + [peer.command("whisper-cli", "-m", m, "-l", "en", "-t", threads, "-bs", beams, "-bo", beams,
                                  "-np", audio) for m in models]


def quantised(peer, model):
    """The same weights in whisper.cpp's q8_0, made once; None where its program for that is missing."""
    place = CACHE / "quantised" / (Path(model).stem + "-q8_0.bin")
    if place.exists() and place.stat().st_mtime > Path(model).stat().st_mtime:
        return place
    if peer.jail or not (peer.folder / "whisper-quantize").exists():
        return None
    place.parent.mkdir(parents=True, exist_ok=True)
    run(peer.command("whisper-quantize", model, place, "q8_0"))
    return place


class Report:
    """Rows of a table, and the same as JSON."""

    def __init__(self):
        self.rows = []

    def head(self, title, sides):
        print(f"### {title}\n\n| what | ours | {' | '.join(sides)} | times as fast | unit | least–most, ours |\n"
              f"|---|---:|{'---:|' * len(sides)}---:|---|---|", flush=True)
        self.title, self.sides = title, sides

    def row(self, what, unit, ours, *theirs):
        a, others = statistics.median(ours), [statistics.median(t) for t in theirs]
        ratio = min(others) / a
        print(f"| {what} | {a:.4g} | {' | '.join(f'{b:.4g}' for b in others)} | {ratio:.2f} | {unit} | "
              f"{min(ours):.4g}–{max(ours):.4g} |", flush=True)
        self.rows.append({"model": self.title, "what": what, "unit": unit, "ours": ours,
                          "theirs": dict(zip(self.sides, theirs)), "times": ratio})


def find_model(name):
    if os.path.exists(name):
        return Path(name).resolve()
    path = MODELS / f"ggml-{name}.bin"
    if not path.exists():
        run([str(OURS), "models", "pull", name])
    return path.resolve()


def as_wav(audio, folder):
    """Both sides get the same 16 kHz WAV, so that no decoder is measured."""
    wav = Path(folder) / (Path(audio).stem + ".16k.wav")
    run(["ffmpeg", "-v", "error", "-y", "-i", str(audio), "-ac", "1", "-ar", "16000",
         "-c:a", "pcm_s16le", str(wav)])
    return wav


def repeated(wav, seconds, folder):
    out = Path(folder) / f"speech-{seconds}s.wav"
    run(["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", str(wav), "-t", str(seconds),
         "-c:a", "pcm_s16le", str(out)])
    return out


def describe_machine():
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {len(os.sched_getaffinity(0))} processors"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", help="name or path (default: tiny, base.en)")
    parser.add_argument("--audio", action="append", help="recording for the whole-file figures")
    parser.add_argument("--beam-size", type=int, action="append", help="of the whole-file figures (default: 1 and 5)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="write all figures into this file, too")
    parser.add_argument("--peer", default=os.environ.get("WHISPER_CPP"), help="folder of whisper-cli")
    arguments = parser.parse_args()

    peer = Peer.find(arguments.peer)
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.audio:
            recordings = [as_wav(a, scratch) for a in arguments.audio]
        else:
            clip = ROOT / "tests" / "engine" / "golden" / "clean.wav"
            recordings = [clip.resolve(), repeated(clip, 300, scratch)]
        print(f"{describe_machine()}; {arguments.threads} threads; medians of {arguments.runs}, "
              f"in turn; peer: {peer.version()}\n")
        report = Report()
        for name in arguments.model or ["tiny", "base.en"]:
            measure_model(peer, name, find_model(name), recordings, arguments, report)
        if arguments.json:
            arguments.json.write_text(json.dumps({"machine": describe_machine(), "threads": arguments.threads,
                                                  "peer": peer.version(), "rows": report.rows}, indent=1))


ENGINE_ROWS = (("encoder, one 30 s window", "encoder_ms", "encoder_ms"),
               ("decoder, one sequence, per token", "decoder_ms_token", "decoder_ms_token"),
               ("decoder, five sequences, per token", "decoder_ms_token_batch", "decoder_ms_token_batch"),
               ("decoder, eight sequences beside its one, per token", "decoder_ms_token_batch8", "decoder_ms_token"))


def measure_model(peer, name, model, recordings, arguments, report):
    short = quantised(peer, model)
    models = [model, short] if short else [model]
    report.head(name, ["whisper.cpp f16", "whisper.cpp q8_0"][:len(models)])
    figures = [{} for _ in range(1 + len(models))]
    for _ in range(arguments.runs):
        sides = [our_engine(model, arguments.threads)] + [peer_engine(peer, m, arguments.threads) for m in models]
        for total, side in zip(figures, sides):
            for key, value in side.items():
                total.setdefault(key, []).append(value)
    for what, ours, theirs in ENGINE_ROWS:
        if ours in figures[0] and all(theirs in f for f in figures[1:]):
            report.row(what, "ms", figures[0][ours], *(f[theirs] for f in figures[1:]))
    for audio in recordings:
        for beams in arguments.beam_size or [1, 5]:
            commands = whole_file(peer, models, audio, arguments.threads, beams)
            seconds, peaks = [[] for _ in commands], [[] for _ in commands]
            for _ in range(arguments.runs):
                for side, command in enumerate(commands):
                    elapsed, peak, _ = run(command)
                    seconds[side].append(elapsed)
                    peaks[side].append(peak)
            how = "greedy" if beams == 1 else f"beam {beams}"
            report.row(f"whole process, {audio.stem}, {how}", "s", *seconds)
            report.row(f"peak memory, {audio.stem}, {how}", "MiB", *peaks)
    print()


if __name__ == "__main__":
    main()
