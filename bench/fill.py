"""Run the peer over everything that the report compares, into the cache, and stop.

The peer's results do not change with our program, and on a small machine they take hours. The order puts
what the report needs most first, and each part is a fair sample of the languages for as far as it got.
"""

from recordings import as_wav
from sounds import all_sounds
from systems import BEAMS
from wordtimes import EDGES, synthetic

SLICE = 45  # three of every language


def plan(clips, long, cache, models):
    """(file, model, language, search, mode) in the order in which they are worth having."""
    english = [c for c in clips if c["spoken"] == "en"]
    light = [m for m in models if m != "small"]
    for model in light:
        yield from over_long(long, model, "vad", ["greedy"])
    for model in light:
        some = english if model.endswith(".en") else clips
        for first in range(0, len(some), 2 * SLICE):
            for search in BEAMS:
                yield from over(some[first:first + 2 * SLICE], model, search)
        yield from over_long(long, model, "default", ["greedy"])
    yield from beside_clips(light[:2], long, cache)
    if "small" in models:
        for search in BEAMS:
            yield from over(clips[:SLICE], "small", search)
        yield from over_long(long, "small", "vad", ["greedy"])
    for mode in ("vad", "default", "no context"):
        for model in light:
            yield from over_long(long, model, mode, BEAMS)
    if "small" in models:
        for first in range(SLICE, len(clips), SLICE):
            for search in BEAMS:
                yield from over(clips[first:first + SLICE], "small", search)
        for mode in ("default", "vad", "no context"):
            yield from over_long(long, "small", mode, BEAMS)


def beside_clips(models, long, cache):
    """What the parts about word times and about sounds without speech need."""
    for model in models:
        for file, _ in synthetic(cache):
            yield file, model, "en", "greedy", "words"
        for item in long:
            if item["name"] == EDGES:
                yield item["file"], model, "en", "greedy", "words"
    for mode in ("default", "vad"):
        for _, file in all_sounds(cache):
            yield file, models[0], "en", "greedy", mode


def over(clips, model, search):
    for clip in clips:
        yield clip["file"], model, clip["spoken"], search, "default"


def over_long(long, model, mode, searches):
    for search in searches:
        for item in long:
            if item["language"] == "en" or not model.endswith(".en"):
                yield item["file"], model, item["language"], search, mode


def fill(setting):
    work = list(plan(setting.clips, setting.long, setting.cache, setting.models))
    for done, (source, model, language, search, mode) in enumerate(work):
        if mode == "vad" and not setting.peer.vad:
            continue
        setting.peer.transcribe(as_wav(setting.cache, source), setting.model(model), language, search, mode)
        setting.progress(f"{done + 1} of {len(work)}: {model} {search} {mode} {source.name}")
