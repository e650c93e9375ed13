"""Long recordings: error rates, and whether anything is lost, said again and again, or at a time that cannot be."""

import wave

from basic import tokens
from clips import text_of
from recordings import as_wav, joined
from score import distance, loops, lost, missing_run, untimely
from systems import BEAMS
from table import percent, table

OURS = ["default", "sequential", "previous text"]  # default is batched: where Silero listens
PEER = ["default", "no context", "vad"]
LARGE_BYTES = 300 << 20  # with a larger model only the default is measured: the others would take an hour
HEAD = ["recording, model, search", "system, mode", "errors, %", "lost stretches over 3 s", "most words missing in a row",
        "loops", "times that cannot be"]


def seconds_of(wav):
    with wave.open(str(wav)) as file:
        return file.getnframes() / file.getframerate()


def judge(item, answer, wav):
    """Error rate in %, lost seconds, words missing in a row, loops, impossible times."""
    ref = tokens(" ".join(u[2] for u in item["utterances"]), item["language"])
    hyp = tokens(text_of(answer), item["language"])
    gone = lost(item["utterances"], answer["segments"])
    again = loops(ref, hyp)
    return {"errors": distance(ref, hyp), "count": len(ref), "lost": gone, "missing": missing_run(ref, hyp),
            "loops": again, "untimely": untimely(answer["segments"], seconds_of(wav))}


def show(j):
    gone = f"{len(j['lost'])} ({sum(b - a for a, b in j['lost']):.0f} s)" if j["lost"] else "0"
    again = "; ".join(f"“{words}” × {times}" for words, times in j["loops"][:2]) or "0"
    again = f"{len(j['loops'])}: {again}" if j["loops"] else again
    return [percent(j["errors"], j["count"]), gone, j["missing"], again, j["untimely"]]


def report(setting):
    rows, sums = [], {}
    for item in setting.long + list(joined(setting.cache, setting.clips)):
        wav = as_wav(setting.cache, item["file"])
        for model in models_for(setting, item):
            for search in BEAMS:
                done = both(setting, item, wav, model, search)
                rows += [[f"{item['name']}, {model}, {search}", name, *show(j)] for name, j in done]
                add(sums, f"{model}, {search}", done)
    return table(HEAD, rows, numbers_from=2) + "\n\n### All of them together\n\n" + together(sums)


def models_for(setting, item):
    """Joined clips are heard with the first model only: the others would take hours."""
    models = setting.models[:1] if item["name"].startswith("joined") else setting.models
    return [m for m in models if item["language"] == "en" or not m.endswith(".en")]


def add(sums, key, done):
    """Errors of the recordings that both sides have heard, ours by default and whisper.cpp with its detector."""
    by_name = dict(done)
    if "whisper.cpp, vad" not in by_name:
        return
    total = sums.setdefault(key, {"recordings": 0, "count": 0, "ours": 0, "peer": 0, "ours_lost": 0, "peer_lost": 0})
    ours, peer = by_name["ours, default"], by_name["whisper.cpp, vad"]
    total["recordings"] += 1
    total["count"] += ours["count"]
    for side, j in (("ours", ours), ("peer", peer)):
        total[side] += j["errors"]
        total[f"{side}_lost"] += sum(b - a for a, b in j["lost"])


def together(sums):
    rows = [[key, t["recordings"], t["count"], percent(t["ours"], t["count"]), percent(t["peer"], t["count"]),
             f"{t['ours_lost']:.0f}", f"{t['peer_lost']:.0f}"] for key, t in sums.items()]
    return table(["model, search", "recordings", "words and characters", "ours, default, %", "whisper.cpp, vad, %",
                  "ours: seconds lost", "whisper.cpp: seconds lost"], rows)


def both(setting, item, wav, model, search):
    path, language = setting.model(model), item["language"]
    done, is_joined = [], item["name"].startswith("joined")
    others = OURS[1:] if path.stat().st_size < LARGE_BYTES and not is_joined else []
    for mode in OURS[:1] + others:
        setting.progress(f"long {item['name']} {model} {search} ours {mode}")
        answer = setting.ours.transcribe(wav, path, language, search, mode)
        done.append((f"ours, {mode}", judge(item, answer, wav)))
    for mode in PEER if not is_joined else ["vad"]:
        if not setting.may_run_peer(wav, path, language, search, mode):
            continue
        setting.progress(f"long {item['name']} {model} {search} whisper.cpp {mode}")
        answer = setting.peer.transcribe(wav, path, language, search, mode)
        done.append((f"whisper.cpp, {mode}", judge(item, answer, wav)))
    return done if any(name.startswith("whisper.cpp") for name, _ in done) else []
