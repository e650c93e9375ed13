"""How far a transcript is from what was said: errors, lost stretches, loops, times that cannot be."""

import sys

import basic
import wer

GAP_SECONDS = 3.0
REPEATS = 4  # the same words so many times in a row are a loop, unless they were said so


def distance(ref, hyp):
    """The least number of substitutions, deletions and insertions."""
    while ref and hyp and ref[0] == hyp[0]:
        ref, hyp = ref[1:], hyp[1:]
    while ref and hyp and ref[-1] == hyp[-1]:
        ref, hyp = ref[:-1], hyp[:-1]
    row = list(range(len(hyp) + 1))
    for i, r in enumerate(ref, 1):
        corner, row[0], left = row[0], i, i
        for j, h in enumerate(hyp, 1):
            up = row[j]
            best = corner if r == h else min(corner, up, left) + 1
            row[j], corner, left = best, up, best
    return row[-1]


def missing_run(ref, hyp):
    """The most reference words in a row that an alignment of least errors leaves without any word."""
    width, rows = len(hyp) + 1, [list(range(len(hyp) + 1))]
    for i, r in enumerate(ref, 1):
        above, row = rows[-1], [i]
        for j, h in enumerate(hyp, 1):
            row.append(above[j - 1] if r == h else min(above[j - 1], above[j], row[j - 1]) + 1)
        rows.append(row)
    i, j, run, most = len(ref), width - 1, 0, 0
    while i:
        if j and ref[i - 1] == hyp[j - 1] and rows[i][j] == rows[i - 1][j - 1]:
            i, j, run = i - 1, j - 1, 0
        elif j and rows[i][j] == rows[i - 1][j - 1] + 1:
            i, j, run = i - 1, j - 1, 0
        elif rows[i][j] == rows[i - 1][j] + 1:
            i, run = i - 1, run + 1
            most = max(most, run)
        else:
            j, run = j - 1, 0
    return most


def lost(utterances, segments):
    """Stretches of spoken time longer than 3 s that no segment with text overlaps: (start, end)."""
    found, spans = [], sorted((s["start"], s["end"]) for s in segments if s["text"].strip())
    for start, end, _ in utterances:
        at = start
        for a, b in spans:
            if b <= at or a >= end:
                continue
            if a - at > GAP_SECONDS:
                found.append((at, a))
            at = max(at, b)
        if end - at > GAP_SECONDS:
            found.append((at, end))
    return found


def repeats(words, n):
    """For every group of n words, how often it comes in a row at most."""
    most = {}
    for first in range(min(n, len(words))):
        groups = [tuple(words[i:i + n]) for i in range(first, len(words) - n + 1, n)]
        run = 0
        for i, group in enumerate(groups):
            run = run + 1 if i and groups[i - 1] == group else 1
            most[group] = max(run, most.get(group, 0))
    return most


def loops(ref, hyp, longest=12):
    """Groups of words that the transcript repeats in a row more often than was said: [(words, times)]."""
    found = []
    for n in range(1, longest + 1):
        said = repeats(ref, n)
        for group, times in repeats(hyp, n).items():
            if times >= REPEATS and times > said.get(group, 0) and not any(
                    set(group) <= set(g) for g, _ in found):
                found.append((group, times))
    return [(" ".join(group), times) for group, times in sorted(found, key=lambda f: -f[1] * len(f[0]))]


def untimely(segments, seconds):
    """How many segments end before they begin, begin before the one before has ended, or leave the audio."""
    bad, before = 0, 0.0
    for s in segments:
        if s["start"] < before - 1e-6 or s["end"] < s["start"] or s["end"] > seconds + 0.01:
            bad += 1
        before = s["end"]
    return bad


def self_test():
    ref, hyp = "a b c d e f".split(), "a x d e e f".split()
    assert distance(ref, hyp) == sum(wer.errors(ref, hyp)) == 3
    assert missing_run("a b c d e f".split(), "a e f".split()) == 3
    assert missing_run(["a"], []) == 1
    spoken = [(0.0, 10.0, ""), (20.0, 22.0, "")]
    assert lost(spoken, [{"start": 0.5, "end": 4, "text": "x"}]) == [(4, 10.0)]
    assert lost(spoken, [{"start": 1, "end": 9, "text": "x"}]) == []
    assert lost([(0.0, 10.0, "")], [{"start": 4, "end": 9, "text": "x"}]) == [(0.0, 4)]
    assert loops("la la".split(), "so la la la la la".split()) == [("la", 5)]
    assert loops(["la"] * 6, ["la"] * 6) == []
    assert loops([], ["go", "on"] * 5) == [("go on", 5)]
    assert untimely([{"start": 0, "end": 2}, {"start": 1.5, "end": 3}, {"start": 3, "end": 9}], 8) == 2


if __name__ == "__main__":
    self_test()
    sys.exit(not basic.self_test())
