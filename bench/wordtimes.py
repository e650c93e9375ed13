"""How far the times of words are from the truth: synthetic speech, of which every time is known, and the edges
of utterances in natural speech.

Words are compared where both the transcript and the truth have them, found by an alignment of least errors.
"""

import array
import json
import statistics
import wave

import wer
from cache import write
from espeak import Voice, word_times
from recordings import as_wav, run
from table import table

EDGES = "read-continuous"  # the long recording whose utterances are taken for their edges
VOICES = [("en-us", 160), ("en-gb", 150), ("en-us+f3", 155), ("en-gb+m3", 140), ("en-gb-scotland+f2", 145), ("en-us+m7", 165)]

TEXTS = [
    """The morning train was late again, and nobody on the platform seemed surprised. A woman with a green umbrella
    read the notice twice, then sat down beside the old clock. Rain had fallen through the night. Now the fields
    behind the station were bright and wet, and a thin mist lay over the river. When the whistle finally sounded,
    everyone picked up their bags at once. The driver leaned out of his window and waved to the children on the
    bridge. They waved back with both arms, as they did every day. Inside, the carriages smelled of coffee and
    warm paper. A young man opened his notebook, wrote a single sentence, and closed it again. He had promised his
    brother a letter, but he could not decide how to begin. Perhaps he would describe the rain. Perhaps he would
    only say that the summer was over, and that he was coming home.""",
    """To bake good bread you need patience more than anything else. Mix the flour with water and a little salt,
    and let it rest before you add the yeast. The dough will look rough and dry at first. Do not worry about
    that. After an hour it becomes smooth, and you can fold it with wet hands. Turn the bowl, lift one side, and
    press it gently into the middle. Cover it with a cloth and wait until it has grown to twice its size. A hot
    oven makes a strong crust, so heat the stone for a long time. Cut the top of the loaf with a sharp knife, and
    put a small pan of water on the floor of the oven. The steam keeps the surface soft while the bread rises.
    When it sounds hollow under your fingers, it is done. Leave it on a wooden board to cool, because hot bread
    is hard to slice.""",
    """Long before people built machines to measure time, they watched the shadow of a stick. In the morning the
    shadow was long and pointed to the west. At noon it was short. By evening it stretched away to the east, and
    then it vanished with the light. Farmers knew the seasons by the height of the sun, and sailors knew the
    hours of the night by the stars that turned around the pole. Water clocks came later. A vessel with a small
    hole emptied slowly, and marks on the wall showed how much of the day had gone. In cold winters the water
    froze, so monks used candles instead. The first clocks with wheels were heavy and wrong by a quarter of an
    hour each day, but they rang a bell, and a whole town could hear it. From then on, people began to say that
    they had no time.""",
]


def synthetic(cache):
    """(file, [(word, start, end)]) of every voice, made once."""
    speaker = None
    for number, (voice, speed) in enumerate(VOICES):
        text = " ".join(TEXTS[number % len(TEXTS)].split())
        target = cache.sounds / f"espeak-{voice}-{speed}.wav"
        truth = target.with_suffix(".json")
        if not truth.exists():
            speaker = speaker or Voice()
            samples, events = speaker.speak(voice, text, speed)
            raw = target.with_suffix(".raw.wav")
            with wave.open(str(raw), "wb") as file:
                file.setparams((1, 2, speaker.rate, 0, "NONE", ""))
                file.writeframes(samples.tobytes())
            run(["ffmpeg", "-v", "error", "-y", "-i", raw, "-ar", "16000", "-map_metadata", "-1", "-fflags",
                 "+bitexact", "-c:a", "pcm_s16le", target])
            raw.unlink()
            write(truth, json.dumps(word_times(text, samples, events, speaker.rate)))
        yield target, [tuple(w) for w in json.loads(truth.read_text())]


def spoken_edges(wav, utterances):
    """Where the sound of each utterance begins and ends by its level: a word's edge that needs no aligner.

    A clip holds some quiet before and after the words. Speech is what comes within 30 dB of the loudest 10 ms of
    its utterance, after a median over 5 of these against clicks."""
    with wave.open(str(wav)) as file:
        rate, samples = file.getframerate(), array.array("h", file.readframes(file.getnframes()))
    step = rate // 100
    for start, end, text in utterances:
        block = samples[round(start * rate):round(end * rate)]
        levels = [sum(x * x for x in block[i:i + step]) for i in range(0, len(block) - step, step)]
        levels = [statistics.median(levels[max(0, i - 2):i + 3]) for i in range(len(levels))]
        loud = [i for i, level in enumerate(levels) if level > max(levels) / 1000]
        yield start + loud[0] / 100, start + (loud[-1] + 1) / 100, text


# ---------------------------------------------------------------- the words of each system


def our_words(answer):
    return [(w["word"], w["start"], w["end"]) for s in answer["segments"] for w in s.get("words", ())]


def peer_words(answer, aligned):
    """Tokens joined to words. Its alignment gives each token one time, and measured against the truth that is the
    token's end: a word ends with its last token and begins where the word before has ended, or its segment begins."""
    words = []
    for s in answer["segments"]:
        before = s["start"]
        for t in s["tokens"]:
            start, end = (before, t["aligned"]) if aligned else (t["start"], t["end"])
            if words and not t["text"].startswith(" "):
                words[-1][0] += t["text"]
                if any(c.isalnum() for c in t["text"]):  # a comma has a time of its own
                    words[-1][2] = end
            else:
                words.append([t["text"], start, end])
            before = end
    return [tuple(w) for w in words]


def paired(truth, heard):
    """((word, start, end) of the truth, of the transcript) where an alignment says that they are the same."""
    a, b = [(normal(w[0]), w) for w in truth], [(normal(w[0]), w) for w in heard]
    rows = [list(range(len(b) + 1))]
    for i, (x, _) in enumerate(a, 1):
        row = [i]
        for j, (y, _) in enumerate(b, 1):
            row.append(min(rows[-1][j - 1] + (x != y), rows[-1][j] + 1, row[j - 1] + 1))
        rows.append(row)
    i, j, pairs = len(a), len(b), []
    while i and j:
        if rows[i][j] == rows[i - 1][j - 1] + (a[i - 1][0] != b[j - 1][0]):
            i, j = i - 1, j - 1
            if a[i][0] and a[i][0] == b[j][0]:
                pairs.append((a[i][1], b[j][1]))
        elif rows[i][j] == rows[i - 1][j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def normal(word):
    return " ".join(wer.normalise(word))


def deviations(pairs):
    """Absolute errors of the starts and of the ends, in seconds."""
    return ([abs(t[1] - h[1]) for t, h in pairs], [abs(t[2] - h[2]) for t, h in pairs])


def edge_deviations(edges, heard):
    """The same for the first start and the last end of utterances: the words heard whose middle lies inside."""
    starts, ends = [], []
    for start, end, text in edges:
        inside = [w for w in heard if start - 0.3 <= (w[1] + w[2]) / 2 <= end + 0.3]
        said = wer.normalise(text)
        if not inside or not said:
            continue
        if wer.normalise(inside[0][0])[:1] == said[:1]:
            starts.append(abs(inside[0][1] - start))
        if wer.normalise(inside[-1][0])[-1:] == said[-1:]:
            ends.append(abs(inside[-1][2] - end))
    return starts, ends


# ---------------------------------------------------------------- the report


def row(label, starts, ends):
    def figures(values):
        if not values:
            return ["–", "–", "–"]
        return [f"{1000 * statistics.median(values):.0f}", f"{1000 * sum(values) / len(values):.0f}",
                f"{100 * sum(v <= 0.2 for v in values) / len(values):.1f}"]
    return [label, len(starts), *figures(starts), *figures(ends)]


def report(setting):
    rows = []
    for model in setting.models[:2]:
        collected = {}
        for file, truth in synthetic(setting.cache):
            wav = as_wav(setting.cache, file)
            setting.progress(f"words {model} {wav.name}")
            for label, words in each_system(setting, wav, model):
                starts, ends = collected.setdefault(label, ([], []))
                more = deviations(paired(truth, words))
                starts += more[0]
                ends += more[1]
        rows += [row(f"synthetic, {model}: {label}", *pair) for label, pair in collected.items()]
        for item in setting.long:
            if item["name"] != EDGES:
                continue
            wav = as_wav(setting.cache, item["file"])
            edges = list(spoken_edges(wav, item["utterances"]))
            for label, words in each_system(setting, wav, model):
                rows.append(row(f"utterance edges, {model}: {label}", *edge_deviations(edges, words)))
    return table(["speech, model, system", "words", "starts: median ms", "mean ms", "within 200 ms, %",
                  "ends: median ms", "mean ms", "within 200 ms, %"], rows)


def each_system(setting, wav, model):
    path = setting.model(model)
    yield "ours", our_words(setting.ours.transcribe(wav, path, "en", more=["--word-timestamps"]))
    if not setting.may_run_peer(wav, path, "en", "greedy", "words"):
        return
    answer = setting.peer.transcribe(wav, path, "en", "greedy", "words")
    yield "whisper.cpp, alignment", peer_words(answer, True)
    yield "whisper.cpp, without", peer_words(answer, False)
