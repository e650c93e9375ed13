"""Run the engine and whisper.cpp on the same work in turn and print ratios of medians.

A figure of one run on a shared machine says little; a ratio of medians, both sides measured
alternately in the same minutes, says something.
"""

import argparse
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


def whole_file(peer, model, name, audio, threads):
    ours = [str(OURS), "transcribe", "--model", str(model), "--language", "en", "--threads",
            str(threads), str(audio)]
    theirs = peer.command("whisper-cli", "-m", model, "-l", "en", "-t", threads, "-bs", "1",
                          "-bo", "1", "-np", audio)
    return ours, theirs


def row(what, ours, theirs, unit):
    a, b = statistics.median(ours), statistics.median(theirs)
    spread = f"{min(ours):.4g}–{max(ours):.4g} / {min(theirs):.4g}–{max(theirs):.4g}"
    print(f"| {what} | {a:.4g} | {b:.4g} | {b / a:.2f} | {unit} | {spread} |", flush=True)


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
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
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
        for name in arguments.model or ["tiny", "base.en"]:
            model = find_model(name)
            measure_model(peer, name, model, recordings, arguments)


def measure_model(peer, name, model, recordings, arguments):
    print(f"### {name}\n\n| what | ours | whisper.cpp | times as fast | unit | least–most |\n"
          "|---|---:|---:|---:|---|---|", flush=True)
    ours, theirs = {}, {}
    for _ in range(arguments.runs):
        for figures, total in ((our_engine(model, arguments.threads), ours),
                               (peer_engine(peer, model, arguments.threads), theirs)):
            for key, value in figures.items():
                total.setdefault(key, []).append(value)
    for key, what in (("encoder_ms", "encoder, one 30 s window"),
                      ("decoder_ms_token", "decoder, one sequence, per token"),
                      ("decoder_ms_token_batch", "decoder, batched, per token")):
        if key in ours and key in theirs:
            row(what, ours[key], theirs[key], "ms")
    for audio in recordings:
        a, b = whole_file(peer, model, name, audio, arguments.threads)
        seconds, peaks = ([], []), ([], [])
        for _ in range(arguments.runs):
            for side, command in enumerate((a, b)):
                elapsed, peak, _ = run(command)
                seconds[side].append(elapsed)
                peaks[side].append(peak)
        row(f"whole process, {audio.stem}", *seconds, "s")
        row(f"peak memory, {audio.stem}", *peaks, "MiB")
    print()


if __name__ == "__main__":
    main()
