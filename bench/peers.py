"""The programs that are measured: where ours are, and whisper.cpp and CTranslate2, found or installed."""

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ROOT / "build" / "whisper-transcriber"
ENGINE_BENCH = ROOT / "build" / "bench" / "engine-bench"
MACHINE_LIMITS = ROOT / "build" / "bench" / "machine-limits"
MODELS = Path(os.environ.get("WHISPER_MODEL_DIR", ROOT / "models"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper-transcriber"

Done = collections.namedtuple("Done", "seconds peak out err")  # wall clock; peak resident MiB of a process


def environment(**more):
    """Without what makes OpenMP's threads wait otherwise than by default."""
    return {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} | more


def run(command, **more):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                                   env=environment(**more))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{''.join(texts)[-2000:]}")
    return Done(seconds, usage.ru_maxrss / 1024, *texts)


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

    def has(self, program):
        return (self.jail / "usr" / "bin" / program if self.jail else self.folder / program).exists()

    def version(self):
        out = subprocess.run(self.command("whisper-cli", "--version"), capture_output=True, text=True)
        found = re.search(r"\d+\.\d+\.\d+", out.stdout + out.stderr)
        where = "Debian's package" if self.jail else "native build"
        return f"whisper.cpp {found.group(0) if found else '(version not told)'}, {where}"

    def files(self, model):
        """Names of its sides, and the file of each: f16, and q8_0 where it can be made."""
        short = self.quantised(model)
        return {"whisper.cpp f16": model} | ({"whisper.cpp q8_0": short} if short else {})

    def quantised(self, model):
        """The same weights in whisper.cpp's q8_0, made once; None where its program for that is missing."""
        place = CACHE / "quantised" / (Path(model).stem + "-q8_0.bin")
        if place.exists() and place.stat().st_mtime > Path(model).stat().st_mtime:
            return place
        if self.jail or not self.has("whisper-quantize"):
            return None
        place.parent.mkdir(parents=True, exist_ok=True)
        run(self.command("whisper-quantize", model, place, "q8_0"))
        return place


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


class CTranslate2:
    """The package ctranslate2, in a Python of its own."""

    def __init__(self, python):
        self.python = python

    @staticmethod
    def find(python):
        """The Python named; else one in the cache, which the package is installed for. None: it cannot be had."""
        if python:
            if not can_import(python, "ctranslate2.models, numpy"):
                sys.exit(f"{python} cannot import ctranslate2 and numpy")
            return CTranslate2(python)
        folder = CACHE / "ctranslate2"
        python = folder / "bin" / "python"
        if can_import(python, "ctranslate2.models, numpy"):
            return CTranslate2(python)
        print(f"installing CTranslate2 into {folder}", file=sys.stderr)
        for command in ([sys.executable, "-m", "venv", folder],
                        [python, "-m", "pip", "install", "--quiet", "--retries", "1", "ctranslate2", "numpy"]):
            if subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode:
                print("CTranslate2 cannot be installed here: it is left out", file=sys.stderr)
                return None
        return CTranslate2(python)

    def run(self, model, threads, *words):
        """What ct2.py prints."""
        folder = CACHE / "ctranslate2-models" / Path(model).stem
        made = folder / "model.bin"
        if not made.exists() or made.stat().st_mtime < Path(model).stat().st_mtime:
            run([self.python, Path(__file__).with_name("ct2_convert.py"), model, folder])
        return json.loads(run([self.python, Path(__file__).with_name("ct2.py"), model, folder, *words,
                               "--threads", threads]).out)

    def version(self):
        told = run([self.python, "-c", "import ctranslate2; print(ctranslate2.__version__)"]).out.strip()
        return f"CTranslate2 {told}, int8"


def can_import(python, modules):
    try:
        return not subprocess.run([str(python), "-c", f"import {modules}"], capture_output=True, check=False).returncode
    except OSError:
        return False


def python_with_numpy():
    """This Python, or the system's, whichever has numpy."""
    for python in (sys.executable, "/usr/bin/python3"):
        if can_import(python, "numpy"):
            return python
    return sys.exit("numpy is needed: install Debian's python3-numpy")


def find_model(name):
    """A file, a published model's name, or generated:SHAPE."""
    if os.path.exists(name):
        return Path(name).resolve()
    if name.startswith("generated:"):
        return generated(name.removeprefix("generated:"))
    path = MODELS / f"ggml-{name}.bin"
    if not path.exists():
        run([OURS, "models", "pull", name])
    return path.resolve()


def generated(shape):
    place = CACHE / "generated" / f"ggml-{shape}.bin"
    if not place.exists():
        print(f"drawing weights of the shape of {shape}", file=sys.stderr)
        place.parent.mkdir(parents=True, exist_ok=True)
        run([python_with_numpy(), Path(__file__).with_name("generate_model.py"), shape, find_model("tiny"), place])
    return place
