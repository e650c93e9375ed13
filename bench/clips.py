"""Error rates over a set of clips, by model, search and language."""

import random
from collections import defaultdict

from basic import BY_CHARACTER, tokens
from recordings import as_wav
from score import distance
from systems import BEAMS
from table import percent, table

LARGE_BYTES = 300 << 20
OURS_F32, OURS_DEFAULT, PEER = "f32", "auto", "peer"


def text_of(answer):
    return "".join(s["text"] for s in answer["segments"])


class Tally:
    """Errors and counts of files, system by system."""

    def __init__(self):
        self.files = []  # (language, count, {system: errors}, path)
        self.differ = 0  # whose text is another in f32

    def add(self, clip, texts):
        ref = tokens(clip["transcript"], clip["language"])
        said = {s: tokens(t, clip["language"]) for s, t in texts.items()}
        self.differ += OURS_F32 in said and said[OURS_F32] != said[OURS_DEFAULT]
        self.files.append((clip["language"], len(ref), {s: distance(ref, t) for s, t in said.items()}, clip["path"]))

    def chosen(self, keep):
        return [f for f in self.files if keep(f[0])]


def rates(files, systems):
    count = sum(f[1] for f in files)
    return [percent(sum(f[2][s] for f in files), count) for s in systems]


def difference(files, ours):
    """Points by which we differ from the peer, and the 95 % interval over other choices of such files."""
    def points(sample):
        return 100 * sum(f[2][ours] - f[2][PEER] for f in sample) / max(1, sum(f[1] for f in sample))
    if not files:
        return "–"
    draw = random.Random(1)
    spread = sorted(points(draw.choices(files, k=len(files))) for _ in range(1000))
    return f"{points(files):+.2f} ({spread[25]:+.2f} to {spread[974]:+.2f})"


def measure(setting, model, search):
    """Both systems over the clips that the model can do; where the peer may only answer from its cache, over those
    that it has done."""
    tally, path = Tally(), setting.model(model)
    f32_clips = setting.f32_clips if path.stat().st_size < LARGE_BYTES else setting.f32_clips // 4
    for clip in setting.clips:
        if model.endswith(".en") and clip["language"] != "en":
            continue
        wav, language = as_wav(setting.cache, clip["file"]), clip["spoken"]
        if not setting.may_run_peer(wav, path, language, search):
            continue
        texts = {PEER: text_of(setting.peer.transcribe(wav, path, language, search)),
                 OURS_DEFAULT: text_of(setting.ours.transcribe(wav, path, language, search))}
        if len(tally.files) < f32_clips:
            texts[OURS_F32] = text_of(setting.ours.transcribe(wav, path, language, search, precision=OURS_F32))
        tally.add(clip, texts)
        setting.progress(f"clips {model} {search} {len(tally.files)} {clip['path']}")
    return tally


def report(setting):
    tallies = {(m, s): measure(setting, m, s) for m in setting.models for s in BEAMS}
    tallies = {k: t for k, t in tallies.items() if t.files}
    systems, names, ours = [OURS_DEFAULT, PEER], ["ours", "whisper.cpp"], OURS_DEFAULT
    parts = ["### The whole set\n", whole(tallies, systems, names, ours)]
    parts += ["\n### Words and characters apart\n", apart(tallies, systems, names)]
    parts += ["\n### By language\n", by_language(tallies, ours)]
    if setting.f32_clips:
        parts += ["\n### f32 beside the default precision\n", precisions(tallies)]
    losses(tallies, ours, setting)
    return "\n".join(parts)


def precisions(tallies):
    rows = []
    for (model, search), tally in tallies.items():
        files = [f for f in tally.files if OURS_F32 in f[2]]
        rows.append([f"{model}, {search}", len(files), sum(f[1] for f in files),
                     *rates(files, [OURS_F32, OURS_DEFAULT, PEER]), tally.differ])
    return table(["model, search", "files", "words and characters", "ours, f32, %", "ours, default, %", "whisper.cpp, %",
                  "files whose text differs"], rows)


def whole(tallies, systems, names, ours):
    rows = []
    for (model, search), tally in tallies.items():
        rows.append([f"{model}, {search}", len(tally.files), sum(f[1] for f in tally.files),
                     *rates(tally.files, systems), difference(tally.files, ours)])
    head = ["model, search", "files", "words and characters", *(f"{n}, %" for n in names),
            "ours less whisper.cpp, points (95 %)"]
    return table(head, rows)


def apart(tallies, systems, names):
    rows = []
    for (model, search), tally in tallies.items():
        words = tally.chosen(lambda lang: lang not in BY_CHARACTER)
        signs = tally.chosen(lambda lang: lang in BY_CHARACTER)
        rows.append([f"{model}, {search}", sum(f[1] for f in words), *rates(words, systems),
                     sum(f[1] for f in signs), *rates(signs, systems)])
    head = ["model, search", "words", *(f"{n}, WER %" for n in names), "characters", *(f"{n}, CER %" for n in names)]
    return table(head, rows)


def by_language(tallies, ours):
    rows = defaultdict(dict)
    for key, tally in tallies.items():
        for language in sorted({f[0] for f in tally.files}):
            rows[language][key] = tally.chosen(lambda lang, wanted=language: lang == wanted)
    keys = list(tallies)
    body = []
    for language, cells in sorted(rows.items()):
        most = max(cells.values(), key=len)
        row = [language, len(most), sum(f[1] for f in most)]
        for key in keys:
            files = cells.get(key)
            note = f" ({len(files)})" if files and len(files) < len(most) else ""
            row.append(" / ".join(rates(files, [ours, PEER])) + note if files else "")
        body.append(row)
    head = ["language", "files", "counted", *(f"{m}, {s}: ours / whisper.cpp, %" for m, s in keys)]
    return table(head, body) + "\n\nA number in brackets: over so many files, the others were not done."


def losses(tallies, ours, setting):
    """On standard error: the files on which we lose most."""
    for key, tally in tallies.items():
        for _, _, errors, path in sorted(tally.files, key=lambda f: f[2][PEER] - f[2][ours])[:setting.worst]:
            if errors[ours] > errors[PEER]:
                setting.progress(f"{' '.join(key)}: {errors[ours] - errors[PEER]:+d} {path}")
