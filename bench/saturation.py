"""The service under load: 16 recordings at once against the same one after another, against whisper.cpp's server,
and the memory of two workers against one's.

Every round has a service of its own, with an empty storage, which has heard a short clip on every worker: the
models are loaded, as whisper.cpp's server has loaded its own before it answers.
"""

import json
import statistics
import tempfile
import threading
import time
import wave
from pathlib import Path

import basic
import score
from peers import MODELS, OURS, ROOT
from report import verdict
from service import PORT, Server
from whole import seconds_of

COUNT = 16
CLIP = (ROOT / "tests" / "engine" / "golden" / "clean.wav").resolve()


def pieces(audio, folder):
    """16 recordings: those given, or as many equal parts of the longest."""
    files = [wav for _, wav, _ in audio]
    if len(files) >= COUNT:
        return files[:COUNT]
    longest = max(files, key=seconds_of)
    made = []
    with wave.open(str(longest)) as file:
        frames = file.getnframes() // COUNT
        for i in range(COUNT):
            made.append(Path(folder) / f"part {i + 1}.wav")
            with wave.open(str(made[-1]), "wb") as part:
                part.setparams((1, 2, file.getframerate(), 0, "NONE", ""))
                part.writeframes(file.readframes(frames))
    return made


class Ours:
    """Our service with the ways to ask it."""

    def __init__(self, name, model, options):
        here = Path(name).exists()
        self.fields = {"model": model.stem.removeprefix("ggml-") if here else name, "language": options.language,
                       "beam_size": beams(options), "best_of": beams(options)}
        self.settings = {"WHISPER_MODEL_DIR": str(model.parent if here else MODELS.resolve()), "PORT": PORT,
                         "HOST": "127.0.0.1", "RATE_LIMIT": "off", "AUTH": "off", "LOG_LEVEL": "WARNING"}

    def start(self, folder, workers=None, threads=None):
        given = {"WORKER_CONCURRENCY": workers, "WORKER_THREADS": threads}
        return Server([OURS, "serve"], folder, "/health/ready",
                      **self.settings, **{k: str(v) for k, v in given.items() if v})

    def submit(self, server, file):
        return server.post("/transcribe", file, **self.fields)["job_id"]

    def job(self, server, job):
        job = json.loads(server.ask("GET", f"/jobs/{job}")[1])
        if job["status"] in ("failed", "cancelled"):
            raise SystemExit(f"a job {job['status']}: {job['error_message']}")
        return job

    def wait(self, server, jobs):
        texts = []
        for job in jobs:
            while (answer := self.job(server, job))["status"] != "completed":
                time.sleep(0.05)
            texts.append(answer["transcript"])
        return texts

    def warm(self, server, workers):
        self.wait(server, [self.submit(server, CLIP) for _ in range(workers)])


def beams(options):
    return (options.beam_size or [1])[0]


def load_ours(ours, files, options, at_once):
    """Wall clock, processor seconds, texts."""
    with tempfile.TemporaryDirectory() as folder, ours.start(folder, options.workers, options.worker_threads) as server:
        ours.warm(server, options.workers or options.threads)
        began, spent = time.monotonic(), server.processor_seconds()
        if at_once:
            texts = ours.wait(server, together([lambda f=f: ours.submit(server, f) for f in files]))
        else:
            texts = [ours.wait(server, [ours.submit(server, f)])[0] for f in files]
        return time.monotonic() - began, server.processor_seconds() - spent, texts


def load_peer(peer, model, files, options):
    command = peer.command("whisper-server", "-m", model, "-t", options.threads, "-l", options.language, "-bs",
                           beams(options), "-bo", beams(options), "--host", "127.0.0.1", "--port", PORT)
    with tempfile.TemporaryDirectory() as folder, Server(command, folder, "/health") as server:
        ask = lambda file: server.post("/inference", file, response_format="json")["text"]
        ask(CLIP)
        began, spent = time.monotonic(), server.processor_seconds()
        texts = together([lambda f=f: ask(f) for f in files])
        return time.monotonic() - began, server.processor_seconds() - spent, texts


def together(functions):
    """What they return, each called in a thread of its own."""
    results = [None] * len(functions)

    def call(i):
        results[i] = functions[i]()
    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if None in results:
        raise SystemExit("a request failed")
    return results


def memory(ours, file, workers):
    """The most that all processes hold while every worker transcribes the recording."""
    with tempfile.TemporaryDirectory() as folder, ours.start(folder, workers, 1) as server:
        ours.warm(server, workers)
        jobs, most = [ours.submit(server, file) for _ in range(workers)], 0
        while any(ours.job(server, j)["status"] == "pending" for j in jobs):
            time.sleep(0.02)
        while all(ours.job(server, j)["status"] == "processing" for j in jobs):
            most = max(most, server.pss_mib())
            time.sleep(0.1)
        return most


def measure(peer, name, model, audio, options, report):
    with tempfile.TemporaryDirectory() as folder:
        files = pieces(audio, folder)
        ours, total = Ours(name, model, options), sum(map(seconds_of, files))
        sides = {side: file for side, file in peer.files(model).items() if peer.has("whisper-server")}
        results = {side: [] for side in ("one after another", "at once", *sides)}
        for _ in range(options.runs):
            results["one after another"].append(load_ours(ours, files, options, False))
            results["at once"].append(load_ours(ours, files, options, True))
            for side, file in sides.items():
                results[side].append(load_peer(peer, file, files, options))
        longest = max((wav for _, wav, _ in audio), key=seconds_of)
        pss = {workers: [memory(ours, longest, workers) for _ in range(options.runs)] for workers in (1, 2)}
    show(name, results, total, pss, options, report)


def show(name, results, total, pss, options, report):
    print(f"### {name}: {COUNT} recordings, {total:.0f} s together, beam {beams(options)}\n\n"
          "| | wall clock, s | processor, s | audio seconds a second | words | away from ours |\n"
          "|---|---:|---:|---:|---:|---:|")
    middle, said = {}, [basic.tokens(t, options.language) for t in results["at once"][0][2]]
    for side, runs in results.items():
        wall, spent = (statistics.median(r[i] for r in runs) for i in (0, 1))
        middle[side] = {"wall_s": wall, "processor_s": spent, "throughput": total / wall}
        words = [basic.tokens(t, options.language) for t in runs[0][2]]
        away = 100 * sum(map(score.distance, said, words)) / max(1, sum(map(len, said)))
        label = side if side.startswith("whisper") else f"ours, {side}"
        print(f"| {label} | {wall:.2f} | {spent:.2f} | {total / wall:.1f} | {sum(map(len, words))} | {away:.2f} % |")
    rows = [("processor time at once, of one after another's",
             middle["at once"]["processor_s"] / middle["one after another"]["processor_s"], 1.1, False)]
    peers = [middle[s]["throughput"] for s in results if s.startswith("whisper")]
    if peers:
        rows.append(("throughput, times whisper.cpp's best", middle["at once"]["throughput"] / max(peers), 6, True))
    one, two = (statistics.median(pss[w]) for w in (1, 2))
    rows.append((f"memory of two workers ({two:.0f} MiB), of one's ({one:.0f} MiB)", two / one, 1.15, False))
    print("\n| | ratio |\n|---|---:|")
    for what, value, bar, greater in rows:
        print(f"| {what} | {verdict(value, bar, greater)} |")
    print(flush=True)
    report.facts.setdefault("saturation", []).append(
        {"model": name, "audio_seconds": total, "medians": middle, "pss_mib": pss,
         "runs": {side: [r[:2] for r in runs] for side, runs in results.items()},
         "ratios": [{"what": w, "value": v, "bar": b} for w, v, b, _ in rows]})
