"""Long recordings: error rates, and whether anything is lost, said again and again, or at a time that cannot be."""

import wave

from basic import tokens
from clips import text_of
from recordings import as_wav
from score import distance, loops, lost, missing_run, untimely
from systems import BEAMS
from table import percent, table

OURS = ["default", "sequential", "previous text"]  # default is batched: where Silero listens
PEER = ["default", "no context", "vad"]
LARGE_BYTES = 300 << 20  # with a larger model only the default is measured: the others take an hour
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
    rows = []
    for item in setting.long:
        wav = as_wav(setting.cache, item["file"])
        for model in setting.models:
            if model.endswith(".en") and item["language"] != "en":
                continue
            for search in BEAMS:
                rows += [[f"{item['name']}, {model}, {search}", *row]
                         for row in both(setting, item, wav, model, search)]
    return table(HEAD, rows, numbers_from=2)


def both(setting, item, wav, model, search):
    path, language = setting.model(model), item["language"]
    done = []
    others = OURS[1:] if path.stat().st_size < LARGE_BYTES else []
    for mode in OURS[:1] + others:
        setting.progress(f"long {item['name']} {model} {search} ours {mode}")
        answer = setting.ours.transcribe(wav, path, language, search, mode)
        done.append([f"ours, {mode}", *show(judge(item, answer, wav))])
    for mode in PEER:
        if not setting.may_run_peer(wav, path, language, search, mode):
            continue
        setting.progress(f"long {item['name']} {model} {search} whisper.cpp {mode}")
        answer = setting.peer.transcribe(wav, path, language, search, mode)
        done.append([f"whisper.cpp, {mode}", *show(judge(item, answer, wav))])
    return done if any(row[0].startswith("whisper.cpp") for row in done) else []
