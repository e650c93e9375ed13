"""Sounds in which nobody speaks, made the same every time: what a transcriber must stay silent on.

Tones and noises come from sox. Music is taken from Debian's packages without installing them; where they
cannot be had the report says so.
"""

import hashlib
import os
import shutil
import subprocess
import sys

from recordings import run

MUSIC = ("asterisk-moh-opsound-wav", "frozen-bubble-data")
MUSIC_SECONDS = 120

# kind: recipes, each a list of parts that are joined, each part what sox is asked to make.
MADE = {
    "digital silence": [["trim 0 120"]],
    "faint noise": [["synth 120 whitenoise vol 0.001"], ["synth 60 pinknoise vol 0.003"]],
    "hum": [["synth 90 sine 50 synth sine mix 100 synth sine mix 150 gain -20"],
            ["synth 60 sawtooth 60 lowpass 400 gain -24"]],
    "white noise": [["synth 90 whitenoise gain -20"], ["synth 30 whitenoise gain -6"]],
    "pink noise": [["synth 90 pinknoise gain -12"]],
    "brown noise": [["synth 90 brownnoise gain -9"]],
    "breathing": [["synth 1.4 pinknoise band -n 800 600 fade h 0.5 1.4 0.6 pad 0 0.5",
                   "synth 1.8 pinknoise band -n 500 400 fade h 0.3 1.8 1.2 pad 0 1.1"] * 25,
                  ["synth 0.7 pinknoise highpass 700 lowpass 3500 fade h 0.3 0.7 0.3 gain -6 pad 0 0.4"] * 50],
    "ringing telephone": [["synth 2 sine 440 synth sine mix 480 gain -12 fade h 0.01 2 0.01 pad 0 4"] * 12,
                          ["synth 2 sine 1000 synth sine mix 1330 tremolo 20 90 gain -12 fade h 0.01 2 0.02 pad 0 3"] * 9],
    "keypad tones": [[f"synth 0.12 sine {low} synth sine mix {high} gain -12 pad 0 0.1"
                      for low in (697, 770, 852, 941) for high in (1209, 1336, 1477)] * 20],
    "busy and alarm tones": [["synth 0.5 sine 425 gain -12 pad 0 0.5"] * 45, ["synth 0.25 square 2000 gain -24 pad 0 0.75"] * 30],
    "clicks": [["synth 0.008 whitenoise fade 0 0.008 0.006 gain -9 pad 0 0.21"] * 200],
}


def sox(words, target):
    part = target.with_suffix(f".{os.getpid()}.part")
    run(["sox", "-R", "-D", *words[0], "-t", "wav", part, *words[1]])
    os.replace(part, target)


def make(cache, kind, number, parts):
    """One file of 16 kHz mono samples: equal parts are made once."""
    recipe = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
    target = cache.sounds / f"{kind.replace(' ', '-')}-{number}-{recipe}.wav"
    if target.exists():
        return target
    made = {}
    for recipe in parts:
        if recipe not in made:
            made[recipe] = cache.sounds / f"part-{len(made)}.{os.getpid()}.wav"
            sox((["-n", "-r", "16000", "-c", "1", "-b", "16"], recipe.split()), made[recipe])
    sox(([made[recipe] for recipe in parts], []), target)
    for place in made.values():
        place.unlink()
    return target


def music(cache):
    """Recordings of music without words, from Debian's packages."""
    files = []
    for package in MUSIC:
        folder = cache.packages / package
        if not folder.exists() and not unpack(cache, package, folder):
            print(f"the package {package} could not be had: measured without it", file=sys.stderr)
            continue
        files += sorted(p for p in folder.rglob("*") if p.suffix in (".wav", ".ogg") and p.stat().st_size > 300_000)
    for source in files:
        target = cache.sounds / f"music-{source.stem}.wav"
        if not target.exists():
            part = target.with_suffix(".part")
            run(["ffmpeg", "-v", "error", "-y", "-i", source, "-t", MUSIC_SECONDS, "-ac", "1", "-ar", "16000",
                 "-map_metadata", "-1", "-fflags", "+bitexact", "-c:a", "pcm_s16le", "-f", "wav", part])
            os.replace(part, target)
        yield target


def unpack(cache, package, folder):
    part = cache.packages / f"{package}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    got = subprocess.run(["apt-get", "-qq", "download", package], cwd=part, capture_output=True, check=False)
    archives = list(part.glob("*.deb"))
    if got.returncode or not archives:
        return False
    run(["dpkg", "-x", archives[0], part / "tree"])
    os.replace(part / "tree", folder)
    shutil.rmtree(part)
    return True


def all_sounds(cache):
    """(kind, file) of everything, in a fixed order."""
    for kind, recipes in MADE.items():
        for number, parts in enumerate(recipes):
            yield kind, make(cache, kind, number, parts)
    for file in music(cache):
        yield "music", file
